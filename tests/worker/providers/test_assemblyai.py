"""The AssemblyAI client against a scripted server on a real socket."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from tests.fakes.assemblyai import FakeAssemblyAI
from tests.fakes.openai_script import Answer, Endpoint, Script
from tests.worker.providers.failing import KEY, babbler, failure, nobody, until
from worker.providers.assemblyai import AssemblyAIProvider
from worker.providers.base import Audio, Limits, Transcript
from worker.providers.client import Timeouts

SHORT = Timeouts(connect_s=0.2, first_byte_s=0.2, idle_s=0.2, total_s=20.0)
NOTE = Audio(b"\x00\x01voice", "ogg", 1.0)
ARABIC = "مرحبا، كيف حالك اليوم؟ أنا بخير 🙂"
PAUSE_S = 0.02
POSTS: tuple[Endpoint, ...] = ("upload", "transcripts")


@pytest.fixture(scope="module")
def server() -> Iterator[FakeAssemblyAI]:
    with FakeAssemblyAI() as fake:
        yield fake


@pytest.fixture
def script(server: FakeAssemblyAI) -> Script:
    server.script.reset()
    return server.script


@pytest.fixture(scope="module")
async def provider(server: FakeAssemblyAI) -> AsyncIterator[AssemblyAIProvider]:
    opened = AssemblyAIProvider("assemblyai", server.url, KEY, SHORT, PAUSE_S)
    yield opened
    await opened.close()


async def hear(provider: AssemblyAIProvider, *languages: str, audio: Audio = NOTE) -> Transcript:
    return await provider.transcribe(audio, model="universal-3-pro", languages=languages)


async def test_a_voice_note_is_sent_as_it_is_and_heard(provider: AssemblyAIProvider, script: Script) -> None:
    script.hear(NOTE.data, "  Good morning. ", "en_us")
    assert await hear(provider) == Transcript("Good morning.", ("en",))
    (sent,), (ordered,) = script.of("upload"), script.of("transcripts")
    assert (sent.size, sent.sha256) == (len(NOTE.data), hashlib.sha256(NOTE.data).hexdigest())
    assert (ordered.model, ordered.sha256) == ("universal-3-pro", sent.sha256)


@pytest.mark.parametrize(
    ("languages", "wishes"),
    [
        ([], {"language_detection": True}),
        (["ar"], {"language_code": "ar"}),
        (
            ["ar", "en"],
            {"language_detection": True, "language_detection_options": {"expected_languages": ["ar", "en"]}},
        ),
    ],
)
async def test_one_hint_is_a_fact_and_several_are_a_choice(
    provider: AssemblyAIProvider, script: Script, languages: list[str], wishes: dict[str, object]
) -> None:
    await hear(provider, *languages)
    assert script.of("transcripts")[0].wishes == wishes


async def test_a_transcript_is_asked_for_until_it_is_there(provider: AssemblyAIProvider, script: Script) -> None:
    script.add("transcript", Answer(state="queued"), Answer(state="processing"), Answer(text="There."))
    assert (await hear(provider)).text == "There."
    asked_at = [call.at for call in script.of("transcript")]
    assert asked_at[2] - asked_at[1] > asked_at[1] - asked_at[0] > PAUSE_S
    assert (script.count("upload"), script.count("transcripts")) == (1, 1)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_letters_split_between_writes_arrive_whole(
    provider: AssemblyAIProvider, script: Script, size: int
) -> None:
    script.add("transcript", Answer(text=ARABIC, language="ar", split_bytes=size))
    assert await hear(provider) == Transcript(ARABIC, ("ar",))


async def test_long_speech_arrives_whole(provider: AssemblyAIProvider, script: Script) -> None:
    said, sound = "word " * 20_000, bytes(3_000_000)
    script.hear(sound, said)
    assert (await hear(provider, audio=Audio(sound, "wav", 90.0))).text == said.strip()
    (sent,) = script.of("upload")
    assert (sent.size, sent.sha256) == (len(sound), hashlib.sha256(sound).hexdigest())


@pytest.mark.parametrize(
    ("told", "languages"), [("en_us", ("en",)), ("ar", ("ar",)), ("english", ("en",)), ("??", ()), ("5", ())]
)
async def test_the_language_is_read_where_it_is_told(
    provider: AssemblyAIProvider, script: Script, told: str, languages: tuple[str, ...]
) -> None:
    script.add("transcript", Answer(text="x", language=told))
    assert (await hear(provider)).languages == languages


@pytest.mark.parametrize(
    "answer",
    [
        Answer(text=" "),
        Answer(raw=['{"status": "completed", "text": null, "language_code": null}']),
        Answer(state="error", error="language_detection cannot be performed on files with no spoken audio."),
        Answer(state="error", error="Audio duration is too short."),
    ],
    ids=["blank", "null", "no spoken audio", "too short"],
)
async def test_silence_is_an_empty_transcript(provider: AssemblyAIProvider, script: Script, answer: Answer) -> None:
    script.add("transcript", answer)
    assert (await hear(provider)).text == ""


# What fails


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("Transcoding failed. File does not appear to contain audio.", ("upstream_rejected", False)),
        ("Server error, verysecret", ("upstream_error", True)),
        (None, ("upstream_error", True)),
    ],
)
async def test_a_transcript_that_failed_says_whether_to_try_again(
    provider: AssemblyAIProvider, script: Script, reason: str | None, expected: tuple[str, bool]
) -> None:
    script.add("transcript", Answer(state="error", error=reason))
    error = await failure(hear(provider))
    assert (error.code, error.transient) == expected
    assert (script.count("transcripts"), script.count("transcript")) == (1, 1)


FAILURES = {
    "400": (Answer(status=400), ("upstream_rejected", False)),
    "401": (Answer(status=401), ("upstream_unauthorized", False)),
    "404": (Answer(status=404), ("model_not_found", False)),
    "no money": (Answer(status=400, error="Your current account balance is negative."), ("insufficient_quota", False)),
    "429": (Answer(status=429), ("rate_limited", True)),
    "500": (Answer(status=500), ("upstream_error", True)),
    "503": (Answer(status=503, raw=["<html>"]), ("upstream_error", True)),
    "reset": (Answer(drop=True), ("upstream_error", True)),
    "cut": (Answer(cut_after=1), ("upstream_error", True)),
    "hangs": (Answer(hang=True), ("upstream_timeout", True)),
    "stalls": (Answer(stall_after=1), ("upstream_timeout", True)),
    "nothing": (Answer(raw=[]), ("upstream_error", True)),
    "a page": (Answer(raw=["<html>"]), ("upstream_error", True)),
    "a list": (Answer(raw=["[]"]), ("upstream_error", True)),
    "another shape": (Answer(raw=['{"upload_url": "", "id": 5}']), ("upstream_error", True)),
    "not UTF-8": (Answer(raw=["\udcff"]), ("upstream_error", True)),
}


@pytest.mark.parametrize("endpoint", POSTS)
@pytest.mark.parametrize(("answer", "expected"), FAILURES.values(), ids=FAILURES)
async def test_what_costs_is_not_ordered_again(
    provider: AssemblyAIProvider, script: Script, endpoint: Endpoint, answer: Answer, expected: tuple[str, bool]
) -> None:
    script.add(endpoint, answer)
    error = await failure(hear(provider))
    assert (error.code, error.transient) == expected
    assert script.count(endpoint) == 1


@pytest.mark.parametrize(
    ("headers", "seconds"), [({"retry-after": "7"}, 7.0), ({}, None)], ids=["with Retry-After", "without"]
)
async def test_retry_after_is_passed_on(
    provider: AssemblyAIProvider, script: Script, headers: dict[str, str], seconds: float | None
) -> None:
    for endpoint in POSTS:
        script.add(endpoint, Answer(status=429, headers=headers))
        assert (await failure(hear(provider))).retry_after == seconds


LOST = {
    "500": Answer(status=500),
    "404": Answer(status=404),
    "429": Answer(status=429, headers={"retry-after": "0.1"}),
    "reset": Answer(drop=True),
    "cut": Answer(cut_after=1),
    "hangs": Answer(hang=True),
    "stalls": Answer(stall_after=1),
    "a page": Answer(raw=["<html>"]),
    "no status": Answer(raw=['{"text": "Hello"}']),
}


@pytest.mark.parametrize("answer", LOST.values(), ids=LOST)
async def test_an_answer_about_a_paid_transcript_is_asked_for_again(
    provider: AssemblyAIProvider, script: Script, answer: Answer
) -> None:
    script.add("transcript", answer, Answer(text="There."))
    assert (await hear(provider)).text == "There."
    assert (script.count("transcripts"), script.count("transcript")) == (1, 2)


async def test_a_server_that_goes_on_failing_is_a_failure(provider: AssemblyAIProvider, script: Script) -> None:
    script.always("transcript", Answer(status=503))
    error = await failure(hear(provider))
    assert (error.code, error.transient) == ("upstream_error", True)
    assert (script.count("transcripts"), script.count("transcript")) == (1, 4)


async def test_a_refused_poll_is_not_repeated(provider: AssemblyAIProvider, script: Script) -> None:
    script.add("transcript", Answer(status=401))
    assert (await failure(hear(provider))).code == "upstream_unauthorized"
    assert script.count("transcript") == 1


@pytest.mark.parametrize("raw", ['{"status": "completed"}', '{"status": "completed", "text": 5}'])
async def test_a_completed_transcript_without_a_text_is_a_failure(
    provider: AssemblyAIProvider, script: Script, raw: str
) -> None:
    script.add("transcript", Answer(raw=[raw]))
    error = await failure(hear(provider))
    assert (error.code, error.transient) == ("upstream_error", True)


async def test_a_transcript_that_never_comes_times_out(server: FakeAssemblyAI, script: Script) -> None:
    script.always("transcript", Answer(state="processing"))
    provider = AssemblyAIProvider("assemblyai", server.url, KEY, replace(SHORT, total_s=0.4))
    error = await failure(hear(provider))
    assert (error.code, error.transient) == ("upstream_timeout", True)
    await provider.close()


@pytest.mark.parametrize("endpoint", [*POSTS, "transcript"])
async def test_an_endless_drip_is_ended(server: FakeAssemblyAI, script: Script, endpoint: Endpoint) -> None:
    script.add(endpoint, Answer(drip=True))
    provider = AssemblyAIProvider("assemblyai", server.url, KEY, replace(SHORT, total_s=0.4))
    assert (await failure(hear(provider))).code == "upstream_timeout"
    await provider.close()


async def test_cancelling_ends_the_call_and_is_not_a_failure(provider: AssemblyAIProvider, script: Script) -> None:
    script.add("upload", Answer(hold=True))
    task = asyncio.create_task(hear(provider))
    await until(lambda: script.count("upload") == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not script.active["upload"])
    assert script.count("transcripts") == 0


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    with nobody() as url:
        provider = AssemblyAIProvider("assemblyai", url, KEY, SHORT)
        error = await failure(hear(provider))
        assert (error.code, error.transient) == ("upstream_unreachable", True)
        await provider.close()


async def test_a_server_that_does_not_speak_http_is_a_failure() -> None:
    async with babbler() as url:
        provider = AssemblyAIProvider("assemblyai", url, KEY, SHORT)
        assert (await failure(hear(provider))).transient
        await provider.close()


# The rest


async def test_the_key_is_not_logged(
    provider: AssemblyAIProvider, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.add("upload", Answer(status=500))
    with caplog.at_level(logging.DEBUG):
        await failure(hear(provider))
        await hear(provider)
    assert "verysecret" not in caplog.text


async def test_a_key_with_a_line_break_at_its_end_still_works(server: FakeAssemblyAI, script: Script) -> None:
    provider = AssemblyAIProvider("assemblyai", f" {server.url}\n", KEY + "\n", SHORT)
    assert (await hear(provider)).text
    assert script.count("upload") == 1
    await provider.close()


def test_it_takes_more_than_others_do(server: FakeAssemblyAI) -> None:
    limits, usual = AssemblyAIProvider("assemblyai", server.url, KEY, SHORT).limits, Limits()
    assert limits.extensions > usual.extensions
    assert (limits.max_s, limits.max_bytes) == (36_000.0, 2_200_000_000)


@pytest.mark.parametrize(("url", "key"), [("api.assemblyai.com", KEY), (None, "ghij ghij"), (None, KEY + "ключ")])
def test_a_url_or_key_that_cant_be_one_is_refused_at_once(url: str | None, key: str) -> None:
    with pytest.raises(ValueError, match="'assemblyai'") as caught:
        AssemblyAIProvider("assemblyai", url or "https://a", key, SHORT)
    assert "ghij" not in str(caught.value)
