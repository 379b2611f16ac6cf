"""pocketsphinx: hears common English phrases, and is strict about what it takes for one.

It holds the GIL and keeps its models in memory: run `hear` in a process of its own.
"""

import io
import math
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from shared.audio.decode import decode_file
from worker.providers.phrases import GRAMMAR, PROPER

try:
    from pocketsphinx import Decoder, get_model_path
except ImportError:  # some platforms have no wheel of it, and it is not among their requirements
    Decoder = None

IS_INSTALLED = Decoder is not None
MAX_S = 60.0

_SAMPLE_RATE = 16_000
_FRAME = _SAMPLE_RATE // 100
_QUIET_PEAK = 150
_PAUSE_FRAMES = 60
_MARGIN_FRAMES = 20
_SHORTEST_FRAMES = 10
_FEWEST_PHONES = 3
_SLOWEST_FRAMES = 26  # for one phone of a word: noise is heard as words that never end
_REJECT_ABOVE = 8.0
_VARIANT = re.compile(r"\(\d+\)$")


@dataclass(frozen=True)
class Recognized:
    """The phrases that were recognised, and how many stretches of sound were phrases and were not."""

    text: str
    understood: int
    rejected: int


@dataclass(frozen=True)
class _Segment:
    """A word or phone with its frames, the last included, and the log score of the whole."""

    name: str
    first: int
    last: int
    score: float

    @property
    def frames(self) -> range:
        return range(self.first, self.last + 1)

    @property
    def is_sound(self) -> bool:
        """False for pauses and for the fillers that stand for noise."""
        return self.name not in {"SIL", "(NULL)"} and self.name[0] not in "<[+"


def hear(data: bytes) -> Recognized:
    """Return the phrases in an audio file. Sound that is not surely one of them is counted, not guessed.

    Raises `Unsupported` or `Invalid` for what is not audio.
    """
    pcm = decode_file(io.BytesIO(data), max_s=MAX_S + 1, rate=_SAMPLE_RATE)
    found = [_recognise(piece) for piece in _pieces(pcm)]
    texts = [text for text in found if text]
    return Recognized(". ".join(texts), len(texts), len(found) - len(texts))


def warm() -> None:
    """Load both models."""
    _phrases()
    _phones()


def _pieces(pcm: bytes) -> Iterator[bytes]:
    """Cut at pauses of 0.6 s; silence yields nothing."""
    samples = array("h", pcm[: len(pcm) // 2 * 2])
    peaks = [max(map(abs, samples[at : at + _FRAME])) for at in range(0, len(samples), _FRAME)]
    floor = max(_QUIET_PEAK, max(peaks, default=0) // 20)
    runs: list[list[int]] = []
    for index in (index for index, peak in enumerate(peaks) if peak > floor):
        if not runs or index - runs[-1][-1] > _PAUSE_FRAMES:
            runs.append([])
        runs[-1].append(index)
    for run in runs:
        if len(run) >= _SHORTEST_FRAMES:
            first, last = max(0, run[0] - _MARGIN_FRAMES), run[-1] + _MARGIN_FRAMES
            yield samples[first * _FRAME : last * _FRAME].tobytes()


def _recognise(pcm: bytes) -> str | None:
    """Return the phrase, None where it fits the sound no better than foreign speech or noise would."""
    words = [word for word in _decode(_phrases(), pcm) if word.is_sound]
    phones = {word: (_phrases().lookup_word(word.name) or "").split() for word in words}
    if not words or any(len(word.frames) > _SLOWEST_FRAMES * len(phones[word]) for word in words):
        return None
    expected = [phone for word in words for phone in phones[word]]
    if len(expected) < _FEWEST_PHONES:
        return None
    return _written(words) if _misfit(words, expected, _decode(_phones(), pcm)) <= _REJECT_ABOVE else None


def _misfit(words: list[_Segment], expected: list[str], loop: list[_Segment]) -> float:
    """Compare a phrase with what a free loop over English phones heard in the same sound; 0 is a perfect fit.

    The phrase must score nearly as well as the loop (`gap`, per frame), cover what the loop takes for speech
    (`uncovered`), and be made of much the same phones (`unlike`). The weights are a logistic fit on synthetic speech.
    """
    spoken = {frame for phone in loop if phone.is_sound for frame in phone.frames}
    if not spoken:
        return math.inf
    scores = {frame: phone.score / len(phone.frames) for phone in loop for frame in phone.frames}
    covered = {frame for word in words for frame in word.frames}
    gap = (sum(scores.get(frame, 0.0) for frame in covered) - sum(word.score for word in words)) / len(covered)
    uncovered = len(spoken - covered) / len(spoken)
    heard = [phone.name for phone in loop if phone.is_sound]
    unlike = _distance(expected, heard) / max(len(expected), len(heard))
    return 800 * gap + 12.5 * uncovered + 8.4 * unlike


@lru_cache(maxsize=1)
def _phrases() -> Decoder:
    # Its lattice search takes minutes on foreign speech; narrower beams miss phrases.
    decoder = Decoder(lm=None, loglevel="FATAL", compallsen=True, bestpath=False, beam=1e-80, wbeam=1e-60, pbeam=1e-80)
    decoder.add_jsgf_string("phrases", GRAMMAR)
    decoder.activate_search("phrases")
    return decoder


@lru_cache(maxsize=1)
def _phones() -> Decoder:
    model = get_model_path("en-us/en-us-phone.lm.bin")
    return Decoder(lm=None, allphone=model, loglevel="FATAL", compallsen=True, beam=1e-20, pbeam=1e-20, lw=2.0)


def _decode(decoder: Decoder, pcm: bytes) -> list[_Segment]:
    decoder.start_stream()  # else what it heard before colours what it hears
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return []
    segments = ((seg.word, seg.start_frame, seg.end_frame, seg.ascore) for seg in decoder.seg())
    return [
        _Segment(name, first, last, math.log(score or 1e-300)) for name, first, last, score in segments if last >= first
    ]


def _distance(expected: list[str], heard: list[str]) -> int:
    """Return Levenshtein's distance."""
    row = list(range(len(heard) + 1))
    for index, phone in enumerate(expected, start=1):
        above, row = row, [index]
        for column, other in enumerate(heard, start=1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (phone != other)))
    return row[-1]


def _written(words: list[_Segment]) -> str:
    names = (_VARIANT.sub("", word.name) for word in words)
    text = " ".join(name.capitalize() if name in PROPER else name for name in names)
    return text[0].upper() + text[1:]
