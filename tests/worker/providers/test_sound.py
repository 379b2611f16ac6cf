"""What speech servers send for the format that they were asked for, as a worker makes an mp3 of it."""

import io
import random
from array import array
from collections.abc import AsyncIterator
from typing import Any

import av
import pytest

from shared.audio import mp3
from shared.audio.decode import decode
from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.worker.providers.failing import failure
from worker.providers.client import Timeouts
from worker.providers.openai import OpenAIProvider
from worker.providers.sound import speech_of

FILES = {
    "en_01_pcm16_16k.wav": "wav",
    "en_02_mulaw_8k.wav": "wav",
    "bad_07_lying_sizes.wav": "wav",
    "en_03_opus.ogg": "ogg",
    "en_04_opus_stereo.opus": "ogg",
    "en_06_opus.webm": "webm",
    "en_07_opus_live.webm": "webm",
    "en_08_aac_faststart.m4a": "m4a",
    "en_10_alac.m4a": "m4a",
    "en_11_cbr_id3.mp3": "mp3",
    "ar_11_vbr.mp3": "mp3",
    "en_13.flac": "flac",
    "en_14_nb.amr": "amr",
    "en_16.aiff": "aiff",
    "en_17.wma": "ms-asf",
    "en_18_alac.caf": "octet-stream",
}
TYPES = ["audio/mpeg", "application/octet-stream", "application/json", "", "nonsense"]


@pytest.fixture
async def server() -> AsyncIterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
async def provider(server: FakeOpenAI) -> AsyncIterator[OpenAIProvider]:
    opened = OpenAIProvider("openai", server.url, "key", Timeouts())
    yield opened
    await opened.close()


def answer(data: bytes, content_type: str) -> Answer:
    return Answer(raw=[data.decode("utf-8", "surrogateescape")], content_type=content_type)


def samples(rate: int = 24_000) -> bytes:
    return decode(str(SAMPLES / "en_01_pcm16_16k.wav"), max_s=60.0, rate=rate)


async def seconds(provider: OpenAIProvider) -> float:
    """How long a sentence is when it is ready to be joined."""
    speech = await provider.speak("Hello.", model="m", language="en", voice=None)
    return mp3.duration(mp3.to_mp3(speech.data, format=speech.format, rate=speech.sample_rate))


def length_of(name: str) -> float:
    return len(decode(str(SAMPLES / name), max_s=60.0, rate=16_000)) / 32_000


@pytest.mark.parametrize("name", FILES)
async def test_a_file_of_another_kind_is_taken_for_what_it_is(
    server: FakeOpenAI, provider: OpenAIProvider, name: str
) -> None:
    data = (SAMPLES / name).read_bytes()
    for content_type in TYPES:
        server.script.add("speech", answer(data, content_type))
        assert await seconds(provider) == pytest.approx(length_of(name), abs=0.15)
    speech = speech_of(data, "audio/mpeg")
    assert speech is not None
    assert speech.format.endswith(FILES[name]) or FILES[name] == "m4a"


def file_of(container: str, codec: str) -> bytes:
    """One second of speech."""
    sink = io.BytesIO()
    with av.open(sink, "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=24_000, layout="mono")
        frame = av.AudioFrame(format="s16", layout="mono", samples=24_000)
        frame.planes[0].update(samples()[:48_000])
        frame.sample_rate = 24_000
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=24_000)
        for piece in (*resampler.resample(frame), None):
            out.mux(stream.encode(piece))
    return sink.getvalue()


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("wav", "pcm_u8"),
        ("wav", "pcm_s24le"),
        ("wav", "pcm_s32le"),
        ("wav", "pcm_f32le"),
        ("wav", "pcm_alaw"),
        ("adts", "aac"),
        ("au", "pcm_s16be"),
    ],
)
async def test_rarer_files_too(server: FakeOpenAI, provider: OpenAIProvider, container: str, codec: str) -> None:
    server.script.add("speech", answer(file_of(container, codec), "audio/mpeg"))
    assert await seconds(provider) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize(
    ("content_type", "rate"),
    [
        ("audio/pcm", 24_000),
        ("audio/pcm;rate=16000", 16_000),
        ("audio/L16; rate=8000; channels=1", 8_000),
        ("audio/L16; rate=999999999999", 24_000),
        ("audio/pcm; rate=fast", 24_000),
        ("audio/pcm; rate=-1; rate=;;", 24_000),
        ("audio/mpeg", 24_000),
        ("application/octet-stream", 24_000),
        ("", 24_000),
    ],
)
async def test_samples_without_a_header_are_sound_whether_they_are_called_so_or_not(
    server: FakeOpenAI, provider: OpenAIProvider, content_type: str, rate: int
) -> None:
    data = samples(rate)
    server.script.add("speech", answer(data, content_type))
    assert await seconds(provider) == pytest.approx(len(data) / 2 / rate, abs=0.3)  # a frame lasts long at 8 kHz


NO_SOUND = {
    "a page": (b"<!doctype html><html><body>" + b"verysecret " * 50, "audio/mpeg"),
    "a page called a page": (b"<html><body>" + b"verysecret " * 50, "text/html"),
    "an error": (b'{"error": {"message": "' + b"verysecret " * 50 + b'"}}', "application/json"),
    "an error called sound": (b'{"detail": "' + b"verysecret " * 50 + b'"}', "audio/mpeg"),
    "words": (b"Internal server error, verysecret. " * 50, "audio/wav"),
    "words called samples": (b"Internal server error, verysecret. " * 50, "audio/pcm"),
    "Arabic words": ("خطأ في الخادم ".encode() * 50, "audio/pcm"),
    "a picture": ((SAMPLES / "bad_05_png.mp3").read_bytes(), "audio/mpeg"),
    "noise": (random.Random(7).randbytes(20_000), "audio/mpeg"),
    "zeros": (bytes(20_000), "audio/mpeg"),
    "a few bytes": (b"\x00\x01" * 20, "audio/pcm"),
    "nothing": (b"", "audio/mpeg"),
    "garbage": ((SAMPLES / "bad_04_garbage.mp3").read_bytes(), "audio/mpeg"),
}


@pytest.mark.parametrize("name", NO_SOUND)
async def test_what_is_no_sound_is_one_clear_failure(server: FakeOpenAI, provider: OpenAIProvider, name: str) -> None:
    server.script.add("speech", answer(*NO_SOUND[name]))
    error = await failure(provider.speak("Hello.", model="m", language="en", voice=None))
    assert (error.code, error.transient) == ("upstream_error", True)


def test_quiet_speech_is_told_from_noise() -> None:
    quiet = array("h", (sample // 50 for sample in array("h", samples()))).tobytes()
    assert speech_of(quiet, "") is not None
    noise = random.Random(1)
    loud = array("h", (noise.randrange(-9_000, 9_000) for _ in range(24_000))).tobytes()
    assert speech_of(loud, "") is None
