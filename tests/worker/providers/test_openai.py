"""The OpenAI client against a scripted server on a real socket."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import av
import httpx2
import pytest

from shared.errors import Upstream
from shared.providers import preset_of
from tests.fakes.openai_script import Answer, Endpoint, Script, digest_of
from tests.fakes.openai_server import FakeOpenAI
from worker.providers.base import Audio, ChatMessage, ChatUsage
from worker.providers.client import Timeouts
from worker.providers.openai import OpenAIProvider

KEY = "sk-proj-verysecret0123456789abcdefghij"
SHORT = Timeouts(connect_s=0.3, first_byte_s=0.3, idle_s=0.3, total_s=20.0)
NOTE = Audio(b"\x00\x01voice", "ogg", 1.0)
HELLO = [ChatMessage("system", "Be kind."), ChatMessage("user", "Hello")]
ARABIC = "مرحبا، كيف حالك اليوم؟ أنا بخير 🙂"
ENDPOINTS: tuple[Endpoint, ...] = ("chat", "transcriptions", "speech")


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


async def failure(attempt: Awaitable[object]) -> Upstream:
    """The only thing that may come out of a failed call, with nothing secret in it or behind it."""
    with pytest.raises(Upstream) as caught:
        await attempt
    shown = f"{caught.value!r} {caught.value.detail} {caught.value.errors} {caught.value.__cause__!r}"
    assert "verysecret" not in shown
    assert "ghij" not in shown
    assert "Bearer" not in shown
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert caught.value.detail.endswith(".")
    return caught.value


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - the server lives in another thread
        await asyncio.sleep(0.01)


def seconds_of(mp3: bytes) -> float:
    with av.open(io.BytesIO(mp3), mode="r", format="mp3") as container:
        return sum(frame.samples for frame in container.decode(audio=0)) / 24_000


# Chat


async def test_a_reply_streams_and_its_tokens_are_counted(provider: OpenAIProvider, script: Script) -> None:
    usage = ChatUsage()
    pieces = [piece async for piece in provider.stream_chat(HELLO, model="gpt-6-luna", usage=usage)]
    assert "".join(pieces) == "You said: Hello. I have seen 1 messages."
    assert len(pieces) > 1
    assert all(pieces)
    assert (usage.input_tokens, usage.output_tokens) == (11, 7)
    (asked,) = script.of("chat")
    assert asked.model == "gpt-6-luna"
    assert asked.messages == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]


async def test_a_server_that_does_not_count_leaves_tokens_unknown(provider: OpenAIProvider, script: Script) -> None:
    script.add("chat", Answer(usage=False))
    usage = ChatUsage()
    assert await chat(provider, usage=usage)
    assert (usage.input_tokens, usage.output_tokens) == (None, None)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_letters_split_between_writes_arrive_whole(provider: OpenAIProvider, script: Script, size: int) -> None:
    script.add("chat", Answer(text=ARABIC, split_bytes=size))
    assert await chat(provider) == ARABIC


async def test_line_separators_inside_a_reply_survive(provider: OpenAIProvider, script: Script) -> None:
    text = "one\u2028two\u2029three\x85four\r\nfive\x0bsix"
    script.add("chat", Answer(pieces=[text]))
    assert await chat(provider) == text


async def test_a_reply_of_100_000_characters_arrives_whole(provider: OpenAIProvider, script: Script) -> None:
    pieces = [f"{number:09d} " for number in range(10_000)]
    script.add("chat", Answer(pieces=pieces))
    assert await chat(provider) == "".join(pieces)


async def test_arabic_is_answered_in_arabic(provider: OpenAIProvider, script: Script) -> None:
    assert ARABIC in await chat(provider, [ChatMessage("user", ARABIC)])
    assert script.of("chat")[0].text == ARABIC


async def test_what_breaks_after_the_last_word_costs_nothing(provider: OpenAIProvider, script: Script) -> None:
    script.add("chat", Answer(pieces=["Well", "."], cut_after=4), Answer(done=False), Answer(finish="length"))
    assert await chat(provider) == "Well."
    assert await chat(provider)
    assert await chat(provider)


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


async def test_a_reader_who_leaves_ends_the_call(provider: OpenAIProvider, script: Script) -> None:
    script.add("chat", Answer(drip=True))
    async with aclosing(provider.stream_chat(HELLO, model="m", usage=ChatUsage())) as pieces:
        await anext(pieces)
    await until(lambda: not script.active["chat"])


async def test_cancelling_ends_the_call_and_is_not_a_failure(provider: OpenAIProvider, script: Script) -> None:
    script.add("chat", Answer(stall_after=2))
    task = asyncio.create_task(chat(provider))
    await until(lambda: script.count("chat") == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not script.active["chat"])


BROKEN_STREAMS = {
    "cut at once": Answer(cut_after=0),
    "cut after some words": Answer(cut_after=3),
    "reset": Answer(drop=True),
    "ends without a finish": Answer(finish=None),
    "ends without a finish or DONE": Answer(finish=None, done=False),
    "half a chunk": Answer(raw=['data: {"choices": [{"delta": {"conte\n\n']),
    "a page": Answer(raw=["<html>down for maintenance</html>"], content_type="text/html"),
    "JSON instead of a stream": Answer(raw=['{"choices": []}'], content_type="application/json"),
    "nothing": Answer(raw=[]),
    "not UTF-8": Answer(raw=['data: {"choices": [{"delta": {"content": "\udcff\udcfe"}}]}\n\n']),
    "deep nesting": Answer(raw=["data: " + "[" * 100_000 + "\n\n"]),
    "finish_reason error": Answer(finish="error"),
    "an error object": Answer(raw=['data: {"error": {"message": "sk-proj-verysecret", "code": "server_error"}}\n\n']),
    "an error string": Answer(raw=['data: {"error": "sk-proj-verysecret"}\n\n']),
    "an error with a status": Answer(raw=['data: {"error": {"code": 502}}\n\n']),
}


@pytest.mark.parametrize("answer", BROKEN_STREAMS.values(), ids=BROKEN_STREAMS)
async def test_a_broken_stream_may_be_tried_again(provider: OpenAIProvider, script: Script, answer: Answer) -> None:
    script.add("chat", answer)
    error = await failure(chat(provider))
    assert (error.code, error.transient) == ("upstream_error", True)
    assert script.count("chat") == 1


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


@pytest.mark.parametrize(
    "answer",
    [Answer(text=""), Answer(pieces=[" ", "\n"]), Answer(tool_call=True), Answer(text="", finish="content_filter")],
    ids=["empty", "blank", "tool call only", "filtered"],
)
async def test_a_reply_without_words_is_a_failure(provider: OpenAIProvider, script: Script, answer: Answer) -> None:
    script.add("chat", answer)
    assert (await failure(chat(provider))).code == "empty_reply"


# Time


async def test_a_server_that_never_answers_times_out(hasty: OpenAIProvider, script: Script) -> None:
    for endpoint in ENDPOINTS:
        script.add(endpoint, Answer(hang=True))
        error = await failure(call(hasty, endpoint))
        assert (error.code, error.transient) == ("upstream_timeout", True)


async def test_headers_without_a_first_byte_time_out(hasty: OpenAIProvider, script: Script) -> None:
    for endpoint in ENDPOINTS:
        script.add(endpoint, Answer(stall_after=0))
        assert (await failure(call(hasty, endpoint))).code == "upstream_timeout"


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


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_an_endless_drip_is_ended(server: FakeOpenAI, script: Script, endpoint: Endpoint) -> None:
    script.add(endpoint, Answer(drip=True))
    provider = OpenAIProvider("openai", server.url, KEY, replace(SHORT, total_s=0.6))
    assert (await failure(call(provider, endpoint))).code == "upstream_timeout"
    await provider.close()


async def test_what_drips_after_a_complete_reply_is_not_waited_for(provider: OpenAIProvider, script: Script) -> None:
    said = '{"choices": [{"index": 0, "delta": {"content": "Hello."}, "finish_reason": "stop"}]}'
    script.add("chat", Answer(raw=[f"data: {said}\n\n", 'data: {"choices": []}\n\n'], drip=True))
    async with asyncio.timeout(Timeouts().idle_s / 2):
        assert await chat(provider) == "Hello."


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        provider = OpenAIProvider("local", f"http://127.0.0.1:{taken.getsockname()[1]}/v1", KEY, SHORT)
        for endpoint in ENDPOINTS:
            error = await failure(call(provider, endpoint))
            assert (error.code, error.transient) == ("upstream_unreachable", True)
        await provider.close()


async def test_a_server_that_does_not_speak_http_is_a_failure() -> None:
    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        provider = OpenAIProvider("local", f"http://127.0.0.1:{port}/v1", KEY, SHORT)
        for endpoint in ENDPOINTS:
            assert (await failure(call(provider, endpoint))).transient
        await provider.close()


async def test_a_lost_connection_does_not_spoil_the_next_call(provider: OpenAIProvider, script: Script) -> None:
    script.add("chat", Answer(), Answer(drop=True), Answer(), Answer(cut_after=2), Answer())
    good = await chat(provider)
    for _ in range(2):
        assert (await failure(chat(provider))).transient
        assert await chat(provider) == good


# Refusals

STATUSES = [
    (400, ("upstream_rejected", False)),
    (401, ("upstream_unauthorized", False)),
    (402, ("insufficient_quota", False)),
    (403, ("upstream_unauthorized", False)),
    (404, ("model_not_found", False)),
    (408, ("upstream_timeout", True)),
    (409, ("upstream_error", True)),
    (413, ("upstream_rejected", False)),
    (422, ("upstream_rejected", False)),
    (429, ("rate_limited", True)),
    (500, ("upstream_error", True)),
    (502, ("upstream_error", True)),
    (503, ("upstream_error", True)),
    (529, ("upstream_error", True)),
]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(("status", "expected"), STATUSES)
async def test_a_refusal_says_whether_to_try_again(
    provider: OpenAIProvider, script: Script, endpoint: Endpoint, status: int, expected: tuple[str, bool]
) -> None:
    script.always(endpoint, Answer(status=status))
    error = await failure(call(provider, endpoint))
    assert (error.code, error.transient) == expected
    formats = 2 if endpoint == "transcriptions" and status in {400, 415, 422} else 1
    assert script.count(endpoint) == formats


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


async def test_silence_is_an_empty_transcript(provider: OpenAIProvider, script: Script) -> None:
    script.add("transcriptions", Answer(text=" "))
    assert (await provider.transcribe(NOTE, model="m", languages=[])).text == ""


@pytest.mark.parametrize(
    "raw", [[], ["{"], ["null"], ["[]"], ['{"txt": "x"}'], ['{"text": null}'], ["<html>"], ["\udcff"]]
)
async def test_an_answer_without_a_transcript_is_a_failure(
    provider: OpenAIProvider, script: Script, raw: list[str]
) -> None:
    script.add("transcriptions", Answer(raw=raw))
    error = await failure(call(provider, "transcriptions"))
    assert (error.code, error.transient) == ("upstream_error", True)


# Text to speech


async def test_a_sentence_is_spoken_as_mp3(provider: OpenAIProvider, script: Script) -> None:
    short = await provider.speak("Hi.", model="gpt-4o-mini-tts", language="en", voice=None)
    long = await provider.speak("A much longer sentence. " * 10, model="gpt-4o-mini-tts", language="en", voice="onyx")
    assert short.format == long.format == "mp3"
    assert seconds_of(long.data) > seconds_of(short.data) > 0
    first, second = script.of("speech")
    assert (first.text, first.voice, first.response_format) == ("Hi.", "alloy", "mp3")
    assert second.voice == "onyx"


async def test_a_server_that_makes_wave_files_is_asked_for_them(server: FakeOpenAI, script: Script) -> None:
    provider = OpenAIProvider("groq", server.url, KEY, SHORT, preset_of("groq"))
    script.add("speech", Answer(raw=["RIFF\udcff\udcff\udcff\udcffWAVEfmt ", "more"]), Answer(raw=["ID3"]))
    speech = await provider.speak("Hi.", model="m", language="en", voice=None)
    assert (speech.format, speech.data[8:]) == ("wav", b"WAVEfmt more")
    (asked,) = script.of("speech")
    assert (asked.voice, asked.response_format) == ("troy", "wav")
    assert (await failure(call(provider, "speech"))).code == "upstream_error"  # an mp3
    await provider.close()


UNSOUND = {
    "empty": Answer(raw=[]),
    "JSON": Answer(raw=['{"error": "sk-proj-verysecret"}'], content_type="application/json"),
    "JSON called mp3": Answer(raw=['{"audio": ""}']),
    "a page": Answer(raw=["<html>"]),
    "a wave file": Answer(raw=["RIFF\udcff\udcff\udcff\udcffWAVEfmt "], content_type="audio/wav"),
    "cut": Answer(cut_after=1),
    "reset": Answer(drop=True),
}


@pytest.mark.parametrize("answer", UNSOUND.values(), ids=UNSOUND)
async def test_what_is_no_sound_is_a_failure(provider: OpenAIProvider, script: Script, answer: Answer) -> None:
    script.add("speech", answer)
    error = await failure(provider.speak("word " * 300, model="m", language="en", voice=None))
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
