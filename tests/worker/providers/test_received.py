"""Bytes without end, on every wire: the call ends, the server is hung up on, and the worker stays small."""

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from openai import AsyncStream

from tests.conftest import ROOT
from tests.fakes.mp3 import mp3_of
from tests.fakes.openai_script import Answer, Script
from tests.fakes.openai_server import FakeOpenAI
from tests.fakes.torrent import FRAMES, KINDS, Torrent
from tests.worker.providers.failing import failure
from tests.worker.providers.swallow import NOTE, SENTENCE, swallow
from worker.providers.base import ChatMessage, ChatUsage
from worker.providers.chat import MAX_EVENT_BYTES
from worker.providers.client import Timeouts, open_client
from worker.providers.openai import OpenAIProvider
from worker.providers.received import MAX_BODY_BYTES, MAX_ERROR_BYTES, TooMuchError

ON_THE_WAY = 12_000_000  # that a server can write before the other side has taken or refused it
MOST_MEMORY = 60_000_000
SOON = Timeouts(5.0, 0.5, 0.5, 0.5)
BY_STATUS = {
    "an error": "upstream_error",
    "an error that is a stream": "upstream_error",
    "an error of 50 MB": "upstream_error",
    "a packed error": "upstream_error",
    "a refusal": "upstream_unauthorized",
    "a redirect": "upstream_rejected",
}
ENDED_BY_TIME = ["events without a word", "hints", "a chunk's extension"]
WELL = ["bytes behind the end"]  # for a reply: it was complete
OF_A_BODY = [kind for kind in KINDS if kind not in {*BY_STATUS, *ENDED_BY_TIME, *WELL}]
NOT_HTTP = {"headers", "one header", "a reason", "trailers"}  # that the HTTP client itself refuses
WIRES = ("chat", "stt", "tts", "iam", "assemblyai", "watsonx")
CALLS = [
    *[("chat", kind) for kind in KINDS if kind not in ENDED_BY_TIME],
    *[(wire, kind) for wire in WIRES[1:] for kind in ("an error", "a text", "white space", "a packed text", "lists in lists")],
    *[("tts", kind) for kind in ("sound", "packed sound", "nothing, packed for ever")],
]  # fmt: skip


@pytest.fixture(scope="module")
def torrent() -> Iterator[Torrent]:
    with Torrent() as server:
        yield server


@pytest.mark.parametrize("kind", BY_STATUS)
@pytest.mark.parametrize("wire", WIRES)
async def test_of_a_refusal_its_status_is_what_counts(torrent: Torrent, wire: str, kind: str) -> None:
    error = await swallow(wire, torrent.url(kind))
    assert error is not None
    assert error.code == BY_STATUS[kind]
    assert torrent.sent < MAX_ERROR_BYTES + ON_THE_WAY


@pytest.mark.parametrize("kind", OF_A_BODY)
@pytest.mark.parametrize("wire", WIRES)
async def test_a_body_without_an_end_is_one_clear_failure(torrent: Torrent, wire: str, kind: str) -> None:
    error = await swallow(wire, torrent.url(kind))
    assert error is not None
    a_transcript = wire == "stt" and kind not in NOT_HTTP and kind != "nothing, packed for ever"
    told = ("transcript_too_long", False) if a_transcript else ("upstream_error", True)
    assert (error.code, error.transient) == told
    assert torrent.sent < (MAX_BODY_BYTES if kind == "nothing, packed for ever" else 5_000_000) + ON_THE_WAY


@pytest.mark.parametrize("kind", ENDED_BY_TIME)
async def test_what_takes_no_memory_is_ended_by_its_time(torrent: Torrent, kind: str) -> None:
    error = await swallow("chat", torrent.url(kind), SOON)
    assert error is not None
    assert error.code == "upstream_timeout"


async def test_what_comes_behind_a_complete_reply_does_no_harm(torrent: Torrent) -> None:
    assert await swallow("chat", torrent.url("bytes behind the end")) is None
    assert torrent.sent < MAX_EVENT_BYTES + ON_THE_WAY


@pytest.mark.parametrize("kind", [kind for kind in FRAMES if kind != "pings"])
async def test_frames_without_an_end_are_a_failure_and_hung_up_on(torrent: Torrent, kind: str) -> None:
    error = await swallow("realtime", torrent.url(kind))
    assert error is not None
    assert (error.code, error.transient) == ("upstream_error", True)
    assert torrent.sent < 8_000_000 + ON_THE_WAY


async def test_pings_without_an_end_are_ended_by_time(torrent: Torrent) -> None:
    async with asyncio.timeout(30):
        error = await swallow("realtime", torrent.url("pings"), SOON)
    assert error is not None
    assert error.code == "upstream_timeout"


def test_all_of_it_together_takes_little_memory(torrent: Torrent) -> None:
    calls = [f"{wire} {torrent.url(kind)}" for wire, kind in CALLS]
    calls += [f"realtime {torrent.url(kind)}" for kind in FRAMES if kind != "pings"]
    command = [sys.executable, "-m", "tests.worker.providers.swallow", *calls]
    done = subprocess.run(command, cwd=Path(ROOT), check=True, capture_output=True, text=True)
    assert int(done.stdout) < MOST_MEMORY


# What is allowed


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def script(fake: FakeOpenAI) -> Script:
    return fake.script


@pytest.fixture
async def provider(fake: FakeOpenAI) -> AsyncIterator[OpenAIProvider]:
    opened = OpenAIProvider("openai", fake.url, "key", Timeouts())
    yield opened
    await opened.close()


def packed(body: bytes) -> Answer:
    """The body as a server sends it that compresses."""
    raw = gzip.compress(body).decode("utf-8", "surrogateescape")
    return Answer(raw=[raw], headers={"content-encoding": "gzip"})


async def said(provider: OpenAIProvider) -> str:
    usage = ChatUsage()
    return "".join([piece async for piece in provider.stream_chat([ChatMessage("user", "Hi")], model="m", usage=usage)])


async def test_compressed_answers_are_read(provider: OpenAIProvider, script: Script) -> None:
    chunk = {"choices": [{"delta": {"content": "Good morning."}, "finish_reason": "stop"}]}
    sound = mp3_of(1.0)
    script.add("chat", packed(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()))
    script.add("transcriptions", packed(b'{"text": "Good morning."}'))
    script.add("speech", packed(sound))
    assert await said(provider) == "Good morning."
    assert (await provider.transcribe(NOTE, model="m", languages=[])).text == "Good morning."
    assert (await provider.speak(SENTENCE, model="m", language="en", voice=None)).data == sound


async def test_a_compressed_refusal_still_says_why(provider: OpenAIProvider, script: Script) -> None:
    body = gzip.compress(b'{"error": {"code": "insufficient_quota"}}').decode("utf-8", "surrogateescape")
    script.add("chat", Answer(status=429, raw=[body], headers={"content-encoding": "gzip"}))
    assert (await failure(said(provider))).code == "insufficient_quota"


async def test_a_refusal_whose_body_breaks_off_is_told_by_its_status(provider: OpenAIProvider, script: Script) -> None:
    script.add("chat", Answer(status=401, raw=["{", "}"], cut_after=1))
    assert (await failure(said(provider))).code == "upstream_unauthorized"


async def test_a_long_reply_in_many_events_is_no_event_without_an_end(provider: OpenAIProvider, script: Script) -> None:
    piece = "word " * 20_000
    script.add("chat", Answer(pieces=[piece] * 9))
    assert await said(provider) == piece * 9


async def test_an_event_may_hold_a_whole_long_reply(provider: OpenAIProvider, script: Script) -> None:
    reply = "word " * 190_000
    script.add("chat", Answer(pieces=[reply]))
    assert await said(provider) == reply


async def test_a_later_caller_is_held_to_the_same_limit(torrent: Torrent) -> None:
    client = open_client("tool", torrent.url("a text"), "key", Timeouts())
    stream = await client.get("/x", cast_to=object, stream=True, stream_cls=AsyncStream[object])
    with pytest.raises(TooMuchError):
        await stream.response.aread()
    await client.close()
    assert torrent.sent < MAX_BODY_BYTES + ON_THE_WAY
