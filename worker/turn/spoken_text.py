"""A reply's text while it streams in, without what nobody would say: tags, addresses, citations, code, LaTeX.

Each construct is judged by its own characters and the one before it only, and held back until it is whole or can't be
one any more: however the stream is split into deltas, the text is the same. What is held back is bounded.
"""
# ruff: noqa: RUF001 - quotes and brackets of other scripts are what this module is about

import html
import re

import regex

from worker.turn.spoken_math import MACROS, say
from worker.turn.spoken_tags import said_of_tag

LONGEST_URL = 80  # of a longer address only the host is said
LEFT_OUT = "\U000f0000"  # stands where something was left out, until the sentence is put together
GLUE = "\u00a0"  # a space inside a link or code: no sentence ends there

# Signs that would be taken for Markdown, but were written to be said, are moved away until the sentence is whole.
_SIGNS = "*_~|>#"
_SHIELD = {ord(sign): 0xF0000 + ord(sign) for sign in _SIGNS}
_UNSHIELD = {shield: sign for sign, shield in _SHIELD.items()} | dict.fromkeys(range(0xE200, 0xE203), " ")

# Nobody hears these: controls, zero-width characters, bidi marks, private and unassigned ones. A joiner (U+200C, U+200D)
# is part of its word, and citation marks are written with U+E200 to U+E202.
_SILENT = regex.compile(
    r"[[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\uFFFC\uFFFD]--[\s\u200C\u200D\uE200-\uE202\U000E0020-\U000E007F]]+",
    regex.V1,
)
_LINE_END = regex.compile(r"\r\n?|[\u2028\u2029]")
_BLANK = regex.compile(r"[\s--[\n ]]", regex.V1)
_SCHEMES = [
    form
    for scheme in ("http://", "https://", "ftp://", "file://", "mailto:", "data:", "www.")
    for form in (scheme, scheme.capitalize(), scheme.upper())
]
_SCHEME = f"(?:{'|'.join(map(re.escape, _SCHEMES))})"
# How a construct begins; nothing but literals, for which `re` searches fast.
_OPENERS = [*"`~<&$\\][【\ue200", "![", ":contentReference[", "filecite", "cite", "turn", *_SCHEMES]
_KINDS = {"![": "[", ":contentReference[": ":", "filecite": "cited", "cite": "cited", "turn": "cited"} | dict.fromkeys(
    _SCHEMES, "url"
)
_OPENER = re.compile("|".join(map(re.escape, _OPENERS)))
_BEGINNINGS = {opener[:length] for opener in _OPENERS for length in range(1, len(opener))}
_BEGINNING = re.compile(f"(?:{'|'.join(map(re.escape, sorted(_BEGINNINGS, key=len, reverse=True)))})\\Z")
_LONGEST_BEGINNING = max(map(len, _BEGINNINGS))
_MARKERS = regex.compile(r"\s*(?:(?:[-*+•>]|\d{1,3}[.)])\s*)*")  # what may stand before a fence on its line
_LONGEST_MARKERS = 80

# A rule ends with something that shows that it has ended, and no two of its branches begin alike and end at different
# places: a branch that matches what has come so far is not overtaken by one that needs more.
_ADDRESS = r"(?:<[^<>\n]{0,2000}>|(?:[^()\s\\<>]|\\.|\([^()\s]{0,2000}\)|[<>]){0,2000}+)(?:\s[^()\n]{0,300})?"
_CUT_ADDRESS = r"[^()\s\\<>]{2001}"
_LABEL = r"(?:[^\[\]\n\\]|\\[^\n]|\[[^\[\]\n]{0,100}\](?:\([^()\s]{0,2000}\))?){0,300}+"
_URL_END = r"\s<>\[\])*`\"“”«»؟،؛۔।॥。！？，、；：「」『』（）【】"
_GROUP = r"\{(?:[^{}\n]|\{(?:[^{}\n]|\{[^{}\n]{0,100}\}){0,200}+\}){0,300}+\}"
_VALUE = r"(?:\"[^\"]{0,2000}+\"|'[^']{0,2000}+'|[^\s\"'=<>`]{1,2000}+)"

_FENCE = regex.compile(r"(?P<fence>([`~])\2{2,99})(?!\2)[^`~\n]*+\n")
_MOST = 2_500  # characters that a construct may have
_MOST_UNSAID = 20_000  # those of a comment, a script or a style sheet
_RULES = {
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
        r"|\\begin\{(?P<kind>[A-Za-z]{1,20}\*?)\}(?P<body>[^\\]*+(?:\\(?!end\{(?P=kind)\})[^\\]*+)*+)\\end\{(?P=kind)\}"
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
_REMAINS = {
    "<": regex.compile(r"(?i:<(?:script|style)(?:\s[^<>]{0,2000})?>)|<!--"),
    "\\": regex.compile(
        r"\\(?P<escaped>[()\[\]])|\\(?:begin|end)\{[A-Za-z]{1,20}\*?\}|(?P<macro>\\(?P<name>[A-Za-z]{2,30}+))"
    ),
    "[": regex.compile(r"\[(?P<numbers>\d{1,3})\]"),
    "&": regex.compile(r"(?P<entity>&(?:amp;){1,4})"),
}
_IS_MATH = regex.compile(r"[\\^_{}=<>+*]|^[^\p{L}]*$|^\s*\p{L}{1,2}(?:[\s,()/-]+[\p{L}\d]{1,2})*[\s()]*$")
_HOST = regex.compile(r"(?:[a-z]+://)?(?:[^/?#@]*@)?(?:www\.)?([^/?#:]*)", regex.IGNORECASE)
_REST_OF = {  # what is left out of something too long to be held back, and what closes it
    "url": regex.compile(rf"(?P<skipped>[^{_URL_END}]*+)(?P<end>>)?"),
    "link": regex.compile(r"(?P<skipped>[^)\n]*+)(?P<end>\))?"),
    "tag": regex.compile(r"(?P<skipped>[^<>]*+)(?P<end>>)?"),
    "line": regex.compile(r"(?P<skipped>[^\n]*+)(?P<end>\n)?"),
}
_FULL_STOPS = ".,;:!?'_…"


def plain(text: str, language: str) -> str:
    """Return the whole of a short text as `SpokenText` gives it."""
    spoken = SpokenText(language)
    return spoken.feed(text) + spoken.finish()


def shield(text: str) -> str:
    """Keep what was written to be said from being taken for Markdown."""
    return text.translate(_SHIELD)


def unshield(text: str) -> str:
    """Undo `shield`."""
    return text.translate(_UNSHIELD)


def _clean(delta: str) -> str:
    return _BLANK.sub(" ", _LINE_END.sub("\n", _SILENT.sub("", delta)))


def _begins(text: str, at: int = 0) -> re.Match[str] | None:
    """Find what may be the first characters of an opener at the end of a text."""
    return _BEGINNING.search(text, max(at, len(text) - _LONGEST_BEGINNING))


def _joined(line: str, text: str) -> str:
    """Return the beginning of the line that stands at the end of `text`; "…" when it is longer than markers may be."""
    newline = text.rfind("\n", max(0, len(text) - _LONGEST_MARKERS))
    joined = text[newline + 1 :] if newline >= 0 else line + text[-_LONGEST_MARKERS:]
    return joined if len(joined) < _LONGEST_MARKERS else "…"


class SpokenText:
    """Takes in a reply in deltas of any size, and gives what of it is text to be cut into sentences."""

    def __init__(self, language: str) -> None:
        self.has_code = False  # a code block was left out
        self._language = language
        self._return = ""  # a carriage return, which may be half of a line's end
        self._held = ""  # begins with what may become a construct
        self._last = "\n"  # the character before it
        self._line = ""  # how its line begins
        self._fence = ""  # what closes the code block that is left out
        self._skipped = ""  # what is being left out: a key of `_REST_OF`
        self._stop = ""  # the full stop at the end of a skipped address

    def feed(self, delta: str) -> str:
        """Return the text that is certain now."""
        if self._return or not delta.isprintable() or "\ufffd" in delta or "\ufffc" in delta:
            delta = self._return + delta
            self._return = "\r" if delta.endswith("\r") else ""
            delta = _clean(delta.removesuffix("\r"))
        if not delta or self._held or self._fence or self._skipped or _OPENER.search(delta) or _begins(delta):
            return self._read(delta, final=False)
        self._line, self._last = _joined(self._line, delta), delta[-1]  # as nearly always
        return delta

    def finish(self) -> str:
        """Return what is left."""
        return self._read("\n", final=True)

    def _read(self, delta: str, *, final: bool) -> str:
        text = self._last + self._held + delta
        said, at, end = [], 1, len(text)
        self._held = ""
        while at < end:
            if self._fence:
                at = self._skip_code(text, at)
                continue
            if self._skipped:
                stop, at = self._skip(text, at)
                said.append(stop)
                continue
            found = _OPENER.search(text, at)
            if not found:
                beginning = None if final else _begins(text, at)
                end = beginning.start() if beginning else end
                said.append(text[at:end])
                break
            said.append(text[at : found.start()])
            result = self._construct(found, text, final=final)
            if result is None:
                end = found.start()
                break
            said.append(result[0])
            at = result[1]
        self._held = self._held or text[end:]
        self._line, self._last = _joined(self._line, text[1:end]), text[end - 1]
        return "".join(said)

    def _line_before(self, text: str, at: int) -> str:
        return _joined(self._line, text[1:at] if at <= _LONGEST_MARKERS else text[at - _LONGEST_MARKERS : at])

    def _skip_code(self, text: str, at: int) -> int:
        """Leave out the lines of a code block, to its end; what may be the line that closes it is held back."""
        while (newline := text.find("\n", at)) >= 0:
            line = text[at:newline].strip(" >") if newline - at < 2 * _LONGEST_MARKERS else ""
            at = newline + 1
            if len(line) >= len(self._fence) and not line.strip(self._fence[0]):
                self._fence = ""
                return at
        self._held = text[at : at + 2 * _LONGEST_MARKERS + 1]
        return len(text)

    def _skip(self, text: str, at: int) -> tuple[str, int]:
        """Leave out more of something long; the full stop after an address is said."""
        found = _REST_OF[self._skipped].match(text, at)
        if not found:
            raise AssertionError
        if self._skipped == "url":
            skipped = self._stop + found["skipped"]
            self._stop = skipped[len(skipped.rstrip(_FULL_STOPS)) :][-3:]
        if found.end() == len(text) and not found["end"]:
            return "", found.end()
        stop = self._stop if self._skipped == "url" else "\n" if self._skipped == "line" else ""
        self._skipped = ""
        return stop, found.end()

    def _construct(self, opener: regex.Match[str], text: str, *, final: bool) -> tuple[str, int] | None:
        """Return what is said of a construct, and where it ends; None: it has not ended yet."""
        start, kind = opener.start(), _KINDS.get(opener[0], opener[0])
        before = text[start - 1]
        if kind == "url" and before.isascii() and (before.isalnum() or before == "_"):
            return text[start], start + 1
        at_line_start = kind in "`~[" and _MARKERS.fullmatch(self._line_before(text, start)) is not None
        most = start + (_MOST_UNSAID if kind == "<" else _MOST)
        if kind in "`~" and at_line_start:
            fence = _FENCE.match(text, start, most, partial=True)
            if fence and fence.partial and len(text) < most and not final:
                return None
            if fence and not fence.partial:
                self._fence, self.has_code = fence["fence"], True
                return "\n", fence.end()
        if kind == "~" or (kind == "`" and before == "`"):
            return "~" if kind == "~" else "", start + 1
        found = _RULES[kind].match(text, start, most, partial=True)
        if found and found.partial:
            if not final and len(text) < most:
                return None
            found = None
            if kind in "$\\" and "\\" in text[start + 1 :] and len(text) < most:  # a formula that the end cuts off
                return say(text[start:], self._language) + "\n", len(text)
        if found and kind == "url":
            return self._said_url(found, before)
        said = self._said(kind, found, before, at_line_start) if found else None
        if said is None and kind in _REMAINS and (found := _REMAINS[kind].match(text, start)):
            said = self._said(kind, found, before, at_line_start)
        if said is None or not found:
            return "" if kind in "`\ue200" else text[start], start + 1
        return said, found.end()

    def _said(self, kind: str, found: regex.Match[str], before: str, at_line_start: bool) -> str | None:
        """Return what is said of a construct that matched its rule; None: it is something else after all."""
        groups = found.groupdict(default="")
        match kind:
            case "$" | "\\":
                return self._said_math(kind, groups, before)
            case "[":
                return self._said_link(groups, before, at_line_start=at_line_start)
            case "<":
                return self._said_tag(found, groups, before)
            case "`":
                return shield(groups["one"] or groups["two"] or groups["three"]).replace(" ", GLUE)
            case "&":
                return _decoded(groups["entity"])
            case "【" if "†" not in groups["source"] and not groups["source"].replace(":", "").isdigit():
                return None
            case "]":
                self._skipped = "link" if groups["cut"] else ""
                return ""
        return LEFT_OUT

    def _said_math(self, kind: str, found: dict[str, str], before: str) -> str | None:
        if plainly := found.get("money") or found.get("escaped"):
            return shield(plainly)
        if macro := found.get("macro"):
            is_path = before.isalnum() or before in "\\:_"
            return say(macro, self._language) if found["name"] in MACROS and not is_path else None
        inline = found.get("inline", "")
        if kind == "$" and inline and not _IS_MATH.search(inline):
            return None
        formula = inline or found.get("display") or found.get("body") or found.get("open") or ""
        return say(formula, self._language)

    def _said_link(self, found: dict[str, str], before: str, *, at_line_start: bool) -> str | None:
        if found.get("definition"):
            if at_line_start:
                self._skipped = "line"
                return LEFT_OUT
            return LEFT_OUT if found["defined"].isdigit() else f"{found['defined']}: "
        if numbers := found.get("numbers"):
            is_list = not numbers.isdigit() and before.isspace()
            return None if is_list or numbers.startswith("0") else LEFT_OUT
        label = found.get("label", "")
        if found.get("cut"):
            self._skipped = "link"
        if not label or label.removeprefix("^").isdigit():
            return LEFT_OUT
        return plain(label, self._language).strip().replace(" ", GLUE)

    def _said_tag(self, found: regex.Match[str], groups: dict[str, str], before: str) -> str | None:
        if groups.get("tag"):
            return said_of_tag(found, before)
        if groups.get("cut"):
            self._skipped = "tag"
        return shield(groups.get("mail", ""))

    def _said_url(self, found: regex.Match[str], before: str) -> tuple[str, int]:
        """An address up to its full stop; of a long one the host, and nothing of a `data:` one."""
        url = found["url"]
        is_cut = found["next"] is None
        if is_cut:
            self._skipped, self._stop = "url", ""
        trimmed = url if is_cut else url.rstrip(_FULL_STOPS)
        end = found.start() + len(trimmed) + (before == "<" and found["next"] == ">" and trimmed == url)
        scheme = trimmed[:5].lower()
        if scheme == "data:":
            return LEFT_OUT, end
        address = html.unescape(trimmed)
        if scheme == "mailt":
            address = address[7:].partition("?")[0]
        if is_cut or len(address) > LONGEST_URL:
            host = _HOST.match(address)
            address = host[1][:LONGEST_URL] if host else ""
        return shield(_clean(address)), end


def _decoded(entity: str) -> str | None:
    """The character that an entity stands for, however often it was escaped; None: it is not one."""
    decoded = entity
    while (once := html.unescape(decoded)) != decoded:
        decoded = once
    return None if decoded == entity else shield(_clean(decoded).replace("\n", " "))
