"""Real mp3 of any length, cut from one tone that is encoded once."""

import io
import math
from array import array
from functools import cache

import av

SAMPLE_RATE = 24_000
BIT_RATE = 64_000
FRAME_SAMPLES = 576
# Constant bit rate at 24 kHz: every frame has the same size, so a prefix of whole frames is a valid file.
FRAME_BYTES = 72 * BIT_RATE // SAMPLE_RATE
TONE_S = 12


def mp3_of(duration_s: float) -> bytes:
    """At least `duration_s` seconds of a 440 Hz tone: mono, 24 kHz, 64 kbit/s, no tags."""
    tone = _tone()
    size = max(1, math.ceil(duration_s * SAMPLE_RATE / FRAME_SAMPLES)) * FRAME_BYTES
    return (tone * (size // len(tone) + 1))[:size]


@cache
def _tone() -> bytes:
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE, layout="mono", options={"reservoir": "0"})
        stream.bit_rate = BIT_RATE
        samples = array("h", (int(8_000 * math.sin(math.tau * 440 * n / SAMPLE_RATE)) for n in range(FRAME_SAMPLES)))
        for number in range(TONE_S * SAMPLE_RATE // FRAME_SAMPLES):
            frame = av.AudioFrame(format="s16p", layout="mono", samples=FRAME_SAMPLES)
            frame.planes[0].update(samples.tobytes())
            frame.sample_rate, frame.pts = SAMPLE_RATE, number * FRAME_SAMPLES
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    encoded = sink.getvalue()
    return encoded[: len(encoded) // FRAME_BYTES * FRAME_BYTES]
