"""How far what was read aloud is from what was to be read: word by word, however each of them is spelled."""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

# Scripts without spaces are compared letter by letter: Thai to Khmer, kana, Chinese characters.
_NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_CHUNK = re.compile(rf"[{_NO_SPACES}]|[^\s{_NO_SPACES}]+")
_READ_OUT = frozenset("@#%&/\\")  # punctuation to Unicode
_INSIDE = frozenset("._*")  # part of a name or an address when letters stand on both sides
_APOSTROPHES = frozenset("'`\u2019\u02bc\u00b4")
_EMOJI_WORDS = 5


class Word(NamedTuple):
    """The bare letters of a word, and how many spoken words may stand for it: `most` is 0 for itself alone."""

    letters: str
    most: int = 0

    @property
    def is_optional(self) -> bool:
        """Emoji and lone symbols are read out, or they are not."""
        return not self.letters


def difference(text: str, heard: str) -> float:
    """From 0.0, read word by word, to 1.0, something else; what holds digits or symbols may be read in any words."""
    wanted, said = list(_words(text)), [word.letters for word in _words(heard) if word.letters]
    room = sum(max(1, word.most) for word in wanted)
    length = max(sum(not word.is_optional for word in wanted), len(said), 1)
    if len(said) > 2 * room + 10:  # an answer without an end is not worth comparing
        return 1.0
    while wanted and said and wanted[0] == (said[0], 0):
        del wanted[0], said[0]
    while wanted and said and wanted[-1] == (said[-1], 0):
        del wanted[-1], said[-1]
    return min(1.0, _distance(wanted, said) / length)


def _distance(wanted: list[Word], said: list[str]) -> int:
    """Levenshtein's, by words, where two words may be one ("e-mail", "email")."""
    before: list[int] = []
    above = list(range(len(said) + 1))
    for at, word in enumerate(wanted):
        row = [above[0] + (not word.is_optional)]
        joined = wanted[at - 1].letters + word.letters if at else None
        for end in range(1, len(said) + 1):
            heard = said[end - 1]
            cost = min(above[end] + (not word.is_optional), row[end - 1] + 1, above[end - 1] + (heard != word.letters))
            if word.most:
                cost = min(cost, *above[max(0, end - word.most) : end])
            if heard == joined:
                cost = min(cost, before[end - 1])
            if end > 1 and said[end - 2] + heard == word.letters:
                cost = min(cost, above[end - 2])
            row.append(cost)
        before, above = above, row
    return above[-1]


def _words(text: str) -> Iterator[Word]:
    for chunk in _CHUNK.findall(text):
        core = chunk[_first(chunk) : len(chunk) - _first(chunk[::-1])]
        if not core:
            if any(_is_read_out(char) or unicodedata.category(char)[0] == "S" for char in chunk):
                yield Word("", _EMOJI_WORDS)
        elif _has_many_readings(chunk, core):
            yield Word(_bare(core), 2 * len(chunk) + 1)
        else:
            parts = "".join(char if _is_of_a_word(char) else " " for char in core).split()
            yield from (Word(letters) for part in parts if (letters := _bare(part)))


def _has_many_readings(chunk: str, core: str) -> bool:
    return any(char.isnumeric() or _is_read_out(char) for char in chunk) or any(
        char in _INSIDE or unicodedata.category(char)[0] == "S" for char in core if char not in _APOSTROPHES
    )


def _is_read_out(char: str) -> bool:
    return char in _READ_OUT or unicodedata.category(char) in {"Sc", "Sm"}


def _is_of_a_word(char: str) -> bool:
    """Letters, their marks, digits, apostrophes, and what is invisible."""
    return char in _APOSTROPHES or unicodedata.category(char)[0] in "LMNC"


def _first(chunk: str) -> int:
    """Where the first letter or digit is, or behind the end."""
    return next((at for at, char in enumerate(chunk) if unicodedata.category(char)[0] in "LN"), len(chunk))


def _bare(word: str) -> str:
    """Without case, accents, Arabic vowel signs, tatweel, apostrophes, and what is invisible."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", word).casefold())
    return "".join(char for char in folded if unicodedata.category(char) in _LETTERS)


_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lo", "Mc", "Nd", "Nl", "No"})
