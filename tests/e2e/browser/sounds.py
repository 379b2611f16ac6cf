"""Sounds for a browser's microphone, and what is to be heard in those that come out."""

import io
import math
import wave
from array import array
from pathlib import Path

import av

SPEECH_S = 1.6
PAUSE_S = 2.0  # longer than the silence that ends a recording


def with_pause(source: Path, target: Path) -> Path:
    """A WAV file that begins as the source does, and ends with silence."""
    with wave.open(str(source)) as speech, wave.open(str(target), "wb") as out:
        out.setparams(speech.getparams())
        out.writeframes(speech.readframes(int(SPEECH_S * speech.getframerate())))
        silent = bytes(int(PAUSE_S * speech.getframerate()) * speech.getsampwidth() * speech.getnchannels())
        out.writeframes(silent)
    return target


def heard(data: bytes) -> tuple[float, float]:
    """Decode a sound of any kind: its length in seconds, and its loudest tenth of a second, of full scale 1."""
    rate = 16_000
    samples = array("h")
    with av.open(io.BytesIO(data), "r") as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                samples.frombytes(bytes(part.planes[0])[: part.samples * 2])
    step = rate // 10
    parts = [samples[start : start + step] for start in range(0, len(samples), step)]
    loudest = max((math.sqrt(sum(s * s for s in part) / len(part)) for part in parts), default=0.0)
    return len(samples) / rate, loudest / 32_768
