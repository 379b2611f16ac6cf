"""Untrusted bytes opened with libav: the content alone decides the format, and every cap is held while decoding."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Discard, Disposition

from shared.audio.sniff import HEAD_BYTES, claims_sound, sniff
from shared.errors import AppError, Invalid, Unsupported

MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 4_000, 384_000
MIN_S = 0.1

_FORMATS = "aac,aiff,amr,asf,au,caf,flac,matroska,mov,mp3,ogg,wav"
_OPTIONS = {
    "format_whitelist": _FORMATS,
    "protocol_whitelist": "file",
    "max_streams": "32",
    "max_samples": "1000000",
    "probesize": "2000000",
}
_ID3_HEADER = 10
# Processor time, so that a busy machine refuses no honest file: a start, and one second for this much sound.
_START_S, _SOUND_S_PER_S = 0.5, 150.0
_MAX_ERRORS = 200
_MARGIN_S = 0.1  # codecs pad the last packet of a recording that stopped at the limit


def refuse(code: str, message: str) -> NoReturn:
    """Raise the 422 for an upload that is audio and can't be taken."""
    raise Invalid(message, code=code, errors=[{"field": "file", "message": message}])


class AudioInput:
    """What libav reads: bytes without a file name, behind the ID3 tag, that end when the time is up."""

    def __init__(self, file: BinaryIO, *, start: int, clock: "Clock") -> None:
        self._file = file
        self._start = start
        self._clock = clock
        self._size = file.seek(0, 2)
        file.seek(start)

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes."""
        return b"" if self._clock.is_over() else self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move as a file does, at most to the end; a place before the start is an error for libav."""
        at = offset + (self._start, self._file.tell(), self._size)[whence]
        if at < self._start:
            return -1
        self._file.seek(min(at, self._size))
        return at - self._start

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._file.tell() - self._start


class Clock:
    """Processor time against the sound it has produced."""

    def __init__(self) -> None:
        self._began = time.thread_time()
        self.sound_s = 0.0

    def is_over(self) -> bool:
        """Say whether the file costs more than any honest one."""
        return time.thread_time() - self._began > _START_S + self.sound_s / _SOUND_S_PER_S


@dataclass
class Source:
    """An opened file, and what decoding has found out so far."""

    container: InputContainer
    stream: AudioStream
    mime: str
    claims_sound: bool
    clock: Clock
    sample_rate: int = 0
    channels: int = 0
    frames: int = 0
    errors: int = 0
    changes: int = 0

    @property
    def duration_s(self) -> float:
        """Seconds decoded."""
        return self.clock.sound_s

    @property
    def codec(self) -> str:
        """Libav's canonical name of the codec."""
        return self.stream.codec_context.codec.canonical_name

    @property
    def has_video(self) -> bool:
        """Say whether there is a moving picture; a cover is none."""
        return any(not s.disposition & Disposition.attached_pic for s in self.container.streams.video)


@contextmanager
def opened(file: BinaryIO) -> Iterator[Source]:
    """Open the first audio stream of `file`; raises `Invalid` or `Unsupported`."""
    head = file.read(HEAD_BYTES)
    if not head:
        refuse("empty_audio", "The file is empty.")
    mime = sniff(head)
    claims, clock = claims_sound(mime, head), Clock()
    content = AudioInput(file, start=_after_id3(file, head), clock=clock)
    try:
        container = av.open(content, "r", options=_OPTIONS, metadata_errors="replace")
    except (FFmpegError, MemoryError, ValueError) as error:
        raise unreadable(claims) from error
    with container:
        yield Source(container, _audio_stream(container), mime, claims, clock)


def unreadable(claims: bool) -> AppError:  # noqa: FBT001 - one fact, and it reads well
    """Return 422 for broken audio and 415 for what never was audio."""
    if claims:
        message = "The file is broken: no sound can be read from it."
        return Invalid(message, code="audio_unreadable", errors=[{"field": "file", "message": message}])
    message = "The file is not audio in a format that can be read."
    return Unsupported(message, errors=[{"field": "file", "message": message}])


def _after_id3(file: BinaryIO, head: bytes) -> int:
    """Where sound begins behind ID3v2 tags, which may be larger than what libav looks through."""
    start, size = 0, file.seek(0, 2)
    while head.startswith(b"ID3") and len(head) >= _ID3_HEADER:
        length = (head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | head[9] & 127
        start += _ID3_HEADER + length + (_ID3_HEADER if head[5] & 0x10 else 0)
        if start >= size:
            refuse("audio_unreadable", "The file's ID3 tag claims all of it: no sound is left.")
        file.seek(start)
        head = file.read(_ID3_HEADER)
    return start


def _audio_stream(container: InputContainer) -> AudioStream:
    streams = container.streams.audio
    if not streams:
        message = "The file has no audio track."
        raise Unsupported(message, errors=[{"field": "file", "message": message}])
    stream = next((s for s in streams if s.codec_context is not None), None)
    if stream is None:
        message = "The file's audio codec is not supported."
        raise Unsupported(message, errors=[{"field": "file", "message": message}])
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_samples": _OPTIONS["max_samples"]}
    _check(stream.codec_context.sample_rate, stream.codec_context.channels)
    return stream


def _check(rate: int, channels: int) -> None:
    if channels > MAX_CHANNELS:
        refuse("audio_channels", f"The file has {channels} channels; at most {MAX_CHANNELS} are taken.")
    if rate and not MIN_RATE <= rate <= MAX_RATE:
        refuse("audio_rate", f"The sample rate is {rate} Hz; {MIN_RATE} to {MAX_RATE} Hz are taken.")


def frames(source: Source, *, max_s: float) -> Iterator[AudioFrame]:
    """Yield decoded frames, passing over bad packets; raises `Invalid` at a cap and when no sound came.

    `source` holds the measured duration, rate and channels when this ends.
    """
    for packet in _packets(source):
        try:
            decoded = packet.decode()
        except (FFmpegError, MemoryError):
            source.errors += 1
            continue
        for frame in decoded:
            if isinstance(frame, AudioFrame) and frame.samples and frame.sample_rate:
                _count(source, frame, max_s)
                yield frame
        if source.clock.is_over():
            refuse("audio_unreadable", "The file takes too long to decode.")
    _conclude(source)


def _packets(source: Source) -> "Iterator[Packet[AudioStream]]":
    """Demux to the end, going on behind errors in the container."""
    while source.errors <= _MAX_ERRORS and not source.clock.is_over():
        try:
            yield from source.container.demux(source.stream)
        except (FFmpegError, MemoryError):
            source.errors += 1
        else:
            return


def _count(source: Source, frame: AudioFrame, max_s: float) -> None:
    rate, channels = frame.sample_rate, frame.layout.nb_channels
    if (rate, channels) != (source.sample_rate, source.channels):
        _check(rate, channels)
        source.sample_rate, source.channels = rate, channels
        source.changes += 1
    source.frames += 1
    source.clock.sound_s += frame.samples / rate
    if source.clock.sound_s > max_s + _MARGIN_S:
        refuse("audio_too_long", f"The audio is longer than {max_s:g} seconds.")


def _conclude(source: Source) -> None:
    if not source.frames:
        if source.errors or not source.claims_sound:
            raise unreadable(source.claims_sound)
        refuse("empty_audio", "The file holds no sound.")
    if source.errors > source.frames:
        raise unreadable(source.claims_sound)
    if source.duration_s < MIN_S:
        refuse("audio_too_short", f"The audio is shorter than {MIN_S:g} seconds.")
