"""The OpenAI client against a scripted server on a real socket."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest

from shared.provider_presets import preset_of
from tests.fakes.openai_script import Answer, Endpoint, Script, digest_of
from tests.fakes.openai_server import FakeOpenAI
from tests.worker.providers.failing import KEY, failure
from worker.providers.base import Audio, ChatMessage, ChatUsage
from worker.providers.client import Timeouts
from worker.providers.openai import OpenAIProvider

ENDPOINTS: tuple[Endpoint, ...] = ("chat", "transcriptions", "speech")
SHORT = Timeouts(connect_s=0.3, first_byte_s=0.3, idle_s=0.3, total_s=20.0)
NOTE = Audio(b"\x00\x01voice", "ogg", 1.0)
HELLO = [ChatMessage("system", "Be kind."), ChatMessage("user", "Hello")]


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
def script(server: FakeOpenAI) -> Script:
    server.script.reset()
    return server.script


@pytest.fixture
async def provider(server: FakeOpenAI) -> AsyncIterator[OpenAIProvider]:
    opened = OpenAIProvider("openai", server.url, KEY, Timeouts())
    yield opened
    await opened.close()


@pytest.fixture
async def hasty(server: FakeOpenAI) -> AsyncIterator[OpenAIProvider]:
    opened = OpenAIProvider("openai", server.url, KEY, SHORT)
    yield opened
    await opened.close()


async def chat(provider: OpenAIProvider, messages: list[ChatMessage] = HELLO, usage: ChatUsage | None = None) -> str:
    return "".join([piece async for piece in provider.stream_chat(messages, model="m", usage=usage or ChatUsage())])


async def call(provider: OpenAIProvider, endpoint: Endpoint) -> object:
    if endpoint == "chat":
        return await chat(provider)
    if endpoint == "transcriptions":
        return await provider.transcribe(NOTE, model="m", languages=[])
    return await provider.speak("Hello there.", model="m", language="en", voice=None)


# Chat


async def test_line_separators_inside_a_reply_survive(provider: OpenAIProvider, script: Script) -> None:
    text = "one\u2028two\u2029three\x85four\r\nfive\x0bsix"
    script.add("chat", Answer(pieces=[text]))
    assert await chat(provider) == text


async def test_a_server_silent_after_the_last_word_is_not_waited_for(provider: OpenAIProvider, script: Script) -> None:
    script.add("chat", Answer(pieces=["Well", "."], stall_after=4))
    async with asyncio.timeout(Timeouts().idle_s / 2):
        assert await chat(provider) == "Well."


async def test_pauses_shorter_than_the_idle_timeout_are_fine(hasty: OpenAIProvider, script: Script) -> None:
    script.add("chat", Answer(pieces=list("abcdef"), chunk_delay_s=0.1))
    assert await chat(hasty) == "abcdef"


async def test_a_slow_reader_is_not_a_slow_server(hasty: OpenAIProvider, script: Script) -> None:
    script.add("chat", Answer(pieces=list("abc")))
    said = ""
    async for piece in hasty.stream_chat(HELLO, model="m", usage=ChatUsage()):
        said += piece
        await asyncio.sleep(SHORT.idle_s * 1.5)
    assert said == "abc"


ERRORS = {
    "an object": '{"message": "sk-proj-verysecret", "code": "server_error"}',
    "a string": '"sk-proj-verysecret"',
    "with a status": '{"code": 502}',
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
async def test_an_error_inside_a_stream_may_be_over_soon(provider: OpenAIProvider, script: Script, error: str) -> None:
    script.add("chat", Answer(raw=[f'data: {{"error": {error}}}\n\n']))
    told = await failure(chat(provider))
    assert (told.code, told.transient) == ("upstream_error", True)


ODD_CHUNKS = [
    "null",
    "5",
    "[1, 2]",
    '"text"',
    "{}",
    '{"choices": null}',
    '{"choices": {"a": 1}}',
    '{"choices": [null]}',
    '{"choices": ["x"]}',
    '{"choices": [{"delta": "hi", "finish_reason": 7}]}',
    '{"choices": [{"delta": {"content": ["a"]}}]}',
    '{"choices": [{"delta": {"content": {"b": 1}}}], "usage": "many"}',
    '{"choices": [], "usage": {"prompt_tokens": "11", "completion_tokens": null}}',
]


@pytest.mark.parametrize("chunk", ODD_CHUNKS)
async def test_a_chunk_of_another_shape_never_escapes_as_a_bug(
    provider: OpenAIProvider, script: Script, chunk: str
) -> None:
    script.add("chat", Answer(raw=[f"data: {chunk}\n\n", "data: [DONE]\n\n"]))
    assert (await failure(chat(provider))).transient


async def test_an_error_named_inside_the_stream_is_classified(provider: OpenAIProvider, script: Script) -> None:
    for code in ("insufficient_quota", "context_length_exceeded", "rate_limit_exceeded"):
        script.add("chat", Answer(raw=[f'data: {{"error": {{"code": "{code}"}}}}\n\n']))
    found = [await failure(chat(provider)) for _ in range(3)]
    assert [error.code for error in found] == ["insufficient_quota", "upstream_rejected", "rate_limited"]
    assert [error.transient for error in found] == [False, False, True]


# Time


async def test_a_stream_that_falls_silent_times_out(server: FakeOpenAI, script: Script) -> None:
    patient = replace(SHORT, first_byte_s=60.0)
    provider = OpenAIProvider("openai", server.url, KEY, patient)
    script.add("chat", Answer(stall_after=3))
    script.add("speech", Answer(stall_after=1))
    async with asyncio.timeout(patient.total_s / 2):
        pieces = provider.stream_chat(HELLO, model="m", usage=ChatUsage())
        assert [await anext(pieces), await anext(pieces)] == ["You ", "said: "]
        assert (await failure(anext(pieces))).code == "upstream_timeout"
        assert (await failure(call(provider, "speech"))).code == "upstream_timeout"
    await provider.close()


async def test_what_drips_after_a_complete_reply_is_not_waited_for(provider: OpenAIProvider, script: Script) -> None:
    said = '{"choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": "stop"}]}'
    script.add("chat", Answer(raw=[f"data: {said}\n\n", 'data: {"choices": []}\n\n'], drip=True))
    async with asyncio.timeout(Timeouts().idle_s / 2):
        assert await chat(provider) == "Hello."


# Refusals

STATUSES = [
    (409, ("upstream_error", True)),
    (413, ("upstream_rejected", False)),
    (422, ("upstream_rejected", False)),
    (502, ("upstream_error", True)),
    (529, ("upstream_error", True)),
]


@pytest.mark.parametrize(("status", "expected"), STATUSES)
async def test_a_rarer_refusal_says_whether_to_try_again_too(
    provider: OpenAIProvider, script: Script, status: int, expected: tuple[str, bool]
) -> None:
    script.add("chat", Answer(status=status))
    error = await failure(chat(provider))
    assert (error.code, error.transient) == expected


@pytest.mark.parametrize(
    "body", ["", "<html>sk-proj-verysecret</html>", "[]", '{"error": "x"}', '{"detail": 5}', "\udcff"]
)
async def test_a_refusal_with_any_body_is_told_by_its_status(
    provider: OpenAIProvider, script: Script, body: str
) -> None:
    script.add("chat", Answer(status=503, raw=[body], content_type="text/html"))
    assert (await failure(chat(provider))).code == "upstream_error"


@pytest.mark.parametrize("field", ["code", "type"])
async def test_an_exhausted_account_is_not_tried_again(provider: OpenAIProvider, script: Script, field: str) -> None:
    script.add("chat", Answer(status=429, error={field: "insufficient_quota"}, headers={"retry-after": "3"}))
    error = await failure(chat(provider))
    assert (error.code, error.transient, error.retry_after) == ("insufficient_quota", False, None)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
    ],
)
async def test_retry_after_is_honoured(
    provider: OpenAIProvider, script: Script, headers: dict[str, str], seconds: float | None
) -> None:
    for status in (429, 503):
        script.add("chat", Answer(status=status, headers=headers))
        assert (await failure(chat(provider))).retry_after == seconds


@pytest.mark.parametrize(("until", "seconds"), [("09:31:30", 90.0), ("09:30:00", 0.0), ("08:00:00", 0.0)])
async def test_retry_after_may_be_a_date_by_the_servers_clock(
    provider: OpenAIProvider, script: Script, until: str, seconds: float
) -> None:
    day = "Sat, 03 Jan 2015"
    headers = {"date": f"{day} 09:30:00 GMT", "retry-after": f"{day} {until} GMT"}
    script.add("chat", Answer(status=429, headers=headers))
    assert (await failure(chat(provider))).retry_after == seconds


async def test_retry_after_may_be_a_date_without_a_clock(provider: OpenAIProvider, script: Script) -> None:
    tomorrow = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    script.add("chat", Answer(status=429, headers={"retry-after": tomorrow}))
    wait = (await failure(chat(provider))).retry_after
    assert wait is not None
    assert timedelta(hours=23) < timedelta(seconds=wait) < timedelta(hours=25)


# Speech to text


async def test_a_voice_note_is_sent_as_it_is(provider: OpenAIProvider, script: Script) -> None:
    script.hear(NOTE.data, "  Good morning. ", "en")
    transcript = await provider.transcribe(NOTE, model="gpt-transcribe", languages=["ar"])
    assert (transcript.text, transcript.languages, transcript.note) == ("Good morning.", ("en",), None)
    (asked,) = script.of("transcriptions")
    assert (asked.model, asked.filename, asked.size) == ("gpt-transcribe", "audio.ogg", len(NOTE.data))
    assert (asked.response_format, asked.language, asked.languages) == ("json", None, ["ar"])


@pytest.mark.parametrize(
    ("model", "hints", "language", "languages"),
    [
        ("gpt-transcribe", [], None, []),
        ("gpt-transcribe", ["ar"], None, ["ar"]),
        ("gpt-transcribe-2026", ["ar", "en"], None, ["ar", "en"]),
        ("gpt-4o-transcribe", ["ar"], "ar", []),
        ("whisper-1", [], None, []),
        ("whisper-1", ["ar"], "ar", []),
        ("whisper-1", ["ar", "en"], None, []),
    ],
)
async def test_a_model_gets_the_hints_that_it_takes_for_hints(
    provider: OpenAIProvider, script: Script, model: str, hints: list[str], language: str | None, languages: list[str]
) -> None:
    await provider.transcribe(NOTE, model=model, languages=hints)
    (asked,) = script.of("transcriptions")
    assert (asked.language, asked.languages) == (language, languages)


@pytest.mark.parametrize(
    ("model", "first", "second"),
    [("whisper-large-v3", "verbose_json", "json"), ("gpt-4o-transcribe", "json", "verbose_json")],
)
@pytest.mark.parametrize("status", [400, 415, 422])
async def test_a_format_that_a_server_does_not_know_is_not_asked_for_again(
    provider: OpenAIProvider, script: Script, model: str, first: str, second: str, status: int
) -> None:
    script.add("transcriptions", Answer(status=status), Answer(text="Good morning."))
    for _ in range(2):
        assert (await provider.transcribe(NOTE, model=model, languages=["ar"])).text
    asked = script.of("transcriptions")
    assert [call.response_format for call in asked] == [first, second, second]
    assert {call.language for call in asked} == {"ar"}
    assert {call.size for call in asked} == {len(NOTE.data)}


async def test_formats_are_remembered_by_model(provider: OpenAIProvider, script: Script) -> None:
    script.add("transcriptions", Answer(status=400))
    for model in ("whisper-1", "whisper-2", "whisper-1"):
        await provider.transcribe(NOTE, model=model, languages=[])
    formats = [(call.model, call.response_format) for call in script.of("transcriptions")]
    assert formats == [
        ("whisper-1", "verbose_json"), ("whisper-1", "json"), ("whisper-2", "verbose_json"), ("whisper-1", "json")
    ]  # fmt: skip


async def test_a_note_that_is_refused_in_every_format_settles_none(provider: OpenAIProvider, script: Script) -> None:
    script.add("transcriptions", Answer(status=400), Answer(status=400))
    assert (await failure(call(provider, "transcriptions"))).code == "upstream_rejected"
    await call(provider, "transcriptions")
    assert [asked.response_format for asked in script.of("transcriptions")] == ["verbose_json", "json", "verbose_json"]


@pytest.mark.parametrize(
    ("answer", "languages"),
    [
        (Answer(text="x", language="english"), ("en",)),
        (Answer(text="x", language="Arabic"), ("ar",)),
        (Answer(text="x", language="ar-EG"), ("ar",)),
        (Answer(text="x", language="klingon"), ()),
        (Answer(text="x", languages=["ar", "en"]), ("ar", "en")),
        (Answer(text="x", languages=[]), ()),
        (Answer(text="x", language="english", languages=["en", "ar", "ar"]), ("en", "ar")),
        (Answer(text="x"), ()),
        (Answer(raw=['{"text": "x", "language": 5, "languages": ["fr", null, {"code": 7}, {"code": "de"}]}']), ("de",)),
    ],
)
async def test_languages_are_read_where_they_are_told(
    provider: OpenAIProvider, script: Script, answer: Answer, languages: tuple[str, ...]
) -> None:
    script.add("transcriptions", answer)
    assert (await provider.transcribe(NOTE, model="m", languages=[])).languages == languages


@pytest.mark.parametrize("raw", ["{", '{"txt": "x"}', '{"text": null}'])
async def test_an_answer_without_a_transcript_is_a_failure(provider: OpenAIProvider, script: Script, raw: str) -> None:
    script.add("transcriptions", Answer(raw=[raw]))
    error = await failure(call(provider, "transcriptions"))
    assert (error.code, error.transient) == ("upstream_error", True)


# Keys and addresses


async def test_a_server_without_keys_gets_a_placeholder(server: FakeOpenAI, script: Script) -> None:
    for key in (None, "", " "):
        provider = OpenAIProvider("ollama", server.url, key, SHORT)
        assert await chat(provider)
        await provider.close()
    assert script.count("chat") == 3


@pytest.mark.parametrize(
    ("name", "header", "secret"), [("mine", "authorization", f"Bearer {KEY}"), ("azure", "api-key", KEY)]
)
async def test_a_key_with_a_line_break_at_its_end_still_works(
    server: FakeOpenAI, script: Script, name: str, header: str, secret: str
) -> None:
    provider = OpenAIProvider(name, f" {server.url}\n", KEY + "\n", SHORT, preset_of(name))
    for endpoint in ENDPOINTS:
        assert await call(provider, endpoint)
        assert [asked.secrets for asked in script.of(endpoint)] == [{header: digest_of(secret)}]
    await provider.close()


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("localhost:1/v1", KEY),
        ("ftp://x", KEY),
        ("https://me:ghij@x/v1", KEY),
        ("https://x/v1", KEY + "ключ"),
        ("https://x/v1", "verysecret ghij"),
    ],
)
def test_a_url_or_key_that_cant_be_one_is_refused_at_once(url: str, key: str) -> None:
    with pytest.raises(ValueError, match="'openai'") as caught:
        OpenAIProvider("openai", url, key, SHORT)
    assert "ghij" not in str(caught.value)


# The fake itself, as a process test would use it


async def test_the_fake_is_scripted_over_http(server: FakeOpenAI, provider: OpenAIProvider, script: Script) -> None:
    root = server.url.removesuffix("/v1")
    told = {"add": {"chat": [{"status": 500}]}, "always": {"chat": {"text": "Always.", "when": "Hello"}}}
    async with httpx2.AsyncClient(base_url=root) as client:
        await client.post("/script", json=told)
        assert (await failure(chat(provider))).code == "upstream_error"
        assert await chat(provider) == "Always."
        assert await chat(provider, [ChatMessage("user", "Bye")]) != "Always."
        seen = (await client.get("/calls")).json()
        assert seen["counts"] == {"chat": 3}
        assert [entry["text"] for entry in seen["calls"]] == ["Hello", "Hello", "Bye"]
        assert "verysecret" not in str(seen)
        await client.post("/reset")
    assert script.calls == []


@pytest.mark.parametrize(
    ("name", "url", "field"),
    [
        ("openai", "https://api.openai.com/v1", "max_completion_tokens"),
        ("mine", "https://eu.api.openai.com/v1", "max_completion_tokens"),
        ("groq", "https://api.groq.com/openai/v1", "max_completion_tokens"),
        ("openai", "https://notopenai.com/v1", "max_tokens"),
        ("mine", "https://notopenai.com/v1", "max_tokens"),
    ],
)
def test_the_limit_of_a_reply_has_the_name_that_its_server_knows(name: str, url: str, field: str) -> None:
    assert preset_of(name, url).max_tokens == field
