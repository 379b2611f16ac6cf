"""The language names that speech recognisers answer with, as ISO 639-1 codes."""

import re

from shared.iso_639 import iso_639_1

# Whisper's list: its `verbose_json`, and every server built on it, answers with these English names.
_CODES_BY_NAME: dict[str, str] = dict(
    re.findall(
        r"(\w+)=(\w+)",
        "afrikaans=af albanian=sq amharic=am arabic=ar armenian=hy assamese=as azerbaijani=az bashkir=ba basque=eu "
        "belarusian=be bengali=bn bosnian=bs breton=br bulgarian=bg burmese=my cantonese=zh castilian=es catalan=ca "
        "chinese=zh croatian=hr czech=cs danish=da dutch=nl english=en estonian=et faroese=fo finnish=fi flemish=nl "
        "french=fr galician=gl georgian=ka german=de greek=el gujarati=gu haitian=ht hausa=ha hebrew=he hindi=hi "
        "hungarian=hu icelandic=is indonesian=id italian=it japanese=ja javanese=jv kannada=kn kazakh=kk khmer=km "
        "korean=ko kurdish=ku kyrgyz=ky lao=lo latin=la latvian=lv lingala=ln lithuanian=lt luxembourgish=lb "
        "macedonian=mk malagasy=mg malay=ms malayalam=ml maltese=mt mandarin=zh maori=mi marathi=mr moldavian=ro "
        "mongolian=mn myanmar=my nepali=ne norwegian=no nynorsk=nn occitan=oc panjabi=pa pashto=ps persian=fa "
        "polish=pl portuguese=pt punjabi=pa pushto=ps romanian=ro russian=ru sanskrit=sa serbian=sr shona=sn "
        "sindhi=sd sinhala=si sinhalese=si slovak=sk slovenian=sl somali=so spanish=es sundanese=su swahili=sw "
        "swedish=sv tagalog=tl tajik=tg tamil=ta tatar=tt telugu=te thai=th tibetan=bo turkish=tr turkmen=tk "
        "ukrainian=uk urdu=ur uzbek=uz valencian=ca vietnamese=vi welsh=cy yiddish=yi yoruba=yo",
    )
)


def iso_language(told: object) -> str | None:
    """Return the ISO 639-1 code of what a server told: `ar`, `en-US`, `eng`, `Arabic`; None for anything else."""
    if not isinstance(told, str):
        return None
    return _CODES_BY_NAME.get(told.strip().lower()) or iso_639_1(told)
