"""Which language a text is in: a rule on its script first, a small model for what scripts do not tell."""

import threading
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

SURE_ENOUGH = 0.5
CERTAIN = 0.8
NOISE = "la"  # what speech models take for Latin
LONG_ENOUGH = 30  # characters: from there on a speech model is believed about languages that we don't know

_NO_IDEA = 0.1
_JUDGED_CHARS = 2_000

# The model also knows that Arabic letters may be Persian or Urdu, and Cyrillic ones Ukrainian.
_MODEL_LANGUAGES = ("en", "fr", "de", "es", "it", "pt", "nl", "tr", "id", "pl", "ru", "uk", "ar", "fa", "ur")
_SCRIPT_LANGUAGES = {
    "HANGUL": "ko",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "CJK": "zh",
    "DEVANAGARI": "hi",
    "BENGALI": "bn",
    "HEBREW": "he",
    "GREEK": "el",
    "THAI": "th",
}
KNOWN = frozenset({*_MODEL_LANGUAGES, *_SCRIPT_LANGUAGES.values()})
_NOT_ARABIC = frozenset("پچژگکیےںٹڈڑہھ")

_loading = threading.Lock()


@dataclass(frozen=True)
class Detection:
    """A language (ISO 639-1) and how sure we are of it, 0 to 1."""

    code: str
    confidence: float
    by_script: bool = False  # its letters are no other language's


def detect(text: str) -> Detection | None:
    """Return the language most letters of `text` are in, None when nothing in it tells.

    The first text that needs the model loads it, about half a second: off the event loop, or after `warm`.
    """
    letters = [char for char in text[:_JUDGED_CHARS] if char.isalpha()]
    if not letters:
        return None
    scripts = Counter(_script(char) for char in letters)
    if "ja" in {_SCRIPT_LANGUAGES.get(script) for script in scripts}:
        scripts["HIRAGANA"] += scripts.pop("CJK", 0)
    script, count = max(scripts.items(), key=lambda item: (item[1], item[0] == "ARABIC"))
    share = count / len(letters)
    if script in _SCRIPT_LANGUAGES:
        return Detection(_SCRIPT_LANGUAGES[script], share, by_script=True)
    if script == "ARABIC" and _NOT_ARABIC.isdisjoint(letters):
        return Detection("ar", share, by_script=True)
    code, confidence = _model().classify(_only(script, text[:_JUDGED_CHARS]))
    return Detection(str(code), float(confidence) * share) if confidence > _NO_IDEA else None


def choose(text: str, fallback: str, *, told: Sequence[str] = (), allowed: Collection[str] = ()) -> str:
    """Return the language of `text`, or `fallback` (the conversation's) where that is too unsure or not `allowed`.

    `told` are those in which a speech model heard it. It is believed where the text leaves doubts, and for languages
    that the text could not be told from; of those not for a few words: short clips are taken for Latin and the like.
    """
    found = detect(text)
    believed = [code for code in told if code in KNOWN or code in allowed]
    foreign = [code for code in told if code not in (*believed, NOISE)] if len(text) >= LONG_ENOUGH else []
    order = [found.code] if found and found.confidence >= SURE_ENOUGH else []
    if not (found and found.by_script and found.confidence >= SURE_ENOUGH):
        is_certain = found is not None and found.confidence >= CERTAIN and found.code not in told
        order = [*foreign, *order, *believed] if is_certain else [*foreign, *believed, *order]
    return next((code for code in (*order, *believed) if not allowed or code in allowed), fallback)


def warm() -> None:
    """Load the model now, so that no text has to wait for it."""
    _model()


def is_warm() -> bool:
    """Whether the model is there: then a text takes 0.02 ms, and none more than 0.5 ms."""
    return _load.cache_info().currsize > 0


def _model() -> LanguageIdentifier:
    with _loading:
        return _load()


@lru_cache(maxsize=1)
def _load() -> LanguageIdentifier:
    every = LanguageIdentifier.from_model_file(MODEL_FILE)
    every.set_languages(_MODEL_LANGUAGES)
    # A second one without the other languages' weights holds 28 MB less.
    return LanguageIdentifier(
        every.nb_ptc,
        every.nb_pc,
        every.nb_classes,
        every.tk_nextmove,
        every.tk_output,
        norm_probs=True,
        tk_row=every.tk_row,
    )


@lru_cache(maxsize=4_096)
def _script(char: str) -> str:
    return unicodedata.name(char, "UNKNOWN").split()[0]


def _only(script: str, text: str) -> str:
    """Blank the letters of other scripts: in mixed text they would mislead the model."""
    return "".join(" " if char.isalpha() and _script(char) != script else char for char in text)
