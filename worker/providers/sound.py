"""What a speech server sent, taken for what it is: many send another format than they were asked for."""

import re
from array import array
from email.message import Message
from itertools import pairwise

from shared.audio.sniff import claims_sound, sniff
from shared.errors import Unsupported
from worker.providers.base import Speech

PCM_RATE = 24_000  # OpenAI's, and of those that do as OpenAI does
MIN_BYTES = 100  # less is a header and no sound
_STARTS = {
    "mp3": re.compile(rb"ID3|\xff[\xe2\xe3\xf2\xf3\xfa\xfb]"),  # a tag, or the header of a layer III frame
    "wav": re.compile(rb"RIFF....WAVE", re.DOTALL),
    "aac": re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"),
}
_PCM_TYPES = {"audio/pcm", "audio/x-pcm", "audio/raw", "audio/x-raw", "audio/l16", "audio/x-l16", "audio/s16le"}
_RATES = range(4_000, 192_001)
_LOOKED_AT = 40_000  # bytes
_LOUD, _SMOOTH = 8, 0.8  # of noise, each sample is 1.4 times as far from the one before it as from zero


def speech_of(sound: bytes, content_type: str) -> Speech | None:
    """The sound by its own first bytes, or raw samples where it is called so or looks so; None if it is no sound."""
    if len(sound) < MIN_BYTES:
        return None
    if format_ := next((name for name, start in _STARTS.items() if start.match(sound)), None):
        return Speech(sound, format_)
    try:
        mime = sniff(sound)
    except Unsupported:
        return None
    if claims_sound(mime, sound):
        return Speech(sound, mime.partition("/")[2].removeprefix("x-"))
    label = Message()
    label["Content-Type"] = content_type
    if label.get_content_type() in _PCM_TYPES or _looks_like_pcm(sound):
        rate = str(label.get_param("rate", ""))
        told = int(rate) if rate.isascii() and rate.isdecimal() and len(rate) < 7 else 0  # noqa: PLR2004
        return Speech(sound, "pcm", told if told in _RATES else PCM_RATE)
    return None


def _looks_like_pcm(data: bytes) -> bool:
    """Whether 16-bit samples of the middle follow each other as a voice's do, and not as those of noise."""
    start = max(0, len(data) - _LOOKED_AT) // 4 * 2
    samples = array("h", data[start : start + min(_LOOKED_AT, len(data) // 2 * 2)])
    level = sum(map(abs, samples))
    steps = sum(abs(one - other) for one, other in pairwise(samples))
    return level > _LOUD * len(samples) and steps < _SMOOTH * level
