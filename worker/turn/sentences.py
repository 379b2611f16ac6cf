"""A reply cut into sentences to be spoken one by one, while the reply is still being written.

The cutter goes word by word, and each decision rests on what came before and on the next word's first character
only: however the stream is split into deltas, the sentences are the same.
"""
# ruff: noqa: RUF001 - Arabic letters, dashes and quotes are what this module is about

import re

SPEECH_LIMIT = 4096  # characters that a speech provider takes at once
LONG = 400  # a sentence longer than this is cut at a clause, or else at a space
LONG_FIRST = 120  # the first one is cut at a clause sooner: sound starts early
SHORT = 12  # what is shorter is spoken together with the sentence that follows it on its line
OPEN_SPAN = 200  # a bracket or backtick that is not closed within this was never meant as Markdown

_REMARKS = {"en": "Here is the code.", "ar": "إليك الشيفرة البرمجية."}  # for a reply that is nothing but code

_STOP = re.compile("[.!?…؟۔。！？]")
_CLAUSE = frozenset(",،;؛:—–")
_PAUSES = _CLAUSE | frozenset(".!?…؟۔。！？")
_NOT_AFTER_STOP = _CLAUSE | frozenset("-=/\\&|<>+")  # "e.g.,", "x!=1", "https://x.io/?": no end
_NOT_BEFORE_START = _CLAUSE | frozenset(")]}-.!?…؟۔»")
_OPENERS = "\"'([{“‘«*_~`"

# A word ends at white space; after a dash or an unmistakable stop also without ("كيف حالك؟أنا بخير").
_TOKEN = re.compile(
    r"\n|[^\S\n]+"
    r"|(?:[^\s—؟۔。！？]{1,4000}|(?=[—؟۔。！？]))(?:[؟۔。！？][؟۔。！？!.…\"'”’»)}*_`」』）】]{0,32}|—{1,8})?"
)
_NUMBER = re.compile(r"\(?(?:\d{1,3}|[A-Za-z])[.)]")
_FENCE = re.compile(r"(`{3,}|~{3,})[^`~]*")
_FOOTNOTE = re.compile(r"\[\d{1,3}\]$")
_LINK_TAIL = re.compile(r"\]\([^\s()]*\)")

# Abbreviations in lower case, without their last full stop.
_TITLE = re.compile(
    "mr|mrs|ms|mx|dr|prof|st|mt|ft|rev|fr|gen|sen|rep|gov|pres|capt|cmdr|lt|col|maj|sgt|hon|messrs|mme|mlle"
)
_NEVER_LAST = re.compile(r"vs|cf|viz|eg|ie|approx|esp|incl|dept|univ|ود|وأ|هـ|أد|(?:[^\W\d_]\.)+[^\W\d_]")
_LAST_AT_TIMES = re.compile(r"etc|inc|ltd|co|corp|jr|sr|al|bros|ave|blvd|rd|[ap]\.m|ph\.d|a\.d|b\.c|(?:b\.)?c\.e")
_BEFORE_NUMBER = re.compile(
    "nos?|figs?|vol|ch|pp|pg|art|sec|par|ver|ext|est|tel|ca|jan|feb|mar|apr|ju[nl]|aug|sept?|oct|nov|dec"
)

_MARKDOWN = re.compile(
    r"(?<!`)(?P<ticks>`{1,3})(?!`)(?P<code>.+?)(?<!`)(?P=ticks)(?!`)"
    r"|!?\[(?P<label>[^\[\]]*)\]\((?:[^()\s]|\([^()\s]*\))*(?:\s[^()]*)?\)"
    r"|\]\((?:https?:|mailto:|www\.|[/#])[^\s()]*\)"  # what is left of a link that was cut
    r"|<(?P<address>https?://[^\s<>]+|mailto:[^\s<>]+|[^\s<>@]+@[^\s<>@]+)>"
    r"|(?P<url>(?:https?://|www\.)[^\s<>)\]*`]+)"
    r"|(?P<br><br\s*/?>)|</?(?:b|i|u|s|em|strong|sub|sup|p|kbd|mark|small|del|details|summary)>"
    r"|\\(?P<escaped>[\\`*_{}\[\]()#+.!|~>-])"
    r"|(?<![\w*])\*+(?=[^\s*])|(?<=[^\s*])\*+(?![\w*])|(?<=[^\W\d_])\*{2,}(?=[^\W\d_])"
    r"|(?<![^\s(\[\"'“«*~])_+(?=[^\s_])|(?<=[^\s_])_+(?=[\s.,;:!?)\]\"'”»*~…،؛؟]|$)"
    r"|~~|`+|^>+"
)


def cut(text: str, language: str) -> list[str]:
    """Return the sentences of a whole text, ready to be spoken."""
    cutter = SentenceCutter(language)
    return cutter.feed(text) + cutter.finish()


class SentenceCutter:
    """Cuts one reply, fed in deltas of any size, into sentences of `limit` characters at most.

    `language` is an ISO 639-1 code.
    """

    def __init__(self, language: str, *, limit: int = SPEECH_LIMIT) -> None:
        self._language = language
        self._limit = limit
        self._ready: list[str] = []
        self._begun = False  # a sentence has come out
        self._rest = ""  # a word whose end has not come yet
        self._gap = ""  # the white space before it
        # the sentence being gathered
        self._words: list[str] = []
        self._length = 0
        self._clause = 0  # how many of the words end at its last clause mark
        self._ending = ""  # a last word that ends the sentence if what follows agrees
        self._closer = ""  # what closes the code span, bracket or link that is open
        self._opened = 0
        # the line being read
        self._line_start = True
        self._row = False
        self._fence = ""
        self._info: list[str] | None = None  # the words of a fence's own first line
        self._code = False  # a code block was left out

    def feed(self, delta: str) -> list[str]:
        """Return the sentences that are whole now."""
        text, self._rest = self._rest + delta, ""
        for token in _TOKEN.finditer(text):
            word = token[0]
            if word == "\n":
                self._end_line()
            elif word.isspace():
                self._gap = " "
            else:
                self._decide(word[0])
                if token.end() == len(text):
                    self._rest = word
                else:
                    self._read(word)
        ready, self._ready = self._ready, []
        return ready

    def finish(self) -> list[str]:
        """Return the sentences that are left; a reply of nothing but code gets a short remark."""
        if self._rest:
            self._read(self._rest)
            self._rest = ""
        self._end_line()
        if self._code and not self._begun:
            self._ready.append(_REMARKS.get(self._language[:2].lower(), _REMARKS["en"]))
        ready, self._ready = self._ready, []
        return ready

    def _read(self, word: str) -> None:
        if self._info is not None:
            self._read_fence_line(word)
        elif self._fence:
            if self._line_start and len(word) >= len(self._fence) and not word.strip(self._fence[0]):
                self._fence = ""
        elif self._row or (self._line_start and word.startswith("|")):
            self._row = True
            self._add_cells(word)
        elif not self._line_start:
            self._add(word)
        else:
            self._read_first(word)
            return
        self._line_start = False

    def _read_first(self, word: str) -> None:
        """Take the first word of a line; after a marker (bullet, heading, number) the next one is first again."""
        fence = _FENCE.fullmatch(word)
        if fence:
            self._fence, self._info = fence[1], []
            self._read_fence_line(word)
        elif _NUMBER.fullmatch(word.strip("*_")):
            self._add(word)
            self._ending = ""
            return
        elif word in ("[x]", "[X]") or not (_speakable(word) or "`" in word):
            return
        else:
            self._add(word)
        self._line_start = False

    def _read_fence_line(self, word: str) -> None:
        """Gather the line that opens a fence: another backtick in it makes it an ordinary line."""
        info = self._info if self._info is not None else []
        info.append(self._gap + word)
        self._gap = ""
        if len(info) > 1 and self._fence[0] in word:
            self._fence, self._info, self._line_start = "", None, False
            for ordinary in info:
                self._add(ordinary)

    def _end_line(self) -> None:
        if self._info is not None:
            self._info, self._code = None, True
        if self._row and self._words:
            self._words[-1] = self._words[-1].rstrip(",،")
        self._cut(len(self._words))
        self._line_start, self._row, self._gap = True, False, ""

    def _add_cells(self, word: str) -> None:
        for place, cell in enumerate(word.split("|")):
            if place and self._words and self._words[-1][-1] not in _PAUSES:
                self._words[-1] += "،" if self._language.startswith("ar") else ","
                self._length += 1
                self._clause = len(self._words)
            if _speakable(cell):
                self._gap = " "
                self._add(cell)
                self._ending = ""

    def _add(self, word: str) -> None:
        """Take one more word into the sentence, and cut what has become too long."""
        gap, self._gap = self._gap if self._words else "", ""
        self._words.append(gap + word)
        self._length += len(gap) + _length(word)
        if not self._begun and self._clause and self._length > LONG_FIRST:
            self._cut(self._clause)
        while self._length > LONG and len(self._words) > 1:
            self._cut(self._clause or len(self._words) - 1)
        if not self._is_open(word) and self._length >= SHORT:
            self._ending = word
            if _CLAUSE.intersection(word[_core_end(word) :]):
                self._clause = len(self._words)

    def _is_open(self, word: str) -> bool:
        """Follow code spans, brackets and links, which are not cut inside."""
        before = ""
        for char in word if self._closer or "`" in word or "[" in word else "":
            if char == self._closer:
                self._closer = ""
            elif not self._closer and (char in "`[" or (char == "(" and before == "]")):
                self._closer = {"`": "`", "[": "]", "(": ")"}[char]
                self._opened = self._length
            before = char
        if self._length - self._opened > OPEN_SPAN:
            self._closer = ""
        return bool(self._closer)

    def _decide(self, following: str) -> None:
        """End the sentence before a word that starts with `following`, if its last word may be the last."""
        ending, self._ending = self._ending, ""
        if ending and _may_end(ending, following):
            lower = following.islower()
            if not lower or not next(filter(str.isalpha, "".join(self._words)), "").isupper():
                self._cut(len(self._words))

    def _cut(self, count: int) -> None:
        """Put out the first `count` words, and go on with the others."""
        text = _spoken("".join(self._words[:count]))
        del self._words[:count]
        self._length = sum(map(_length, self._words))
        self._clause, self._ending, self._opened = 0, "", 0
        if not self._words:
            self._closer = ""
        if _speakable(text):
            self._begun = True
            self._ready += _within_limit(text, self._limit)


def _may_end(word: str, following: str) -> bool:
    """Tell whether a sentence may end with `word` when the next word starts with `following`."""
    word = _FOOTNOTE.sub("", word)
    end = _core_end(word)
    tail = word[end:]
    after = _STOP.split(tail)[-1]
    if after == tail or _NOT_AFTER_STOP.intersection(after) or following in _NOT_BEFORE_START:
        return False
    stops = _STOP.findall(tail)
    if following.islower() and (after or "…" in stops or stops[-2:] == [".", "."]):
        return False  # '"Really?" she asked', "well... maybe"
    return stops != ["."] or not _is_abbreviation(word[:end].lstrip(_OPENERS), following)


def _is_abbreviation(core: str, following: str) -> bool:
    """Tell whether the full stop after `core` belongs to it, and does not end a sentence as well."""
    lowered = core.lower()
    if len(core) == 1 and core.isalpha():
        return core != "I" or not following.isupper()
    if _LAST_AT_TIMES.fullmatch(lowered):
        return following.islower() or not following.isalpha()
    if _BEFORE_NUMBER.fullmatch(lowered):
        return following.isdigit()
    return bool(_NEVER_LAST.fullmatch(lowered) or (core[:1].isupper() and _TITLE.fullmatch(lowered)))


def _core_end(word: str) -> int:
    """Return where the punctuation at the end of a word starts."""
    end = len(word)
    while end and not word[end - 1].isalnum():
        end -= 1
    return end


def _length(word: str) -> int:
    """Return about how many characters of a word are spoken: not those of a link's address."""
    return len(_LINK_TAIL.sub("", word)) if "](" in word else len(word)


def _speakable(text: str) -> bool:
    return any(map(str.isalnum, text))


def _spoken(text: str) -> str:
    """Return the text without its Markdown."""
    return " ".join(_MARKDOWN.sub(_unmarked, text).split())


def _unmarked(found: re.Match[str]) -> str:
    if found["label"] is not None:
        return _spoken(found["label"])
    if found["br"]:
        return " "
    return found["code"] or found["address"] or found["url"] or found["escaped"] or ""


def _within_limit(text: str, limit: int) -> list[str]:
    """Cut at a space, or anywhere as the last resort, what a speech provider would not take."""
    pieces = []
    while len(text) > limit:
        end = text.rfind(" ", 1, limit + 1)
        end = end if end > 0 else limit
        pieces.append(text[:end])
        text = text[end:].lstrip()
    return [piece for piece in [*pieces, text] if _speakable(piece)]
