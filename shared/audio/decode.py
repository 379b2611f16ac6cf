"""Sound turned into PCM, and voice notes made ready for a speech recogniser."""

import io
import math
import warnings
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.error import FFmpegError

from shared.audio.probe import ProbedSound, describe
from shared.audio.source import Source, frames, opened, unreadable

with warnings.catch_warnings():
    # pydub looks for an ffmpeg program and for audioop; neither is what we use it for.
    warnings.filterwarnings("ignore", module="pydub")
    warnings.filterwarnings("ignore", message=".*audioop.*", category=DeprecationWarning)
    warnings.filterwarnings("ignore", message=".*ffmpeg.*", category=RuntimeWarning)
    warnings.filterwarnings("ignore", message=".*invalid escape sequence.*")
    from pydub import AudioSegment
    from pydub.silence import detect_silence

RATE = 16_000
# The loudest moment of a silent note; a whisper across a room is some 15 dB louder.
_SILENCE_DBFS, _MOMENT_MS = -60.0, 200
_PAUSE_MS, _PAUSE_BELOW_DB, _SEARCH_MS = 300, 16.0, 30_000
_KEPT = {"wav": ("pcm_",), "mp3": ("mp3",), "flac": ("flac",), "ogg": ("opus", "vorbis"), "webm": ("opus", "vorbis")}
_HEADER_BYTES = 16_384
_LAST_MS = 1_000  # the last part is no splinter: recognisers refuse less than 0.1 s


@dataclass(frozen=True)
class Part:
    """A piece of a voice note that fits one transcription call."""

    data: bytes
    extension: str
    duration_s: float


@dataclass(frozen=True)
class Prepared:
    """A voice note ready to be heard; a silent one has no parts."""

    silent: bool
    parts: list[Part]


def decode(path: str, *, max_s: float, rate: int = RATE) -> bytes:
    """Return the file's sound as mono signed 16-bit little-endian PCM; raises `Unsupported` or `Invalid`."""
    with Path(path).open("rb") as file:
        return decode_file(file, max_s=max_s, rate=rate)


def decode_file(file: BinaryIO, *, max_s: float, rate: int = RATE) -> bytes:
    """`decode` for an open file or bytes in memory."""
    with opened(file) as source:
        return _pcm(source, max_s=max_s, rate=rate)


def prepare(path: str, *, extensions: frozenset[str], max_s: float, max_part_s: float, max_bytes: int) -> Prepared:
    """Make a voice note ready: as it is where `extensions` and the limits allow, else as 16 kHz flac or wav in parts.

    A part is cut in a pause where there is one. Raises `Unsupported` or `Invalid`.
    """
    with Path(path).open("rb") as file:
        with opened(file) as source:
            pcm = _pcm(source, max_s=max_s, rate=RATE)
            sound = describe(source)
            as_it_is = sound.extension in extensions and _is_plain(source, sound)
        if is_silent(pcm, rate=RATE):
            return Prepared(silent=True, parts=[])
        size = file.seek(0, 2)
        honest = sound.container != "wav" or _riff_size(file) == size
        if as_it_is and honest and sound.duration_s <= max_part_s and size <= max_bytes:
            file.seek(0)
            return Prepared(silent=False, parts=[Part(file.read(), sound.extension, sound.duration_s)])
    extension = "flac" if "flac" in extensions else "wav"
    write = _flac if extension == "flac" else wav_of
    pieces = _cut(pcm, max_ms=_part_ms(max_part_s, max_bytes))
    heard = [piece for piece in pieces if not is_silent(piece, rate=RATE)]
    return Prepared(silent=False, parts=[Part(write(p), extension, len(p) / 2 / RATE) for p in heard])


def is_silent(pcm: bytes, *, rate: int) -> bool:
    """Say whether no moment of mono 16-bit PCM is loud enough for speech."""
    sound = _segment(pcm, rate)
    moments = (sound[at : at + _MOMENT_MS] for at in range(0, len(sound), _MOMENT_MS))
    return all(moment.dBFS < _SILENCE_DBFS for moment in moments)


def wav_of(pcm: bytes, *, rate: int = RATE) -> bytes:
    """Return mono signed 16-bit PCM as a wav file."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm)
    return out.getvalue()


def resampled(incoming: Iterator[AudioFrame], *, rate: int) -> Iterator[bytes]:
    """Yield mono 16-bit PCM; a stream may change its rate or channels on the way."""
    shape: tuple[int, str, str] | None = None
    resampler: AudioResampler | None = None
    for frame in incoming:
        now = (frame.sample_rate, frame.layout.name, frame.format.name)
        if resampler is None or now != shape:
            yield from _samples(resampler.resample(None) if resampler else [])
            shape, resampler = now, AudioResampler(format="s16", layout="mono", rate=rate)
        frame.pts = None
        yield from _samples(resampler.resample(frame))
    yield from _samples(resampler.resample(None) if resampler else [])


def _pcm(source: Source, *, max_s: float, rate: int) -> bytes:
    try:
        return b"".join(resampled(frames(source, max_s=max_s), rate=rate))
    except (FFmpegError, MemoryError, ValueError) as error:
        raise unreadable(source.claims_sound) from error


def _samples(made: list[AudioFrame]) -> Iterator[bytes]:
    for frame in made:
        if frame is not None:  # a resampler with nothing to do is flushed with None
            yield bytes(memoryview(frame.planes[0])[: frame.samples * 2])


def _segment(pcm: bytes, rate: int) -> AudioSegment:
    return AudioSegment(data=pcm, sample_width=2, frame_rate=rate, channels=1)


def _is_plain(source: Source, sound: ProbedSound) -> bool:
    """Whether a recogniser will surely hear what we heard: a common codec, no faults, a header that tells the truth."""
    declared = source.container.duration
    truthful = declared is None or math.isclose(declared / 1e6, sound.duration_s, rel_tol=0.01, abs_tol=0.05)
    faultless = not source.errors and source.changes == 1
    ordinary = sound.codec.startswith(_KEPT.get(sound.container, ())) and sound.channels <= 2  # noqa: PLR2004 - stereo
    return truthful and faultless and ordinary and not source.has_video


def _riff_size(file: BinaryIO) -> int:
    """How long a wav claims to be, padded to whole words."""
    file.seek(4)
    return int.from_bytes(file.read(4), "little") + 8


def _part_ms(max_part_s: float, max_bytes: int) -> int:
    """How long a part may be for both limits; flac is never larger than the PCM and a header."""
    by_bytes = max(max_bytes - _HEADER_BYTES, 0) * 1_000 // (RATE * 2)
    return max(min(int(max_part_s * 1_000), by_bytes), _PAUSE_MS)


def _cut(pcm: bytes, *, max_ms: int) -> list[bytes]:
    """Cut PCM into parts of at most `max_ms`, each in the last pause before its limit."""
    sound = _segment(pcm, RATE)
    cuts, start = [0], 0
    while len(sound) - start > max_ms:
        left = len(sound) - start - min(_LAST_MS, max_ms // 2)
        start += _pause(sound[start : start + min(max_ms, left)])
        cuts.append(start)
    places = [at * RATE // 1_000 * 2 for at in cuts] + [len(pcm)]
    return [pcm[a:b] for a, b in pairwise(places) if b > a]


def _pause(sound: AudioSegment) -> int:
    """Where to cut: the middle of the last pause in the last seconds, in ms; the end if there is none."""
    offset = max(len(sound) - _SEARCH_MS, len(sound) // 2)
    pauses = detect_silence(sound[offset:], _PAUSE_MS, max(sound.dBFS, _SILENCE_DBFS) - _PAUSE_BELOW_DB, 10)
    if not pauses:
        return len(sound)
    begin, end = pauses[-1]
    return offset + int(begin + end) // 2


def _flac(pcm: bytes) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono")
        frame = AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.planes[0].update(pcm)
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()
