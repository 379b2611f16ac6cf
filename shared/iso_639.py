"""The languages that have a two-letter code in ISO 639-1, and the other codes by which people and models name them."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

# Every code of ISO 639-1, each behind its three letters in ISO 639-2/T and 639-3.
_CODES = dict(
    re.findall(
        r"(\w+)=(\w+)",
        "aar=aa abk=ab ave=ae afr=af aka=ak amh=am arg=an ara=ar asm=as ava=av aym=ay aze=az bak=ba bel=be bul=bg "
        "bis=bi bam=bm ben=bn bod=bo bre=br bos=bs cat=ca che=ce cha=ch cos=co cre=cr ces=cs chu=cu chv=cv cym=cy "
        "dan=da deu=de div=dv dzo=dz ewe=ee ell=el eng=en epo=eo spa=es est=et eus=eu fas=fa ful=ff fin=fi fij=fj "
        "fao=fo fra=fr fry=fy gle=ga gla=gd glg=gl grn=gn guj=gu glv=gv hau=ha heb=he hin=hi hmo=ho hrv=hr hat=ht "
        "hun=hu hye=hy her=hz ina=ia ind=id ile=ie ibo=ig iii=ii ipk=ik ido=io isl=is ita=it iku=iu jpn=ja jav=jv "
        "kat=ka kon=kg kik=ki kua=kj kaz=kk kal=kl khm=km kan=kn kor=ko kau=kr kas=ks kur=ku kom=kv cor=kw kir=ky "
        "lat=la ltz=lb lug=lg lim=li lin=ln lao=lo lit=lt lub=lu lav=lv mlg=mg mah=mh mri=mi mkd=mk mal=ml mon=mn "
        "mar=mr msa=ms mlt=mt mya=my nau=na nob=nb nde=nd nep=ne ndo=ng nld=nl nno=nn nor=no nbl=nr nav=nv nya=ny "
        "oci=oc oji=oj orm=om ori=or oss=os pan=pa pli=pi pol=pl pus=ps por=pt que=qu roh=rm run=rn ron=ro rus=ru "
        "kin=rw san=sa srd=sc snd=sd sme=se sag=sg sin=si slk=sk slv=sl smo=sm sna=sn som=so sqi=sq srp=sr ssw=ss "
        "sot=st sun=su swe=sv swa=sw tam=ta tel=te tgk=tg tha=th tir=ti tuk=tk tgl=tl tsn=tn ton=to tur=tr tso=ts "
        "tat=tt twi=tw tah=ty uig=ug ukr=uk urd=ur uzb=uz ven=ve vie=vi vol=vo wln=wa wol=wo xho=xh yid=yi yor=yo "
        "zha=za zho=zh zul=zu",
    )
)
LANGUAGES = frozenset(_CODES.values())

# ISO 639-2/B, withdrawn codes, and the one language among several that a model may mean by the name of them all.
_OTHERS = dict(
    re.findall(
        r"(\w+)=(\w+)",
        "alb=sq arm=hy baq=eu bur=my chi=zh cze=cs dut=nl fre=fr geo=ka ger=de gre=el ice=is mac=mk mao=mi may=ms "
        "per=fa rum=ro slo=sk tib=bo wel=cy in=id iw=he ji=yi jw=jv mo=ro mol=ro sh=sr hbs=sr scc=sr scr=hr "
        "arb=ar arz=ar apc=ar ary=ar azj=az ckb=ku cmn=zh ekk=et fil=tl gaz=om khk=mn kmr=ku lvs=lv npi=ne ory=or "
        "pbt=ps pes=fa plt=mg prs=fa swh=sw uzn=uz wuu=zh yue=zh zsm=ms als=sq",
    )
)
CODES: Mapping[str, str] = _CODES | _OTHERS | {code: code for code in LANGUAGES}
"""ISO 639-1 by any code of a language, in lower case."""

_TAG = re.compile(r"([a-z]{2,3})(?:[-_][a-z0-9]{1,8})*")


def iso_639_1(tag: str) -> str | None:
    """The ISO 639-1 code of a language tag: `en` for `en`, `eng`, `en-US` and `EN_us`; None for what has none."""
    found = _TAG.fullmatch(tag.strip().lower())
    return CODES.get(found[1]) if found else None


def _is_language(code: str) -> str:
    if code not in LANGUAGES:
        meant = iso_639_1(code)
        msg = f"must be the ISO 639-1 code of a language, such as {meant or 'en'}"
        raise ValueError(msg)
    return code


LanguageCode = Annotated[
    str,
    AfterValidator(_is_language),
    WithJsonSchema({"type": "string", "pattern": "^[a-z]{2}$", "minLength": 2, "maxLength": 2, "examples": ["en"]}),
]
"""A language as the API takes it: other spellings are refused, with the code that was meant."""
