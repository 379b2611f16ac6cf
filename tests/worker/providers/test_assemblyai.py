"""The AssemblyAI client against a scripted server on a real socket."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from tests.fakes.assemblyai import FakeAssemblyAI
from tests.fakes.openai_script import Answer, Endpoint, Script
from tests.worker.providers.failing import KEY, failure
from worker.providers.assemblyai import AssemblyAIProvider
from worker.providers.base import Audio, InputLimits, Transcript
from worker.providers.client import Timeouts

SHORT = Timeouts(connect_s=0.2, first_byte_s=0.2, idle_s=0.2, total_s=20.0)
NOTE = Audio(b"\x00\x01voice", "ogg", 1.0)
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


async def test_a_long_note_arrives_whole(provider: AssemblyAIProvider, script: Script) -> None:
    sound = bytes(3_000_000)
    await hear(provider, audio=Audio(sound, "wav", 90.0))
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


@pytest.mark.parametrize("endpoint", POSTS)
async def test_an_account_without_money_is_told_as_such(
    provider: AssemblyAIProvider, script: Script, endpoint: Endpoint
) -> None:
    script.add(endpoint, Answer(status=400, error="Your current account balance is negative."))
    error = await failure(hear(provider))
    assert (error.code, error.transient) == ("insufficient_quota", False)


@pytest.mark.parametrize("endpoint", POSTS)
async def test_an_answer_without_what_was_asked_for_is_a_failure(
    provider: AssemblyAIProvider, script: Script, endpoint: Endpoint
) -> None:
    script.add(endpoint, Answer(raw=['{"upload_url": "", "id": 5}']))
    error = await failure(hear(provider))
    assert (error.code, error.transient) == ("upstream_error", True)


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


async def test_an_endless_drip_is_ended(server: FakeAssemblyAI, script: Script) -> None:
    script.add("transcript", Answer(drip=True))
    provider = AssemblyAIProvider("assemblyai", server.url, KEY, replace(SHORT, total_s=0.4))
    assert (await failure(hear(provider))).code == "upstream_timeout"
    await provider.close()


# The rest


async def test_a_key_with_a_line_break_at_its_end_still_works(server: FakeAssemblyAI, script: Script) -> None:
    provider = AssemblyAIProvider("assemblyai", f" {server.url}\n", KEY + "\n", SHORT)
    assert (await hear(provider)).text
    assert script.count("upload") == 1
    await provider.close()


def test_it_takes_more_than_others_do(server: FakeAssemblyAI) -> None:
    limits, usual = AssemblyAIProvider("assemblyai", server.url, KEY, SHORT).limits, InputLimits()
    assert limits.extensions > usual.extensions
    assert (limits.max_s, limits.max_bytes) == (36_000.0, 2_200_000_000)


@pytest.mark.parametrize(("url", "key"), [("api.assemblyai.com", KEY), (None, "ghij ghij"), (None, KEY + "ключ")])
def test_a_url_or_key_that_cant_be_one_is_refused_at_once(url: str | None, key: str) -> None:
    with pytest.raises(ValueError, match="'assemblyai'") as caught:
        AssemblyAIProvider("assemblyai", url or "https://a", key, SHORT)
    assert "ghij" not in str(caught.value)
