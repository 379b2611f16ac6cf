"""Spoken sentences as mp3: encoded, cleaned, joined and measured."""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.codec import CodecContext

from shared.audio import mp3_frames
from shared.audio.decode import decode_file, resampled
from shared.audio.sniff import HEAD_BYTES, sniff
from shared.errors import AppError, Invalid

BIT_RATE = 64_000
MAX_SPEECH_S = 1_200.0  # of one sentence: 4,096 characters are read in ten minutes at most
# Encoders begin and end each sentence with this much silence of their own.
JOINT_S = 0.066
GAP_S = 0.2
_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_FALLBACK_RATE = 24_000
_SAMPLE_BYTES = 2
_MARKS = (b"RIFF", b"OggS", b"ID3", b"fLaC", b"\x1aE\xdf\xa3")


class Mp3(NamedTuple):
    """An mp3, its seconds of sound, and the SHA-256 of its bytes."""

    data: bytes
    duration_s: float
    sha256: str


def measured(make: Callable[..., bytes], /, *args: Any, **kwargs: Any) -> Mp3:
    """What `make` makes, measured where it is made and not in the event loop; raises `Invalid` (bad_speech)."""
    data = make(*args, **kwargs)
    return Mp3(data, duration(data), hashlib.sha256(data).hexdigest())


def encode(pcm: bytes, *, rate: int) -> bytes:
    """Return mono signed 16-bit PCM as bare mp3 frames of 64 kbit/s; raises `Invalid` (bad_speech) if there is none."""
    return b"".join(encoded_frames(pcm, rate=rate))


def encoded_frames(pcm: bytes, *, rate: int) -> Iterator[bytes]:
    """`encode`, frame by frame."""
    if len(pcm) < _SAMPLE_BYTES or rate <= 0:
        _refuse("There is no sound to encode.")
    pcm = pcm[: len(pcm) // _SAMPLE_BYTES * _SAMPLE_BYTES]
    if rate not in _RATES:
        pcm, rate = b"".join(resampled(_frames(pcm, rate, rate), rate=_FALLBACK_RATE)), _FALLBACK_RATE
    encoder = _encoder(rate)
    for frame in (*_frames(pcm, rate, encoder.frame_size), None):
        for packet in encoder.encode(frame):
            yield bytes(packet)


def to_mp3(data: bytes, *, format: str, rate: int) -> bytes:  # noqa: A002 - the field's word
    """Return as bare mp3 frames what a speech provider sent, whatever it was asked for.

    Clean mp3 is kept bit for bit without tags and Info header. Only pcm must be called so, and its `rate` told.
    Raises `Invalid` (bad_speech).
    """
    clean = mp3_frames.split(data)
    if clean is not None:
        return b"".join(clean.data)
    if format == "pcm" and not _is_other(data):
        return encode(data, rate=rate)
    rate = rate if rate in _RATES else _FALLBACK_RATE
    return encode(_decoded(data, rate=rate), rate=rate)


def join(parts: Sequence[bytes], *, gap_s: float = GAP_S) -> bytes:
    """Return one mp3 of all `parts`, `gap_s` of silence between them, with an Info header to seek by.

    Frames are kept as they are where all parts agree in version, rate and channels; else all are encoded anew.
    Raises `Invalid` (bad_speech).
    """
    runs = [mp3_frames.split(part) for part in parts]
    clean = [run for run in runs if run is not None]
    if not parts:
        _refuse("There is nothing to join.")
    if len(clean) < len(parts) or len({run.header.shape for run in clean}) > 1:
        rate = clean[0].header.sample_rate if clean else _FALLBACK_RATE
        clean = [_run(encode(_decoded(part, rate=rate), rate=rate)) for part in parts]
    return mp3_frames.with_info(mp3_frames.joined((run.data for run in clean), gap_s=gap_s - JOINT_S))


def gap(first: bytes, *, gap_s: float = GAP_S) -> bytes:
    """Return the silence that `join` puts between two sentences, when `first` is the first of all."""
    return b"".join(mp3_frames.silence(first, duration_s=gap_s - JOINT_S))


def without_info(whole: bytes) -> bytes:
    """Return the frames that `join` put behind its Info header."""
    head = mp3_frames.header(whole[:4])
    return whole[head.size :] if head and mp3_frames.is_info(whole[: head.size]) else whole


def is_uniform(mp3: bytes, *, rate: int | None) -> bool:
    """Whether bare frames are mono and, unless it is None, of this sample rate."""
    head = mp3_frames.header(mp3[:4])
    return head is not None and head.channels == 1 and rate in {None, head.sample_rate}


def sample_rate(mp3: bytes) -> int | None:
    """The sample rate of bare frames."""
    head = mp3_frames.header(mp3[:4])
    return head.sample_rate if head else None


def uniform(mp3: bytes, *, rate: int | None) -> bytes:
    """Return bare frames encoded anew as mono, of this sample rate or their own; raises `Invalid` (bad_speech)."""
    rate = rate or sample_rate(mp3) or _FALLBACK_RATE
    return encode(_decoded(mp3, rate=rate), rate=rate)


def duration(mp3: bytes) -> float:
    """Return the seconds of sound in an mp3, counted from its frames; raises `Invalid` (bad_speech)."""
    return _run(mp3).duration_s


def _run(mp3: bytes) -> mp3_frames.Frames:
    run = mp3_frames.split(mp3)
    if run is None:
        _refuse("This is not a clean mp3.")
    return run


def _refuse(message: str) -> NoReturn:
    raise Invalid(message, code="bad_speech")


def _is_other(data: bytes) -> bool:
    """Whether bytes that should be raw PCM are a file, or words of an error, in spite of what was asked."""
    if data.startswith(_MARKS):
        return True
    if b"\0" in data[:HEAD_BYTES]:
        return False
    try:
        sniff(data[:HEAD_BYTES])
    except AppError:
        return True
    return False


def _decoded(data: bytes, *, rate: int) -> bytes:
    try:
        return decode_file(io.BytesIO(data), max_s=MAX_SPEECH_S, rate=rate)
    except AppError as error:
        message = f"The speech can't be used: {error.detail}"
        raise Invalid(message, code="bad_speech") from error


def _encoder(rate: int) -> AudioCodecContext:
    encoder = CodecContext.create("libmp3lame", "w")
    encoder.sample_rate = rate
    encoder.layout = "mono"
    encoder.format = "s16p"
    encoder.bit_rate = BIT_RATE
    encoder.options = {"compression_level": "7"}
    encoder.open()
    return encoder


def _frames(pcm: bytes, rate: int, size: int) -> Iterator[AudioFrame]:
    for at in range(0, len(pcm), size * _SAMPLE_BYTES):
        piece = pcm[at : at + size * _SAMPLE_BYTES]
        frame = AudioFrame(format="s16p", layout="mono", samples=len(piece) // _SAMPLE_BYTES)
        frame.planes[0].update(piece)
        frame.sample_rate = rate
        yield frame
