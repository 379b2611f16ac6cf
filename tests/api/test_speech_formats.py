"""A reply whose sentences come in as many formats as there are: one mp3 of all of them, or one clear failure."""

import pytest

from shared.audio import mp3, mp3_frames
from shared.audio.decode import decode
from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import Live

FILES = (
    "en_11_cbr_id3.mp3",
    "en_01_pcm16_16k.wav",
    "en_04_opus_stereo.opus",
    "en_13.flac",
    "en_08_aac_faststart.m4a",
    "en_02_mulaw_8k.wav",
)
NAMES = ("Amsterdam", "Brussels", "Copenhagen", "Dublin", "Edinburgh", "Florence")


def sent(data: bytes, when: str | None = None) -> Answer:
    return Answer(raw=[data.decode("utf-8", "surrogateescape")], content_type="audio/mpeg", when=when)


@pytest.mark.parametrize("first", range(len(FILES)))
async def test_a_reply_of_mixed_formats_is_one_mp3(parley: Live, fake: FakeOpenAI, first: int) -> None:
    files = (*FILES[first:], *FILES[:first])
    fake.script.add("chat", Answer(text=" ".join(f"The train to {name} leaves at seven today." for name in NAMES)))
    for name, file in zip(NAMES, files, strict=True):
        fake.script.add("speech", sent((SAMPLES / file).read_bytes(), when=name))
    job = await parley.done(await parley.text((await parley.session())["id"], reply_audio=True))
    assert job["status"] == "succeeded", job["error"]
    sound = (await parley.http.get(job["links"]["audio"])).content
    run = mp3_frames.split(sound)
    assert run is not None
    assert run.header.channels == 1
    lasted = sum(len(decode(str(SAMPLES / file), max_s=60.0, rate=16_000)) for file in files) / 32_000
    assert mp3.duration(sound) == pytest.approx(lasted + (len(files) - 1) * mp3.GAP_S, abs=1.0)


@pytest.mark.parametrize("body", [b"<!doctype html><p>verysecret</p>" * 20, b'{"error": "verysecret"}' * 20])
async def test_a_page_or_an_object_is_no_sound(parley: Live, fake: FakeOpenAI, body: bytes) -> None:
    fake.script.always("speech", sent(body))
    job = await parley.done(await parley.text((await parley.session())["id"], reply_audio=True))
    assert (job["status"], job["error"]["code"]) == ("failed", "upstream_error")
    assert "verysecret" not in str(job)
