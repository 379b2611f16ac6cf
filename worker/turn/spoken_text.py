"""A reply's text while it streams in, without what nobody would say: tags, addresses, citations, code, LaTeX.

Each construct is judged by its own characters and the one before it only, and held back until it is whole or can't be
one any more: however the stream is split into deltas, the text is the same. No more than `MOST` is held back.
"""

import html
import re

import regex

from worker.turn.spoken_math import MACROS, say
from worker.turn.spoken_rules import (
    BEGINNING,
    FENCE,
    FULL_STOPS,
    HOST,
    IS_DATA,
    IS_MATH,
    KINDS,
    LONGEST_BEGINNING,
    LONGEST_MARKERS,
    MARKERS,
    MOST,
    MOST_OF_OTHERS,
    OPENER,
    REMAINS,
    REST_OF,
    RULES,
)
from worker.turn.spoken_tags import said_of_tag

LONGEST_URL = 80  # of a longer address only the host is said
LEFT_OUT = "\U000f0000"  # stands where something was left out, until the sentence is put together
LONG_LINE = "…"
GLUE = "\u00a0"  # a space inside a link or code: no sentence ends there

# Signs that would be taken for Markdown, but were written to be said, are moved away until the sentence is whole.
_SIGNS = "*_~|>#"
_SHIELD = {ord(sign): 0xF0000 + ord(sign) for sign in _SIGNS}
_UNSHIELD = {shield: sign for sign, shield in _SHIELD.items()} | dict.fromkeys(range(0xE200, 0xE203), " ")

# Nobody hears these: controls, zero-width characters, bidi marks, private and unassigned ones. A joiner (U+200C,
# U+200D) is part of its word, and citation marks are written with U+E200 to U+E202.
_SILENT = regex.compile(
    r"[[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\uFFFC\uFFFD]--[\s\u200C\u200D\uE200-\uE202\U000E0020-\U000E007F]]+",
    regex.V1,
)
_LINE_END = regex.compile(r"\r\n?|[\u2028\u2029]")
_BLANK = regex.compile(r"[\s--[\n ]]", regex.V1)


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
    heard: str = _BLANK.sub(" ", _LINE_END.sub("\n", _SILENT.sub("", delta)))
    return heard


def _begins(text: str, at: int = 0) -> re.Match[str] | None:
    """Find what may be the first characters of an opener at the end of a text."""
    return BEGINNING.search(text, max(at, len(text) - LONGEST_BEGINNING))


def _joined(line: str, text: str) -> str:
    """Return how the line at the end of `text` begins; `LONG_LINE` when it is longer than markers may be."""
    newline = text.rfind("\n", max(0, len(text) - LONGEST_MARKERS))
    joined = text[newline + 1 :] if newline >= 0 else line + text[-LONGEST_MARKERS:]
    return joined if len(joined) < LONGEST_MARKERS else LONG_LINE


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
        self._skipped = ""  # what is being left out: a key of `REST_OF`
        self._stop = ""  # the full stop at the end of a skipped address

    def feed(self, delta: str) -> str:
        """Return the text that is certain now."""
        if self._return or not delta.isprintable() or "\ufffd" in delta or "\ufffc" in delta:
            delta = self._return + delta
            self._return = "\r" if delta.endswith("\r") else ""
            delta = _clean(delta.removesuffix("\r"))
        if not delta or self._held or self._fence or self._skipped or OPENER.search(delta) or _begins(delta):
            return self._read(delta, final=False)
        if self._line != LONG_LINE or "\n" in delta:
            self._line = _joined(self._line, delta)
        self._last = delta[-1]
        return delta  # as nearly always

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
            found = OPENER.search(text, at)
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
        return _joined(self._line, text[1:at] if at <= LONGEST_MARKERS else text[at - LONGEST_MARKERS : at])

    def _skip_code(self, text: str, at: int) -> int:
        """Leave out the lines of a code block, to its end; what may be the line that closes it is held back."""
        while (newline := text.find("\n", at)) >= 0:
            line = text[at:newline].strip(" >") if newline - at < 2 * LONGEST_MARKERS else ""
            at = newline + 1
            if len(line) >= len(self._fence) and not line.strip(self._fence[0]):
                self._fence = ""
                return at
        self._held = text[at : at + 2 * LONGEST_MARKERS + 1]
        return len(text)

    def _skip(self, text: str, at: int) -> tuple[str, int]:
        """Leave out more of something long; the full stop after an address is said."""
        found = REST_OF[self._skipped].match(text, at)
        if self._skipped == "url":
            skipped = self._stop + found["skipped"]
            self._stop = skipped[len(skipped.rstrip(FULL_STOPS)) :][-3:]
        if found.end() == len(text) and not found["end"]:
            return "", found.end()
        stop = self._stop if self._skipped == "url" else "\n" if self._skipped == "line" else ""
        self._skipped = ""
        return stop, found.end()

    def _construct(self, opener: re.Match[str], text: str, *, final: bool) -> tuple[str, int] | None:
        """Return what is said of a construct, and where it ends; None: it has not ended yet."""
        start, kind = opener.start(), KINDS.get(opener[0], opener[0])
        longest = start + MOST.get(kind, MOST_OF_OTHERS)
        before = text[start - 1]
        at_line_start = kind in "`~[" and MARKERS.fullmatch(self._line_before(text, start)) is not None
        for rule in self._rules(kind, before, at_line_start=at_line_start):
            found = rule.match(text, start, longest, partial=True)
            if found and found.partial:
                if not final and len(text) < longest:
                    return None
                if kind in "$\\" and "\\" in text[start + 1 :] and len(text) < longest:  # a formula that was cut off
                    return say(text[start:], self._language) + "\n", len(text)
            elif found and kind == "url":
                return self._said_url(found, before)
            elif found and (said := self._said(kind, found, before, at_line_start=at_line_start)) is not None:
                return said, found.end()
        return "" if kind in "`\ue200" else text[start], start + 1

    @staticmethod
    def _rules(kind: str, before: str, *, at_line_start: bool) -> list[regex.Pattern[str]]:
        """Return the rules to try in turn."""
        is_inside = before.isascii() and (before.isalnum() or before == "_")
        if (kind == "url" and is_inside) or kind == before == "`":
            return []
        fence = [FENCE] if at_line_start and kind in "`~" else []
        return fence + [rules[kind] for rules in (RULES, REMAINS) if kind in rules]

    def _said(self, kind: str, found: regex.Match[str], before: str, *, at_line_start: bool) -> str | None:
        """Return what is said of a construct that matched its rule; None: it is something else after all."""
        groups = found.groupdict(default="")
        said: str | None = LEFT_OUT
        if groups.get("fence"):
            self._fence, self.has_code = groups["fence"], True
            return "\n"
        match kind:
            case "$" | "\\":
                said = self._said_math(kind, groups, before)
            case "[":
                said = self._said_link(groups, before, at_line_start=at_line_start)
            case "<":
                said = self._said_tag(found, groups, before)
            case "`":
                said = shield(groups["one"] or groups["two"] or groups["three"]).replace(" ", GLUE)
            case "&":
                said = _decoded(groups["entity"])
            case "【" if "†" not in groups["source"] and not groups["source"].replace(":", "").isdigit():
                said = None
            case "]":
                self._skipped = "link" if groups["cut"] else ""
                said = ""
        return said

    def _said_math(self, kind: str, found: dict[str, str], before: str) -> str | None:
        if plainly := found.get("money") or found.get("escaped"):
            return shield(plainly)
        if macro := found.get("macro"):
            is_path = before.isalnum() or before in "\\:_"
            return say(macro, self._language) if found["name"] in MACROS and not is_path else None
        inline = found.get("inline", "")
        if kind == "$" and inline and not IS_MATH.search(inline):
            return None
        formula = inline or found.get("display") or found.get("body") or found.get("open") or ""
        return say(formula, self._language)

    def _said_link(self, found: dict[str, str], before: str, *, at_line_start: bool) -> str | None:
        if found.get("definition"):
            self._skipped = "line" if at_line_start else ""
            return LEFT_OUT if at_line_start or found["defined"].isdigit() else f"{found['defined']}: "
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
        trimmed = url if is_cut else url.rstrip(FULL_STOPS)
        end = found.start() + len(trimmed) + (before == "<" and found["next"] == ">" and trimmed == url)
        scheme = trimmed[:5].lower()
        if scheme == "data:":
            self._skipped, self._stop = ("url", "") if is_cut and IS_DATA.match(url) else ("", "")
            return (LEFT_OUT, end) if IS_DATA.match(url) else (url[0], found.start() + 1)
        if is_cut:
            self._skipped, self._stop = "url", ""
        address = html.unescape(trimmed)
        if scheme == "mailt":
            address = address[7:].partition("?")[0]
        if is_cut or len(address) > LONGEST_URL:
            host = HOST.match(address)
            address = host[1][:LONGEST_URL] if host else ""
        return shield(_clean(address)), end


def _decoded(entity: str) -> str | None:
    """The character that an entity stands for, however often it was escaped; None: it is not one."""
    decoded = entity
    while (once := html.unescape(decoded)) != decoded:
        decoded = once
    return None if decoded == entity else shield(_clean(decoded).replace("\n", " "))
