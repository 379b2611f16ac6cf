"""Speech over the Realtime API, against a scripted server on real sockets."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

import pytest
from structlog.testing import capture_logs

from shared.provider_presets import Preset, preset_of
from tests.fakes.openai_script import Answer, Call, Script
from tests.fakes.openai_server import FakeOpenAI
from tests.fakes.realtime_replies import pcm_of
from tests.worker.providers.failing import KEY, failure, until
from worker.providers.base import Speech
from worker.providers.client import Timeouts
from worker.providers.realtime import RealtimeProvider
from worker.providers.realtime_pool import Keep
from worker.providers.received import sound_limit

MODEL = "gpt-realtime-2.1-mini"
PATIENT = Timeouts(connect_s=5.0, first_byte_s=5.0, idle_s=5.0, total_s=20.0)
HASTY = Timeouts(connect_s=0.3, first_byte_s=0.3, idle_s=0.3, total_s=5.0)
SENTENCE = "Hello there."
PAUSE_S = 0.15

Opener = Callable[..., RealtimeProvider]


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
def script(server: FakeOpenAI) -> Script:
    server.script.reset()
    return server.script


@pytest.fixture
async def opened(server: FakeOpenAI, script: Script) -> AsyncIterator[Opener]:
    """Makes providers, and sees to it that nothing of theirs is left."""
    before = others()
    providers = []

    def make(
        timeouts: Timeouts = PATIENT, *, keep: Keep | None = None, preset: Preset | None = None, url: str | None = None
    ) -> RealtimeProvider:
        providers.append(RealtimeProvider("openai", url or server.url, KEY, timeouts, preset or Preset(), keep))
        return providers[-1]

    yield make
    for provider in providers:
        await provider.close()
    assert others() <= before
    await until(lambda: not script.active["realtime_connect"])


@pytest.fixture
def provider(opened: Opener) -> RealtimeProvider:
    return opened()


@pytest.fixture
def hasty(opened: Opener) -> RealtimeProvider:
    return opened(HASTY)


async def speak(provider: RealtimeProvider, text: str = SENTENCE, voice: str | None = None) -> Speech:
    return await provider.speak(text, model=MODEL, language="en", voice=voice)


def others() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def differing(logs: Sequence[Mapping[str, object]]) -> list[tuple[object, object]]:
    return [(entry["event"], entry["difference"]) for entry in logs]


# What is asked and what comes


async def test_a_sentence_comes_as_pcm_of_its_length(provider: RealtimeProvider, script: Script) -> None:
    speech = await speak(provider)
    assert (speech.format, speech.sample_rate, speech.data) == ("pcm", 24_000, pcm_of(SENTENCE))
    (asked,) = script.of("realtime")
    assert (asked.model, asked.text, asked.voice, asked.finished) == (MODEL, SENTENCE, "alloy", True)


async def test_the_model_is_told_to_read_and_for_how_long(provider: RealtimeProvider, script: Script) -> None:
    for text, language in (("Hi.", "en"), ("مرحبا", "ar"), ("x" * 4_096, "en")):
        await provider.speak(text, model=MODEL, language=language, voice=None)
    asked = script.of("realtime")
    told = [call.messages[0]["content"] for call in asked]
    assert all("word for word" in one and "question" in one for one in told)
    assert ["ISO 639-1: ar" in one for one in told] == [False, True, False]
    short, _, long = (call.max_tokens for call in asked)
    assert short is not None
    assert 100 < short < 1_000
    assert long is None


async def test_sound_split_anywhere_arrives_whole(provider: RealtimeProvider, script: Script) -> None:
    script.add("realtime", Answer(split_bytes=333))
    assert (await speak(provider)).data == pcm_of(SENTENCE)


async def test_half_a_sample_at_the_end_is_left_out(provider: RealtimeProvider, script: Script) -> None:
    script.add("realtime", answer_of(delta=base64.b64encode(b"abcde").decode()))
    assert (await speak(provider)).data == b"abcd"


@pytest.mark.parametrize(("name", "header"), [("openai", f"authorization: Bearer {KEY}"), ("azure", f"api-key: {KEY}")])
async def test_the_handshake_asks_for_the_model_with_the_key(opened: Opener, name: str, header: str) -> None:
    heads = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/openai/v1/"
        provider = opened(url=url, preset=preset_of(name))
        attempt = provider.speak("Hi.", model="a b/c&d", language="en", voice=None)
        assert (await failure(attempt)).code == "upstream_unauthorized"
    assert heads[0].startswith("GET /openai/v1/realtime?model=a+b/c%26d HTTP/1.1\r\n")
    lines = [line.lower() for line in heads[0].split("\r\n")]
    assert header.lower() in lines
    assert sum(KEY in line for line in heads[0].split("\r\n")) == 1
    assert "openai-beta" not in heads[0].lower()


async def test_the_proxy_of_the_environment_is_used(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    heads = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as listening:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
        assert (await failure(speak(opened(url="http://models.example/v1")))).transient
        monkeypatch.setenv("no_proxy", "models.invalid")
        assert (await failure(speak(opened(url="http://models.invalid/v1")))).code == "upstream_unreachable"
    assert [head.split("\r\n")[0] for head in heads] == [
        f"GET http://models.example/v1/realtime?model={MODEL} HTTP/1.1"
    ]


# Connections


async def test_sentences_share_a_connection(provider: RealtimeProvider, script: Script) -> None:
    for number in range(5):
        await speak(provider, f"Sentence {number}.")
    assert (script.count("realtime"), script.count("realtime_connect")) == (5, 1)


async def test_sentences_at_once_have_connections_of_their_own(provider: RealtimeProvider, script: Script) -> None:
    script.always("realtime", Answer(hold=True))
    texts = [f"This is number {'x' * number}." for number in range(4)]
    speaking = [asyncio.create_task(speak(provider, text)) for text in texts]
    await until(lambda: script.active["realtime"] == len(texts))
    script.always("realtime", None)
    script.release()
    assert [speech.data for speech in await asyncio.gather(*speaking)] == [pcm_of(text) for text in texts]
    await asyncio.gather(*(speak(provider, text) for text in texts))
    assert script.count("realtime_connect") == len(texts)


async def test_each_voice_and_each_model_has_its_own(provider: RealtimeProvider, script: Script) -> None:
    for _ in range(2):
        for voice in ("marin", "cedar"):
            await speak(provider, voice=voice)
    await provider.speak(SENTENCE, model="gpt-realtime", language="en", voice="marin")
    assert [call.voice for call in script.of("realtime")] == ["marin", "cedar", "marin", "cedar", "marin"]
    assert [call.model for call in script.of("realtime_connect")] == [MODEL, MODEL, "gpt-realtime"]


LOST = {
    "closed while nobody spoke": [Answer(hang_up=True)],
    "closed as it is asked": [Answer(), Answer(cut_after=0)],
    "reset as it is asked": [Answer(), Answer(drop=True)],
    "expired as it is asked": [Answer(), Answer(error={"code": "session_expired"})],
    "closed at its first sentence": [Answer(cut_after=0)],
}


@pytest.mark.parametrize("answers", LOST.values(), ids=LOST)
async def test_a_lost_connection_is_replaced(provider: RealtimeProvider, script: Script, answers: list[Answer]) -> None:
    script.add("realtime", *answers)
    for _ in range(2):
        assert (await speak(provider)).data == pcm_of(SENTENCE)
    assert script.count("realtime_connect") == 2


async def test_an_idle_connection_that_was_lost_is_not_even_tried(provider: RealtimeProvider, script: Script) -> None:
    script.add("realtime", Answer(hang_up=True))
    await speak(provider)
    await until(lambda: not script.active["realtime_connect"])
    await speak(provider)
    assert (script.count("realtime"), script.count("realtime_connect")) == (2, 2)


async def test_of_two_idle_connections_the_one_that_is_left_is_used(provider: RealtimeProvider, script: Script) -> None:
    script.add("realtime", Answer(delay_s=0.1), Answer(delay_s=0.2, hang_up=True))
    await asyncio.gather(speak(provider), speak(provider))
    await until(lambda: script.active["realtime_connect"] == 1)
    await asyncio.sleep(0.05)
    await speak(provider)
    assert (script.count("realtime"), script.count("realtime_connect")) == (3, 2)


async def test_a_connection_that_went_dead_is_noticed_by_its_pings(opened: Opener, script: Script) -> None:
    provider = opened(keep=Keep(heartbeat_s=0.1))
    await speak(provider)
    script.add("realtime", Answer(deaf=True, delay_s=0.5))
    async with asyncio.timeout(PATIENT.first_byte_s / 2):
        assert (await speak(provider)).data == pcm_of(SENTENCE)
    assert script.count("realtime_connect") == 2


async def test_pings_are_answered_while_nobody_speaks(opened: Opener, script: Script) -> None:
    provider = opened(keep=Keep(heartbeat_s=0.05))
    await speak(provider)
    await asyncio.sleep(0.3)
    await speak(provider)
    assert script.count("realtime_connect") == 1


async def test_a_connection_is_replaced_only_once(provider: RealtimeProvider, script: Script) -> None:
    script.always("realtime", Answer(drop=True))
    error = await failure(speak(provider))
    assert (error.code, error.transient) == ("upstream_error", True)
    assert (script.count("realtime"), script.count("realtime_connect")) == (2, 2)


async def test_what_breaks_in_the_middle_is_a_failure_and_the_next_works(
    provider: RealtimeProvider, script: Script
) -> None:
    for after in (1, 2):
        script.add("realtime", Answer(cut_after=after))
        error = await failure(speak(provider))
        assert (error.code, error.transient) == ("upstream_error", True)
    assert (await speak(provider)).data == pcm_of(SENTENCE)
    assert (script.count("realtime"), script.count("realtime_connect")) == (3, 3)


@pytest.mark.parametrize("keep", [Keep(idle_s=PAUSE_S), Keep(oldest_s=PAUSE_S)])
async def test_a_connection_that_is_idle_or_old_is_closed(opened: Opener, script: Script, keep: Keep) -> None:
    provider = opened(keep=keep)
    await speak(provider)
    assert script.active["realtime_connect"] == 1
    await until(lambda: not script.active["realtime_connect"])
    await speak(provider)
    assert script.count("realtime_connect") == 2


async def test_using_a_connection_does_not_make_it_younger(opened: Opener, script: Script) -> None:
    provider = opened(keep=Keep(oldest_s=PAUSE_S))
    while script.count("realtime_connect") < 2:
        await speak(provider)
    script.add("realtime", Answer(delay_s=PAUSE_S * 1.5))
    await speak(provider)
    await until(lambda: not script.active["realtime_connect"])


async def test_only_so_many_are_kept(opened: Opener, script: Script) -> None:
    provider = opened(keep=Keep(most=2))
    for voice in ("ash", "coral", "marin"):
        await speak(provider, voice=voice)
    await until(lambda: script.active["realtime_connect"] == 2)
    for voice in ("marin", "coral"):
        await speak(provider, voice=voice)
    assert script.count("realtime_connect") == 3


async def test_cancelling_ends_the_connection_and_is_not_a_failure(provider: RealtimeProvider, script: Script) -> None:
    await speak(provider)
    script.add("realtime", Answer(stall_after=3), Answer())
    speaking = asyncio.create_task(speak(provider))
    await until(lambda: script.count("realtime") == 2)
    speaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await speaking
    await until(lambda: not script.active["realtime_connect"])
    assert (await speak(provider, "Another one.")).data == pcm_of("Another one.")


@pytest.mark.parametrize("answer", [Answer(hang=True), Answer(stall_after=0), Answer(stall_after=1)])
async def test_cancelling_a_handshake_leaves_nothing(
    provider: RealtimeProvider, script: Script, answer: Answer
) -> None:
    script.add("realtime_connect", answer)
    speaking = asyncio.create_task(speak(provider))
    await until(lambda: script.count("realtime_connect") == 1)
    await asyncio.sleep(0.05)
    speaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await speaking
    await until(lambda: not script.active["realtime_connect"])


async def test_closing_ends_what_is_idle_and_what_speaks(provider: RealtimeProvider, script: Script) -> None:
    await speak(provider, voice="ash")
    script.add("realtime", Answer(stall_after=2))
    speaking = asyncio.create_task(speak(provider))
    await until(lambda: script.active["realtime"] == 1)
    await asyncio.sleep(0.05)
    await provider.close()
    assert (await failure(speaking)).transient
    await until(lambda: not script.active["realtime_connect"])


# Reading word for word


async def test_another_reading_is_asked_for_again(provider: RealtimeProvider, script: Script) -> None:
    script.add("realtime", Answer(reading="Hello Claire."))
    with capture_logs() as logs:
        assert (await speak(provider)).data == pcm_of(SENTENCE)
    assert differing(logs) == [("speech.differs", 0.5)]
    assert {logs[0][name] for name in ("log_level", "provider", "model")} == {"warning", "openai", MODEL}
    assert "Claire" not in str(logs)
    assert "Hello" not in str(logs)
    assert script.count("realtime") == 2


@pytest.mark.parametrize(
    ("readings", "best"), [(["Good morning.", "Hello Claire."], 1), (["Hello Claire.", "Good morning."], 0)]
)
async def test_of_two_other_readings_the_closer_is_used(
    provider: RealtimeProvider, script: Script, readings: list[str], best: int
) -> None:
    sounds = [base64.b64encode(sound).decode() for sound in (b"first.", b"second")]
    script.add("realtime", *(answer_of(delta=delta, said=said) for delta, said in zip(sounds, readings, strict=True)))
    with capture_logs() as logs:
        assert (await speak(provider)).data == (b"first.", b"second")[best]
    assert differing(logs) == [("speech.differs", 1.0 - 0.5 * (best == 0)), ("speech.kept", 0.5)]
    assert script.count("realtime") == 2


async def test_another_reading_is_kept_when_it_can_be_had_no_better(provider: RealtimeProvider, script: Script) -> None:
    script.add("realtime", Answer(reading="Hello Claire."), Answer(finish="failed"))
    with capture_logs() as logs:
        assert (await speak(provider)).data == pcm_of(SENTENCE)
    assert differing(logs) == [("speech.differs", 0.5), ("speech.kept", 0.5)]


@pytest.mark.parametrize("reading", ["", "HELLO, there", "hello there!"])
async def test_what_is_the_same_or_unknown_is_used_at_once(
    provider: RealtimeProvider, script: Script, reading: str
) -> None:
    script.add("realtime", Answer(reading=reading))
    with capture_logs() as logs:
        await speak(provider)
    assert (script.count("realtime"), logs) == (1, [])


# Failures


def raw(type_: str, **more: object) -> str:
    return json.dumps({"type": type_, "response_id": "RESPONSE", "item_id": "item", **more})


CREATED = raw("response.created", response={"id": "RESPONSE"})
DONE = raw("response.done", response={"id": "RESPONSE", "status": "completed"})


def answer_of(*, delta: object = "AAAA", said: str | None = None) -> Answer:
    spoken = [raw("response.output_audio_transcript.done", transcript=said)] if said else []
    return Answer(raw=[CREATED, raw("response.output_audio.delta", delta=delta), *spoken, DONE])


ERRORS = [
    ({"code": "insufficient_quota"}, ("insufficient_quota", False)),
    ({"type": "insufficient_quota"}, ("insufficient_quota", False)),
    ({"code": "rate_limit_exceeded"}, ("rate_limited", True)),
    ({"code": "model_not_found"}, ("model_not_found", False)),
    ({"code": "invalid_api_key"}, ("upstream_unauthorized", False)),
    ({"code": "content_policy_violation"}, ("upstream_rejected", False)),
    ({"code": "invalid_value"}, ("upstream_rejected", False)),
    ({"type": "authentication_error"}, ("upstream_unauthorized", False)),
    ({"type": "server_error"}, ("upstream_error", True)),
    ({"type": ["server_error"], "code": {}}, ("upstream_error", True)),
]


@pytest.mark.parametrize("where", ["realtime_connect", "realtime"])
@pytest.mark.parametrize(("told", "expected"), ERRORS)
async def test_an_error_is_told_by_its_name(
    provider: RealtimeProvider, script: Script, where: str, told: dict[str, object], expected: tuple[str, bool]
) -> None:
    script.add("realtime_connect" if where == "realtime_connect" else "realtime", Answer(error=told))
    error = await failure(speak(provider))
    assert (error.code, error.transient) == expected
    assert await speak(provider)


@pytest.mark.parametrize(("told", "expected"), ERRORS[:5])
async def test_a_failed_response_is_told_by_its_error_and_spoils_no_connection(
    provider: RealtimeProvider, script: Script, told: dict[str, object], expected: tuple[str, bool]
) -> None:
    script.add("realtime", Answer(finish="failed", error=told))
    error = await failure(speak(provider))
    assert (error.code, error.transient) == expected
    assert await speak(provider)
    assert script.count("realtime_connect") == 1


ENDINGS = [
    ("failed", ("upstream_error", True)),
    ("cancelled", ("upstream_error", True)),
    ("length", ("upstream_error", True)),
    ("content_filter", ("upstream_rejected", False)),
    ("newly invented", ("upstream_error", True)),
]


@pytest.mark.parametrize(("finish", "expected"), ENDINGS)
async def test_a_response_that_is_not_complete_is_a_failure(
    provider: RealtimeProvider, script: Script, finish: str, expected: tuple[str, bool]
) -> None:
    script.add("realtime", Answer(finish=finish))
    error = await failure(speak(provider))
    assert (error.code, error.transient) == expected


async def test_the_reason_of_a_closed_connection_is_heard(provider: RealtimeProvider, script: Script) -> None:
    reason = "invalid_request_error.model_not_found"
    script.add("realtime_connect", Answer(cut_after=1, text=reason))
    assert (await failure(speak(provider))).code == "model_not_found"
    script.add("realtime", Answer(cut_after=2, text=reason))
    assert (await failure(speak(provider))).code == "model_not_found"


async def test_a_session_that_expires_in_the_middle_is_broken_off(provider: RealtimeProvider, script: Script) -> None:
    expired = raw("error", error={"type": "invalid_request_error", "code": "session_expired"})
    script.add("realtime", Answer(raw=[CREATED, expired]))
    error = await failure(speak(provider))
    assert (error.code, error.transient) == ("upstream_error", True)


async def test_an_error_about_something_else_is_none(provider: RealtimeProvider, script: Script) -> None:
    other = raw("error", error={"type": "invalid_request_error", "event_id": "another"})
    made = raw("response.created", response={"id": "other", "metadata": {"sentence": "other"}})
    stray = raw("response.output_audio.delta", response_id="other", delta="????")
    done = raw("response.done", response={"id": "other", "status": "failed", "metadata": {"sentence": "other"}})
    healthy = answer_of().raw or []
    script.add("realtime", Answer(raw=[other, made, stray, done, '{"type": "newer"}', *healthy]))
    assert (await speak(provider)).data == base64.b64decode("AAAA")[:2]


GARBAGE = {
    "no type": ["{}"],
    "a numeric type": ['{"type": 5}'],
    "created without a response": ['{"type": "response.created"}'],
    "created as a list": ['{"type": "response.created", "response": []}'],
    "done without a response": ['{"type": "response.done", "response": null}'],
    "done without a status": ['{"type": "response.done", "response": {"metadata": 5}}'],
    "done with an odd status": ['{"type": "response.done", "response": {"status": [], "status_details": "x"}}'],
    "an error without an object": ['{"type": "error", "error": "sk-proj-verysecret"}'],
    "half a sample": answer_of(delta="AA==").raw,
    "no base64": answer_of(delta="%%%%").raw,
    "broken base64": answer_of(delta="AAA").raw,
    "words beyond ASCII": answer_of(delta="مرحبا").raw,
    "a delta of a number": answer_of(delta=5).raw,
    "a delta of nothing": answer_of(delta=None).raw,
    "binary": [CREATED, "\udcff\udcfe"],
    "a huge message": [CREATED, json.dumps({"type": "x" * 5_000_000})],
}


@pytest.mark.parametrize("events", GARBAGE.values(), ids=GARBAGE)
async def test_what_cant_be_used_is_a_failure(provider: RealtimeProvider, script: Script, events: list[str]) -> None:
    script.add("realtime", Answer(raw=events))
    error = await failure(speak(provider))
    assert (error.code, error.transient) == ("upstream_error", True)
    assert await speak(provider)


@pytest.mark.parametrize("event", ["{}", '{"type": "error"}'])
async def test_a_session_that_begins_with_garbage_is_a_failure(
    provider: RealtimeProvider, script: Script, event: str
) -> None:
    script.add("realtime_connect", Answer(raw=[event]))
    error = await failure(speak(provider))
    assert (error.code, error.transient) == ("upstream_error", True)


async def test_a_transcript_without_an_end_is_a_failure(provider: RealtimeProvider, script: Script) -> None:
    script.add("realtime", answer_of(said="word " * 20_000))
    assert (await failure(speak(provider))).code == "upstream_error"


async def test_sound_without_an_end_is_a_failure(provider: RealtimeProvider, script: Script) -> None:
    piece = raw("response.output_audio.delta", delta=base64.b64encode(bytes(3_000_000)).decode())
    script.add("realtime", Answer(raw=[CREATED, *[piece] * (sound_limit(SENTENCE) // 3_000_000 + 1), DONE]))
    assert (await failure(speak(provider))).code == "upstream_error"


@pytest.mark.parametrize("babble", [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""])
async def test_a_server_that_speaks_something_else_is_a_failure(opened: Opener, babble: bytes) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(babble)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        error = await failure(speak(opened(HASTY, url=f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1")))
        assert (error.code, error.transient) == ("upstream_error", True)


# Time


@pytest.mark.parametrize("answer", [Answer(stall_after=2), Answer(finish=None)], ids=["in the middle", "at the end"])
async def test_silence_times_out(hasty: RealtimeProvider, script: Script, answer: Answer) -> None:
    script.add("realtime", answer)
    error = await failure(speak(hasty))
    assert (error.code, error.transient) == ("upstream_timeout", True)
    assert await speak(hasty)


async def test_a_slow_reading_is_fine_while_something_comes(hasty: RealtimeProvider, script: Script) -> None:
    script.add("realtime", Answer(chunk_delay_s=0.1))
    assert (await speak(hasty)).data == pcm_of(SENTENCE)


# Keys and addresses


@pytest.mark.parametrize(
    ("url", "key"),
    [("localhost:1/v1", KEY), ("wss://x/v1", KEY), ("https://me:ghij@x/v1", KEY), ("https://x/v1", KEY + "ключ")],
)
def test_a_url_or_key_that_cant_be_one_is_refused_at_once(url: str, key: str) -> None:
    with pytest.raises(ValueError, match="'openai'") as caught:
        RealtimeProvider("openai", url, key, HASTY, Preset())
    assert "ghij" not in str(caught.value)


async def test_what_was_never_used_is_closed(server: FakeOpenAI) -> None:
    await RealtimeProvider("openai", server.url, None, HASTY, Preset()).close()


async def test_no_secret_of_a_connection_is_recorded(provider: RealtimeProvider, script: Script) -> None:
    await speak(provider)
    calls: list[Call] = script.calls
    assert "verysecret" not in str(calls)
