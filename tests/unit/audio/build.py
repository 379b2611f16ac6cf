"""Sound files made for tests: encoded with PyAV, or put together byte by byte."""

import io
import json
import math
import struct
from array import array
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

FOLDER = Path(__file__).parents[2] / "audio"
MANIFEST: list[dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))["files"]
SPEECH = FOLDER / "en_01_pcm16_16k.wav"
EXTENSIONS = frozenset({"flac", "mp3", "mp4", "mpeg", "mpga", "m4a", "ogg", "wav", "webm"})

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}


def tone(duration_s: float, *, rate: int = 16_000, level: float = 0.3, hertz: float = 440.0) -> bytes:
    """Return mono 16-bit PCM of a sine."""
    peak, step = 32_767 * level, 2 * math.pi * hertz / rate
    return array("h", (int(peak * math.sin(step * i)) for i in range(int(duration_s * rate)))).tobytes()


def quieter(pcm: bytes, *, by_db: float) -> bytes:
    """Return 16-bit PCM turned down."""
    factor = 10 ** (-by_db / 20)
    return array("h", (round(sample * factor) for sample in array("h", pcm))).tobytes()


def wav(
    pcm: bytes, *, rate: int = 16_000, channels: int = 1, bits: int = 16, tag: int = 1, extra: bytes = b""
) -> bytes:
    """Return a wav file with any numbers in its header, true or not; `extra` are chunks before the data."""
    align = channels * bits // 8
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * align & 0xFFFFFFFF, align & 0xFFFF, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + extra + b"data" + struct.pack("<I", len(pcm)) + pcm
    return b"RIFF" + struct.pack("<I", len(body)) + body


def spread(pcm: bytes, channels: int) -> bytes:
    """Return mono 16-bit PCM on every one of `channels`."""
    return b"".join(pcm[i : i + 2] * channels for i in range(0, len(pcm), 2))


def encoded(container: str, codec: str, pcm: bytes, *, rate: int = 16_000, channels: int = 1, repeat: int = 1) -> bytes:
    """Return a file of interleaved 16-bit PCM (`repeat` times the same) in a container and codec."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout=_LAYOUTS[channels], options={"strict": "-2"})
        assert isinstance(stream, AudioStream)
        for i in range(repeat):
            frame = AudioFrame(format="s16", layout=_LAYOUTS[channels], samples=len(pcm) // 2 // channels)
            frame.planes[0].update(pcm)
            frame.sample_rate = rate
            frame.pts = i * frame.samples
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


def box(kind: bytes, *content: bytes) -> bytes:
    """Return an mp4 box."""
    body = b"".join(content)
    return struct.pack(">I", len(body) + 8) + kind + body


def id3(size: int, content: bytes = b"") -> bytes:
    """Return an ID3v2 tag that claims `size` bytes."""
    claimed = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + claimed + content


def picture(data: bytes) -> bytes:
    """Return an ID3v2 tag with a cover picture."""
    body = b"\x00image/png\x00\x03\x00" + data
    frame = b"APIC" + struct.pack(">IH", len(body), 0) + body
    return id3(len(frame), frame)
