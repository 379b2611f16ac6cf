"""How what nobody would say looks, and what of it is said: the patterns by which `spoken_text` reads a reply.

A rule ends with something that shows that it has ended, and no two of its branches begin alike and end at different
places: a branch that matches what has come so far is never overtaken by one that needs more.
"""
# ruff: noqa: RUF001 - quotes and brackets of other scripts are what this module is about

import re

import regex

_SCHEMES = [
    form
    for scheme in ("http://", "https://", "ftp://", "file://", "mailto:", "data:", "www.")
    for form in (scheme, scheme.capitalize(), scheme.upper())
]
_SCHEME = f"(?:{'|'.join(map(re.escape, _SCHEMES))})"
# How a construct begins; nothing but literals, for which `re` searches fast.
_OPENERS = [*"`~<&$\\][【\ue200", "![", ":contentReference[", "filecite", "cite", "turn", *_SCHEMES]
KINDS = {"![": "[", ":contentReference[": ":", "filecite": "cited", "cite": "cited", "turn": "cited"} | dict.fromkeys(
    _SCHEMES, "url"
)
OPENER = re.compile("|".join(map(re.escape, _OPENERS)))
_BEGINNINGS = {opener[:length] for opener in _OPENERS for length in range(1, len(opener))}
BEGINNING = re.compile(f"(?:{'|'.join(map(re.escape, sorted(_BEGINNINGS, key=len, reverse=True)))})\\Z")
LONGEST_BEGINNING = max(map(len, _BEGINNINGS))
MARKERS = regex.compile(r"\s*(?:(?:[-*+•>]|\d{1,3}[.)])\s*)*")  # what may stand before a fence on its line
LONGEST_MARKERS = 80

_ADDRESS = r"(?:<[^<>\n]{0,2000}>|(?:[^()\s\\<>]|\\.|\([^()\s]{0,2000}\)|[<>]){0,2000}+)(?:\s[^()\n]{0,300})?"
_CUT_ADDRESS = r"[^()\s\\<>]{2001}"
_LABEL = r"(?:[^\[\]\n\\]|\\[^\n]|\[[^\[\]\n]{0,100}\](?:\([^()\s]{0,2000}\))?){0,300}+"
_URL_END = r"\s<>\[\])*`\"“”«»؟،؛۔।॥。！？，、；：「」『』（）【】"
_GROUP = r"\{(?:[^{}\n]|\{(?:[^{}\n]|\{[^{}\n]{0,100}\}){0,200}+\}){0,300}+\}"
_VALUE = r"(?:\"[^\"]{0,2000}+\"|'[^']{0,2000}+'|[^\s\"'=<>`]{1,2000}+)"

FENCE = regex.compile(r"(?P<fence>([`~])\2{2,99})(?!\2)[^`~\n]*+\n")
MOST = {"<": 20_000}  # characters that a construct may have: a tag may be a comment, a script or a style sheet
MOST_OF_OTHERS = 2_500
RULES = {
    "`": regex.compile(
        r"`(?=[^`])(?P<one>[^`\n]{1,300})`(?=[^`])"
        r"|``(?=[^`])(?P<two>(?:[^`\n]|`(?=[^`])){1,300})``(?=[^`])"
        r"|```(?=[^`])(?P<three>(?:[^`\n]|`{1,2}(?=[^`])){1,300})```(?=[^`])"
    ),
    "<": regex.compile(
        r"<!--[^<-]*+(?:(?:<(?!!--)|-(?!->))[^<-]*+)*+-->"
        r"|(?i:<(?P<unsaid>script|style)(?:\s[^<>]*+)?>[^<]*+(?:<(?!/?(?P=unsaid))[^<]*+)*+</(?P=unsaid)\s*+>)"
        r"|<[!?][A-Za-z\[][^<>]*+>"
        rf"|<(?={_SCHEME})"
        r"|<(?P<mail>[^\s<>@/]{1,100}@[^\s<>@]{1,200})>"
        r"|(?P<tag><(?:/|(?!(?i:script|style)[\s>]))(?P<name>[A-Za-z][\w.:-]{0,60}+)"
        rf"(?P<attributes>(?:\s+[^\s\"'<>/=]{{1,100}}+(?:\s*=\s*{_VALUE})?){{0,50}}+)\s*/?>)(?=(?P<next>.))"
        r"|(?P<cut><[A-Za-z][^<>]{0,500}=\s?[\"']?[^\s\"'<>]{2001})",
        regex.DOTALL,
    ),
    "&": regex.compile(r"(?P<entity>&(?:amp;){0,3}+(?:#\d{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)"),
    "$": regex.compile(
        r"(?P<money>\$\d[\d.,]*+[^\s$\\^_{}]{0,3}\s+(?=[\p{L}(]\p{L}))"
        r"|\$\$(?P<display>[^$\\]*+(?:\\.[^$\\]*+)*+)\$\$"
        r"|\$(?=[^\s$])(?P<inline>[^$\\\n]*+(?:\\.[^$\\\n]*+)*+)(?<=\S)\$(?=[^\d$])"
        r"|\$(?P<open>(?=[^$\\\n]*+\\[A-Za-z])[^$\n]++)(?=\n)",
        regex.DOTALL,
    ),
    "\\": regex.compile(
        r"\\\((?P<inline>[^\\]*+(?:\\[^()][^\\]*+)*+)\\\)"
        r"|\\\[(?P<display>[^\\]*+(?:\\[^\[\]][^\\]*+)*+)\\\]"
        r"|\\begin\{(?P<kind>[A-Za-z]{1,20}\*?)\}(?P<body>[^\\]*+(?:\\(?!(?:end|begin)\{(?P=kind)\})[^\\]*+)*+)\\end\{(?P=kind)\}"
        rf"|(?P<macro>\\(?!begin)(?P<name>[A-Za-z]{{2,30}}+)\*?(?:\[[^\[\]\n]{{0,50}}\])?(?:{_GROUP}){{0,2}}+"
        rf"(?:[_^](?:{_GROUP}|[A-Za-z0-9])){{0,2}}+)(?=[^A-Za-z{{\[_^*])"
        r"|\\(?P<escaped>[\\`*_{}#+.!|~>$&<\"'-])",
        regex.DOTALL,
    ),
    "【": regex.compile(r"【(?P<source>[^【】\n]{0,200})】"),
    "\ue200": regex.compile("\ue200[^\ue200\ue201\n]{0,500}\ue201"),
    ":": regex.compile(r":contentReference\[oaicite:\d{1,6}\](?:\{index=\d{1,6}\}|(?=[^{]))"),
    "[": regex.compile(
        r"!?\[(?P<note>\^[^\[\]\s]{1,50}|oaicite:\d{1,6})\](?::|(?=[^:]))"
        r"|!?\[(?P<passage>\d{1,4}(?::\d{1,4})?†[^\[\]\n]{0,200})\]"
        r"|(?P<definition>\[(?P<defined>[^\[\]\n]{1,100})\]:[ ]{0,9}(?=<?(?:(?i:https?:|www\.|mailto:|data:)|[/#.])\S))"
        rf"|!?\[(?P<label>{_LABEL})\](?:\({_ADDRESS}\)|\[[^\[\]\n]{{0,100}}\]|(?P<cut>\({_CUT_ADDRESS}))"
        r"|\[(?P<numbers>\d{1,3}(?:\s?[-–,]\s?\d{1,3}){0,9})\](?=[^(\[:])"
    ),
    "]": regex.compile(
        rf"\]\((?=(?i:https?:|mailto:|www\.|data:)|[/#])(?:{_ADDRESS}\)|(?P<cut>{_CUT_ADDRESS}))"
    ),
    "url": regex.compile(
        rf"(?P<url>{_SCHEME}[^{_URL_END}]{{1,2000}}+)(?=(?P<next>[{_URL_END}])|.)", regex.DOTALL
    ),
    "cited": regex.compile(
        r"(?:(?:file)?cite)?(?:turn\d{1,4}(?:search|view|news|image|video|file|fetch|product|finance|forecast|sports|maps"
        r"|academia|reddit|business|time|calculator)\d{1,4}){1,20}+(?=[^a-z0-9])"
    ),
}  # fmt: skip
# What is left of a construct that was never closed.
REMAINS = {
    "<": regex.compile(r"(?i:<(?:script|style)(?:\s[^<>]{0,2000})?>)|<!--"),
    "\\": regex.compile(
        r"\\(?P<escaped>[()\[\]])|\\(?:begin|end)\{[A-Za-z]{1,20}\*?\}|(?P<macro>\\(?P<name>[A-Za-z]{2,30}+))"
        r"|\\(?=\n)"
    ),
    "[": regex.compile(r"\[(?P<numbers>\d{1,3})\]"),
    "&": regex.compile(r"(?P<entity>&(?:amp;){1,4})"),
}
IS_MATH = regex.compile(r"[\\^_{}=<>+*]|^[^\p{L}]*$|^\s*\p{L}{1,2}(?:[\s,()/-]+[\p{L}\d]{1,2})*[\s()]*$")
HOST = regex.compile(r"(?:[a-z]+://)?(?:[^/?#@]*@)?(?:www\.)?([^/?#:]*)", regex.IGNORECASE)
REST_OF = {  # what is left out of something too long to be held back, and what closes it
    "url": regex.compile(rf"(?P<skipped>[^{_URL_END}]*+)(?P<end>>)?"),
    "link": regex.compile(r"(?P<skipped>[^)\n]*+)(?P<end>\))?"),
    "tag": regex.compile(r"(?P<skipped>[^<>]*+)(?P<end>>)?"),
    "line": regex.compile(r"(?P<skipped>[^\n]*+)(?P<end>\n)?"),
}
FULL_STOPS = ".,;:!?'_…"
IS_DATA = re.compile(r"data:(?:[a-z]{1,20}/[\w.+-]|[;,])", re.IGNORECASE)
