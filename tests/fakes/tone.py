"""A tone of any length, as raw samples and as a wave file."""

import io
import math
import wave
from array import array
from functools import cache

RATE = 24_000


def pcm_of(duration_s: float) -> bytes:
    """440 Hz: mono, 16 bit, 24 kHz."""
    return (_second() * math.ceil(duration_s))[: int(duration_s * RATE) * 2]


def wav_of(duration_s: float) -> bytes:
    """The same as a file."""
    with io.BytesIO() as file:
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(RATE)
            out.writeframes(pcm_of(duration_s))
        return file.getvalue()


@cache
def _second() -> bytes:
    return array("h", (int(8_000 * math.sin(math.tau * 440 * n / RATE)) for n in range(RATE))).tobytes()
