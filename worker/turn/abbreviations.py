"""Which full stops belong to an abbreviation, an initial or a number, and do not end a sentence as well."""
# ruff: noqa: RUF001, SIM905 - letters of other scripts are what this module is about; lists of words are read as text

import regex

_OPENERS = "\"'([{“‘«¿¡*_~`"

# Abbreviations in lower case, without their last full stop.
_TITLE = regex.compile(
    "mr|mrs|ms|mx|dr|prof|st|mt|ft|rev|fr|gen|sen|rep|gov|pres|capt|cmdr|lt|col|maj|sgt|hon|messrs|mme|mlle"
)
_NEVER_LAST = regex.compile(
    r"vs|cf|viz|eg|ie|approx|esp|incl|dept|univ|ود|وأ|هـ|أد|(?:[^\W\d_]\p{M}*\.)+[^\W\d_]\p{M}*"
    "|डॉ|प्रो|पं|श्री|सुश्री|कु|मि|मो|रु|कि|ई|ডা|ড|মো|অধ্যাপক|திரு|ਡਾ|ડૉ|డా|ಡಾ|ഡോ|ดร|นพ"
)
_LAST_AT_TIMES = regex.compile(r"etc|inc|ltd|co|corp|jr|sr|al|bros|ave|blvd|rd|[ap]\.m|ph\.d|a\.d|b\.c|(?:b\.)?c\.e")
_BEFORE_NUMBER = regex.compile(
    "nos?|figs?|vol|ch|pp|pg|art|sec|par|ver|ext|est|tel|ca|jan|feb|mar|apr|ju[nl]|aug|sept?|oct|nov|dec"
)
_OF_LANGUAGE = {
    "de": "hr|fr|nr|bzw|usw|ca|evtl|ggf|inkl|str|vgl|bspw|sog|tel|abs|bd|hrsg",
    "nl": "dhr|mevr|mw|bijv|bv|nr|ca|enz|blz|drs|ir",
    "es": "sr|sra|srta|sres|dra|ud|uds|d|dña|lic|ing|núm|pág|tel|aprox|ee",
    "pt": "sr|sra|srta|dra|eng|núm|pág|tel|aprox|av",
    "it": "sig|sigg|dott|ing|avv|pag|ecc|es|tel|geom",
    "fr": "m|mm|mmes|mgr|env|tél|av|art|boul|chap",
    "pl": "np|ul|godz|nr|tzw|tj|itd|itp|inż|mgr|al|św|pl|tel|ok",
    "ru": "г|гг|ул|им|см|стр|рис|др|пр|тыс|млн|руб|коп|д|кв|напр|проф|акад|тел|обл|р",
    "uk": "м|рр|вул|ім|див|стор|рис|ін|тис|млн|грн|коп|буд|кв|напр|проф|акад|тел|обл|р",
    "tr": "sn|vb|örn|yy|cad|sok|mah|tel|prof|doç|no",
    "cs": "např|tzv|tj|atd|apod|ul|č|str|ing|mgr|tel|př|mj",
    "sv": "bl|ca|dvs|kl|nr|osv|tel|ung",
    "da": "bl|ca|dvs|fx|hr|kl|nr|osv|tlf",
    "el": "κ|κος|κα|δρ|αρ|σελ|τηλ|λεωφ|οδ|χλμ",
    "vi": "tp|ts|ths|pgs|gs|bs|ông|bà",
    "id": "bpk|sdr|no|jl|tn|ny|dll|dsb",
}  # fmt: skip
_KNOWN = {language: regex.compile(words) for language, words in _OF_LANGUAGE.items()}
# Where "3." is "third".
_ORDINALS = frozenset("de da nb nn no fi cs sk sl hr bs sr hu et lv is fo lb".split())
_ORDINAL = regex.compile(r"\d{1,2}")
_SHORT_SCRIPTS = regex.compile(r"\p{Arabic}|\p{Hebrew}")


def is_abbreviation(word: str, following: str, language: str) -> bool:
    """Tell whether the full stop after `word` is its own, when the next word starts with `following`."""
    core = word.lstrip(_OPENERS)
    lowered = core.lower()
    if len(core) == 1 and core.isalpha():
        return (core != "I" or not following.isupper()) and (is_cased(core) or bool(_SHORT_SCRIPTS.match(core)))
    if language in _ORDINALS and _ORDINAL.fullmatch(core):
        return True
    if language in _KNOWN and _KNOWN[language].fullmatch(lowered):
        return True
    if _LAST_AT_TIMES.fullmatch(lowered):
        return following.islower() or not following.isalpha()
    if _BEFORE_NUMBER.fullmatch(lowered):
        return following.isdigit()
    return bool(_NEVER_LAST.fullmatch(lowered) or (core[:1].isupper() and _TITLE.fullmatch(lowered)))


def is_cased(letter: str) -> bool:
    """Tell whether a letter is of a script with capitals; Georgian's are not used to begin sentences."""
    return letter.isupper() or letter.title() != letter
