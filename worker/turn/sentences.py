"""A reply cut into sentences to be spoken one by one, while the reply is still being written.

The cutter goes word by word, and each decision rests on what came before and on the next word's first character
only: however the stream is split into deltas, the sentences are the same.
"""
# ruff: noqa: RUF001 - letters, dashes and quotes of all scripts are what this module is about

import re
import unicodedata

import regex

from worker.turn.abbreviations import is_abbreviation, is_cased
from worker.turn.spoken_text import LEFT_OUT, SpokenText, unshield

SPEECH_LIMIT = 4096  # characters that a speech provider takes at once
LONG = 400  # a sentence longer than this is cut at a clause, or else at a space
LONG_FIRST = 120  # the first one is cut at a clause sooner: sound starts early
SHORT = 12  # what is shorter is spoken together with the sentence that follows it on its line
LONGEST_WORD = 4_000
PIECE = 40  # characters, about, that are taken as a word where words are written without spaces

_REMARKS = {  # for a reply that is nothing but code
    "en": "Here is the code.",
    "ar": "إليك الشيفرة البرمجية.",
    "de": "Hier ist der Code.",
    "es": "Aquí está el código.",
    "pt": "Aqui está o código.",
    "it": "Ecco il codice.",
    "ru": "Вот код.",
    "tr": "İşte kod.",
    "hi": "यह रहा कोड।",
    "ur": "یہ رہا کوڈ۔",
    "zh": "代码如下。",
    "ja": "コードはこちらです。",
    "ko": "코드는 다음과 같습니다.",
}

# Stops that end a sentence, whatever follows, also without a space: danda, ideographic, Ethiopic, Burmese, Khmer …
_SURE = "؟۔。！？｡．।॥።፧፨။។៕៚๚๛։\u037e܀܁܂߹᙮᠃᠉᥄᥅᪨᪩᪪᪫᭚᭛᭞᭟᰻᰼᱾᱿⁇⁈⁉⸮⸼꓿꘎꘏꛳꛷꡶꡷꣎꣏꤯꧈꧉꩝꩞꩟꫰꫱꯫།༎༏༐༑෴﹒﹖﹗"
_SURE_CLAUSES = "、，；：﹐﹑﹔﹕､፣፤፥፦၊៖᠂᠈꓾꘍꛵꛶"  # clauses too
_STOP = regex.compile(f"፡፡|[.!?…{_SURE}]")
_CLAUSE = frozenset(",،;؛:—–՝·" + _SURE_CLAUSES)
_PAUSES = _CLAUSE | frozenset(".!?…" + _SURE)
_NOT_AFTER_STOP = _CLAUSE | frozenset("-=/\\&|<>+")  # "e.g.,", "x!=1", "https://x.io/?": no end
_CLOSERS = "\"'”’»›)}*_`」』）】》〉〕］｝"
_NOT_BEFORE_START = _PAUSES | frozenset(")]}-»」』）】》〉")
# After a quotation in Japanese, what goes on with it ("…」と言った") and what may also begin a sentence.
_GOES_ON = frozenset("とというってのはがをにでもや")

# A word ends at white space; after a dash, a sure stop or a full-width clause mark also without ("كيف حالك؟أنا بخير").
_ENDS = f"—{_SURE}{_SURE_CLAUSES}"
_TOKEN = re.compile(
    rf"\n| +|(?:[^ \n{_ENDS}]{{1,{LONGEST_WORD}}}|(?=[{_ENDS}]))"
    rf"(?P<end>[{_SURE}][{_SURE}!.…{re.escape(_CLOSERS)}{LEFT_OUT}]{{0,32}}|[{_SURE_CLAUSES}]{{1,8}}|—{{1,8}})?"
)
_END = re.compile(f"[ \n{_ENDS}]")
_ARABIC_COMMA = frozenset(("ar", "fa", "ur", "ps", "sd", "ug", "ckb"))
_NUMBER = regex.compile(r"\(?(?:\d{1,3}|[A-Za-z])[.)]")
# Scripts that write no spaces between words.
_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Tham}]"
)
_SYLLABLES = re.compile(  # a character of these is worth two: Hangul, Ethiopic, kana, Han
    "[\u1100-\u139f\u2e80-\u2fdf\u3040-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_SPACE_IS_CLAUSE = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")  # Thai, Lao, Burmese, Khmer
_CLUSTERS = regex.compile(rf"\X{{1,{PIECE}}}+")
_CLUSTER = regex.compile(r"\X")

_EMPHASIS = re.compile(
    r"(?<![\w*])\*+(?=[^\s*])|(?<=[^\s*])\*+(?![\w*])|(?<=[^\W\d_])\*{2,}(?=[^\W\d_])"
    r"|(?<![^\s(\[\"'“«*~])_+(?=[^\s_])|(?<=[^\s_])_+(?=[\s.,;:!?)\]\"'”»*~…،؛؟]|$)"
    r"|~~|^>+"
)
_ARROWS = "\u2190-\u21ff\u27f0-\u27ff\u2900-\u297f"
# Pictures, flags, dingbats and what joins or colours them; those that are read as words are not among them.
_SYMBOL = (
    rf"[[\p{{Extended_Pictographic}}\p{{Emoji_Modifier}}\p{{Regional_Indicator}}\uFE00-\uFE0F\u20E3†‡®™{LEFT_OUT}"
    r"\U000E0020-\U000E007F[\p{So}&&[\u2300-\u245F\u2500-\u2BFF\u4DC0-\u4DFF\U0001F000-\U0001FBFF]]]"
    rf"--[©0-9#*{_ARROWS}]]"
)
# Where one stood between a word and its full stop, no space is left.
_PICTURES = regex.compile(
    rf"\s*+(?:[#*]\uFE0F?\u20E3|{_SYMBOL})(?:{_SYMBOL}|[#*]\uFE0F?\u20E3|[\u200D\s])*+"
    rf"(?P<end>(?=[.,;:!?…)\]؟،؛{_SURE}{_SURE_CLAUSES}]|$))?",
    regex.V1,
)
_MAYBE_PICTURE = re.compile(
    "[®†‡\u20e3\u2100-\u2bff\u3030\u303d\u3297\u3299\u4dc0-\u4dff\ufe00-\ufe0f\U0001f000-\U000fffff]|[#*]\ufe0f"
)
_MAYBE_DROPPED = re.compile(rf"[{_ARROWS}•·‣|<>(\[]")
_PAUSE = re.compile(rf"(?<=[\w)])\s*(?:[{_ARROWS}]\uFE0F?\s*)+(?=[\w(])|\s+(?:[•·‣|]|-+>|=+>|<-+)\s+")
_DROPPED = re.compile(
    rf"\s*(?:[{_ARROWS}•‣]+|(?<!\S)(?:\|(?!\S)|\(\s*\)|\[\s*\]|(?:-+>|=+>|<-+)(?!\S)))(?P<end>(?=[.,;:!?…)]|$))?"
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
        self._language = language.partition("-")[0].lower()
        self._text = SpokenText(language)
        self._limit = limit
        self._ready: list[str] = []
        self._begun = False  # a sentence has come out
        self._rest = ""  # a word whose end has not come yet
        self._is_inside = False  # not even the stops that end it have
        self._gap = ""  # the white space before it
        # the sentence being gathered
        self._words: list[str] = []
        self._length = 0
        self._clause = 0  # how many of the words end at its last clause mark
        self._ending = ""  # a last word that ends the sentence if what follows agrees
        # the line being read
        self._line_start = True
        self._row = False

    def feed(self, delta: str) -> list[str]:
        """Return the sentences that are whole now."""
        self._take(self._text.feed(delta))
        ready, self._ready = self._ready, []
        return ready

    def finish(self) -> list[str]:
        """Return the sentences that are left; a reply of nothing but code gets a short remark, once."""
        self._take(self._text.finish())
        if self._rest:
            self._read(self._rest)
            self._rest = ""
        self._end_line()
        if self._text.has_code and not self._begun:
            self._begun = True
            self._ready.append(_REMARKS.get(self._language, _REMARKS["en"]))
        ready, self._ready = self._ready, []
        return ready

    def _take(self, delta: str) -> None:
        if self._is_inside and len(self._rest) + len(delta) <= LONGEST_WORD and not _END.search(delta):
            self._rest += delta
            return
        text, self._rest = self._rest + delta, ""
        self._is_inside = False
        for token in _TOKEN.finditer(text):
            word = token[0]
            if word == "\n":
                self._end_line()
            elif word.isspace():
                self._gap = " "
            else:
                self._decide(word[0])
                if token.end() == len(text):
                    self._rest, self._is_inside = word, token["end"] is None
                else:
                    self._read(word)

    def _read(self, word: str) -> None:
        if self._row or (self._line_start and word.startswith("|")):
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
        if _NUMBER.fullmatch(word.strip("*_")):
            self._add(word)
            self._ending = ""
            return
        if word not in ("[x]", "[X]") and _speakable(word):
            self._add(word)
            self._line_start = False

    def _end_line(self) -> None:
        if self._row and self._words:
            self._words[-1] = self._words[-1].rstrip(",،")
        self._cut(len(self._words))
        self._line_start, self._row, self._gap = True, False, ""

    def _add_cells(self, word: str) -> None:
        for place, cell in enumerate(word.split("|")):
            if place and self._words and self._words[-1][-1] not in _PAUSES:
                self._words[-1] += "،" if self._language in _ARABIC_COMMA else ","
                self._length += 1
                self._clause = len(self._words)
            if _speakable(cell):
                self._gap = " "
                self._add(cell)
                self._ending = ""

    def _add(self, word: str) -> None:
        """Take one more word into the sentence; of a long one of a script without spaces, piece by piece."""
        if len(word) > PIECE and _UNSPACED.search(word):
            *pieces, word = _CLUSTERS.findall(word)
            for piece in pieces:
                self._add_word(piece)
        self._add_word(word)
        if self._length >= SHORT or (self._length >= SHORT // 2 and _SYLLABLES.search(word)):
            self._ending = word
            if _CLAUSE.intersection(word[_core_end(word) :]):
                self._clause = len(self._words)

    def _add_word(self, word: str) -> None:
        """Cut what has become too long with one more word."""
        if not self._gap and self._words and _is_mark(word[0]):
            self._words[-1] += word
            self._length += len(word)
            return
        gap, self._gap = self._gap if self._words else "", ""
        if gap and word[0] > "\u0dff" and self._length >= SHORT and _SPACE_IS_CLAUSE.match(self._words[-1][-1]):
            self._clause = len(self._words)
        self._words.append(gap + word)
        self._length += len(gap) + len(word)
        if not self._begun and self._clause and self._length > LONG_FIRST:
            self._cut(self._clause)
        while self._length > LONG and len(self._words) > 1:
            self._cut(self._clause or len(self._words) - 1)

    def _decide(self, following: str) -> None:
        """End the sentence before a word that starts with `following`, if its last word may be the last."""
        ending, self._ending = self._ending, ""
        if ending and _may_end(ending, following, self._language):
            lower = following.islower() and is_cased(following)
            if not lower or not next(filter(str.isalpha, "".join(self._words)), "").isupper():
                self._cut(len(self._words))

    def _cut(self, count: int) -> None:
        """Put out the first `count` words, and go on with the others."""
        text = _spoken("".join(self._words[:count]), self._language)
        del self._words[:count]
        self._length = sum(map(len, self._words))
        self._clause, self._ending = 0, ""
        if _speakable(text):
            self._begun = True
            self._ready += _within_limit(text, self._limit)


def _may_end(word: str, following: str, language: str) -> bool:
    """Tell whether a sentence may end with `word` when the next word starts with `following`."""
    word = word.replace(LEFT_OUT, "")
    end = _core_end(word)
    tail = word[end:]
    if language == "el":
        tail = tail.replace(";", "\u037e")
    after = _STOP.split(tail)[-1]
    if after == tail or _NOT_AFTER_STOP.intersection(after) or following in _NOT_BEFORE_START:
        return False
    stops = _STOP.findall(tail)
    if following.islower() and is_cased(following) and (after or "…" in stops or stops[-2:] == [".", "."]):
        return False  # '"Really?" she asked', "well... maybe"
    if following in _GOES_ON and after.endswith(("」", "』")):
        return False
    if stops == ["．"]:
        return not following.isdigit()
    return stops != ["."] or not is_abbreviation(word[:end], following, language)


def _core_end(word: str) -> int:
    """Return where the punctuation at the end of a word starts; combining marks are part of letters."""
    end = len(word)
    while end and not (word[end - 1].isalnum() or _is_mark(word[end - 1])):
        end -= 1
    return end


def _is_mark(char: str) -> bool:
    return char == "\u200d" or (char > "\u02ff" and unicodedata.category(char)[0] == "M")


def _speakable(text: str) -> bool:
    return any(map(str.isalnum, text))


def _spoken(text: str, language: str) -> str:
    """Return a sentence as it is sent to be spoken: without its Markdown, emoji and what stands for them."""
    text = _EMPHASIS.sub("", text)
    if _MAYBE_PICTURE.search(text):
        text = _PICTURES.sub(_gap, text)
    if _MAYBE_DROPPED.search(text):
        text = _PAUSE.sub("، " if language in _ARABIC_COMMA else ", ", text)
        text = _DROPPED.sub(_gap, text)
    return " ".join(unshield(text).split())


def _gap(found: regex.Match[str] | re.Match[str]) -> str:
    """What is left of something that isn't said: a space, but not before a full stop."""
    return " " if found["end"] is None else ""


def _within_limit(text: str, limit: int) -> list[str]:
    """Cut at a space, or between two characters as the last resort, what a speech provider would not take."""
    pieces = []
    while len(text) > limit:
        end = text.rfind(" ", 1, limit + 1)
        if end <= 0:
            ends = (found.end() for found in _CLUSTER.finditer(text, 0, limit + 1))
            end = max((end for end in ends if end <= limit), default=limit)
        pieces.append(text[:end])
        text = text[end:].lstrip()
    return [piece for piece in [*pieces, text] if _speakable(piece)]
