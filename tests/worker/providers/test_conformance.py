"""The same cases on every wire: whoever is asked, the worker can't tell the difference."""

import asyncio
import hashlib
import logging
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from shared.audio import mp3
from shared.provider_presets import Role
from tests.conftest import SAMPLES
from tests.fakes.openai_replies import seconds_of
from tests.fakes.openai_script import Answer, Call, Endpoint, Script, digest_of
from tests.worker.providers.failing import babbler, failure, nobody, until
from tests.worker.providers.faults import ENDED_BY, SILENCES, TIMED_OUT, UNREACHABLE, Fault, faults_of
from tests.worker.providers.wires import (
    HASTY,
    OFFLINE,
    PATIENT,
    WIRES,
    Servers,
    Wire,
    configured,
    secret_of,
    serving,
)
from worker.providers.base import Audio, ChatMessage, ChatUsage, Speech, Transcript
from worker.providers.registry import Model, Models

HELLO = [ChatMessage("system", "Be kind."), ChatMessage("user", "Hello")]
NOTE = Audio(b"\x00\x01voice", "ogg", 1.0)
SENTENCE = "This sentence is long enough for several chunks."
ARABIC = "مَرْحَبًا، كيف حالك اليوم؟ أنا بخير 🙂👨‍👩‍👧"
LONG = "".join(f"{number:09d} " for number in range(10_000))
ROLES: tuple[Role, ...] = ("chat", "stt", "tts")


def on(*roles: Role, offline: bool = False, every: bool = False) -> pytest.MarkDecorator:
    """The wires of these roles; `every` place where a wire may break, too."""
    wires = [wire for wire in WIRES if wire.role in roles and (every or wire.endpoint == wire.billed)]
    wires += [wire for wire in OFFLINE if offline and wire.role in roles]
    return pytest.mark.parametrize("wire", wires, ids=str)


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with serving() as opened:
        yield opened


@pytest.fixture(scope="module")
async def shared(servers: Servers) -> AsyncIterator[Models]:
    async with configured(servers.environment(), PATIENT) as models:
        yield models


@pytest.fixture
async def model(wire: Wire, servers: Servers, shared: Models) -> AsyncIterator[Model[Any]]:
    servers.reset()
    if not wire.is_fresh:
        yield wire.of(shared)
        return
    async with configured(servers.environment(), PATIENT) as models:
        yield wire.of(models)


@pytest.fixture
def script(wire: Wire, servers: Servers, model: Model[Any]) -> Script:  # noqa: ARG001 - it has reset the script
    return servers.script(wire)


async def ask(model: Model[Any], said: str | None = None) -> str | Transcript | Speech:
    """One call as the worker makes it."""
    if model.role == "chat":
        messages = [ChatMessage("user", said)] if said else HELLO
        pieces = model.provider.stream_chat(messages, model=model.model, usage=ChatUsage(), max_tokens=50)
        return "".join([piece async for piece in pieces])
    if model.role == "stt":
        return await model.provider.transcribe(NOTE, model=model.model, languages=["ar"])  # type: ignore[no-any-return]
    return await model.provider.speak(said or SENTENCE, model=model.model, language="en", voice=None)  # type: ignore[no-any-return]


def sound_of(speech: Speech) -> float:
    """Its seconds, when it is made an mp3 as every sentence is."""
    return mp3.duration(mp3.to_mp3(speech.data, format=speech.format, rate=speech.sample_rate))


# What fails

CASES = [
    pytest.param(wire, wire.answers.get(name, fault.answer), fault, id=f"{wire}: {name}")
    for wire in WIRES
    for name, fault in faults_of(wire.role).items()
    if name not in wire.lacks
]


@pytest.mark.parametrize(("wire", "answer", "fault"), CASES)
async def test_a_failure_has_one_name_and_costs_one_call_at_most_and_the_next_call_goes_on(
    wire: Wire, model: Model[Any], script: Script, answer: Answer, fault: Fault
) -> None:
    script.add(wire.endpoint, answer)
    error = await failure(ask(model))
    assert (error.code, error.transient, error.retry_after) == fault.told
    assert script.count(wire.endpoint) == 1
    paid = script.count(wire.billed)
    assert paid <= 1
    assert await ask(model)
    assert script.count(wire.billed) == paid + 1


PLACES_OF_SILENCE = sorted(
    {(wire.wire, wire.endpoint, name) for wire in WIRES for name in SILENCES if name not in wire.lacks}
)


@pytest.mark.parametrize(("spoken", "endpoint", "silence"), PLACES_OF_SILENCE)
async def test_silence_is_ended_by_its_own_limit_wherever_it_begins_and_the_next_call_goes_on(
    spoken: str, endpoint: Endpoint, silence: str, servers: Servers
) -> None:
    servers.reset()
    wires = [wire for wire in WIRES if (wire.wire, wire.endpoint) == (spoken, endpoint) and silence not in wire.lacks]
    script = servers.script(wires[0])
    limits = dict.fromkeys(HASTY, "100") | {"CONNECT_TIMEOUT_S": "0.6", ENDED_BY[silence]: HASTY[ENDED_BY[silence]]}
    async with configured(servers.environment(), limits) as models, asyncio.timeout(30):
        script.add(endpoint, *[wire.answers.get(silence, SILENCES[silence]) for wire in wires])
        errors = await asyncio.gather(*[failure(ask(wire.of(models))) for wire in wires])
        told = [
            (str(wire), error.code, error.transient, error.retry_after)
            for wire, error in zip(wires, errors, strict=True)
        ]
        assert told == [(str(wire), *TIMED_OUT.told) for wire in wires]
        assert script.count(endpoint) == len(wires)
        await until(lambda: not script.active[endpoint])
        for wire in wires:
            assert await ask(wire.of(models))


@asynccontextmanager
async def at(place: str) -> AsyncIterator[str]:
    """The URL of a place where nobody answers as a model server does."""
    if place == "babbles":
        async with babbler() as url:
            yield url
        return
    with nobody() as url:
        if place == "refuses":
            yield url
            return
    with socket.socket() as full:  # its backlog: no further connection is taken
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()):
            yield f"http://127.0.0.1:{full.getsockname()[1]}"


PLACES = {"refuses": UNREACHABLE, "takes no connection": UNREACHABLE, "babbles": Fault("upstream_error", True)}


@pytest.mark.parametrize(("place", "fault"), PLACES.items(), ids=PLACES)
async def test_what_is_no_model_server_has_one_name(servers: Servers, place: str, fault: Fault) -> None:
    servers.reset()
    wires = [wire for wire in WIRES if wire.endpoint == wire.billed]
    async with at(place) as url, configured(servers.environment(url), HASTY) as models:
        errors = await asyncio.gather(*[failure(ask(wire.of(models))) for wire in wires])
    told = {
        str(wire): (error.code, error.transient, error.retry_after) for wire, error in zip(wires, errors, strict=True)
    }
    assert told == dict.fromkeys(map(str, wires), fault.told)


def test_what_a_wire_cant_have_is_a_fault_of_the_others() -> None:
    for wire in WIRES:
        known = {*faults_of(wire.role), *SILENCES}
        assert wire.lacks.keys() | wire.answers.keys() <= known
        assert all(wire.lacks.values())


@on(*ROLES, every=True)
async def test_cancelling_ends_the_call_and_is_not_a_failure(wire: Wire, model: Model[Any], script: Script) -> None:
    script.add(wire.endpoint, Answer(hang=True))
    task = asyncio.create_task(ask(model))
    await until(lambda: script.count(wire.endpoint) == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not script.active[wire.endpoint])
    assert await ask(model)


@on(*ROLES, every=True)
async def test_no_secret_is_logged(
    wire: Wire, model: Model[Any], script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.add(
        wire.endpoint, Answer(status=500) if "500" not in wire.lacks else Answer(raw=['{"error": "verysecret"}'])
    )
    with caplog.at_level(logging.DEBUG):
        await failure(ask(model))
        assert await ask(model)
    assert "verysecret" not in caplog.text
    assert "ghij" not in caplog.text


# How a server is asked


@on(*ROLES)
async def test_a_call_has_the_form_that_its_server_knows(wire: Wire, model: Model[Any], script: Script) -> None:
    await ask(model)
    (call,) = script.of(wire.billed)
    assert (call.model, call.path) == (model.model, wire.path)
    assert form_of(call, wire) == wire.form
    if wire.provider != "watsonx":  # its tokens are its own business
        assert call.secrets == {wire.key_header: digest_of(secret_of(wire))}


def form_of(call: Call, wire: Wire) -> dict[str, Any]:
    return call.wishes if wire.role == "chat" else {name: getattr(call, name) for name in wire.form}


@on("chat", offline=True)
async def test_a_reply_comes_in_pieces_and_is_about_what_was_said(wire: Wire, model: Model[Any]) -> None:
    usage = ChatUsage()
    pieces = [piece async for piece in model.provider.stream_chat(HELLO, model=model.model, usage=usage)]
    assert "Hello" in "".join(pieces)
    assert len(pieces) > 1
    assert all(pieces)
    assert (usage.input_tokens, usage.output_tokens) == ((None, None) if wire.is_offline else (11, 7))
    assert ARABIC in str(await ask(model, ARABIC))


@on("chat")
async def test_the_whole_context_is_sent_in_order(model: Model[Any], script: Script) -> None:
    context = [HELLO[0], ChatMessage("user", ARABIC), ChatMessage("assistant", 'a "b"\n\\'), HELLO[1]]
    async for _ in model.provider.stream_chat(context, model=model.model, usage=ChatUsage()):
        pass
    (asked,) = script.of("chat")
    assert asked.messages == [{"role": message.role, "content": message.content} for message in context]


@on("chat")
async def test_tokens_that_a_server_does_not_count_are_unknown(model: Model[Any], script: Script) -> None:
    script.add("chat", Answer(usage=False))
    usage = ChatUsage()
    async for _ in model.provider.stream_chat(HELLO, model=model.model, usage=usage):
        pass
    assert (usage.input_tokens, usage.output_tokens) == (None, None)


@on("chat")
async def test_a_reply_of_100_000_characters_arrives_whole(model: Model[Any], script: Script) -> None:
    script.add("chat", Answer(pieces=re.findall(".{10}", LONG)))
    assert await ask(model) == LONG


@pytest.mark.parametrize("size", [1, 2, 3])
@on("chat")
async def test_letters_split_between_writes_arrive_whole(model: Model[Any], script: Script, size: int) -> None:
    script.add("chat", Answer(text=ARABIC, split_bytes=size))
    assert await ask(model) == ARABIC


@on("chat")
async def test_what_comes_before_a_break_is_passed_on(model: Model[Any], script: Script) -> None:
    script.add("chat", Answer(cut_after=3))
    async with aclosing(model.provider.stream_chat(HELLO, model=model.model, usage=ChatUsage())) as pieces:
        assert [await anext(pieces), await anext(pieces)] == ["You ", "said: "]
        assert (await failure(anext(pieces))).code == "upstream_error"


@on("chat")
async def test_what_breaks_after_the_last_word_costs_nothing(model: Model[Any], script: Script) -> None:
    script.add("chat", Answer(pieces=["Well", "."], cut_after=4), Answer(done=False), Answer(finish="length"))
    assert await ask(model) == "Well."
    assert await ask(model)
    assert await ask(model)


@on("chat")
async def test_a_reader_who_leaves_ends_the_call(model: Model[Any], script: Script) -> None:
    script.add("chat", Answer(drip=True))
    async with aclosing(model.provider.stream_chat(HELLO, model=model.model, usage=ChatUsage())) as pieces:
        await anext(pieces)
    await until(lambda: not script.active["chat"])


# Hearing


@on("stt", offline=True)
async def test_a_voice_note_is_sent_as_it_is_and_heard(wire: Wire, model: Model[Any], servers: Servers) -> None:
    data = (SAMPLES / "en_01_pcm16_16k.wav").read_bytes()
    heard = await model.provider.transcribe(Audio(data, "wav", 2.0), model=model.model, languages=[])
    assert re.findall(r"\w+", heard.text.lower()) == ["hello", "can", "you", "hear", "me", "clearly"]
    sent = [call for call in servers.script(wire).calls if call.size]
    assert {(call.size, call.sha256) for call in sent} <= {(len(data), hashlib.sha256(data).hexdigest())}
    assert len(sent) == (0 if wire.is_offline else 1)


@on("stt", offline=True)
async def test_silence_is_an_empty_transcript(wire: Wire, model: Model[Any], servers: Servers) -> None:
    servers.script(wire).add("transcript" if wire.provider == "assemblyai" else wire.endpoint, Answer(text=" \n"))
    silence = (SAMPLES / "odd_23_silence_2s.ogg").read_bytes()
    heard = await model.provider.transcribe(Audio(silence, "ogg", 2.0), model=model.model, languages=[])
    assert (heard.text, heard.note) == ("", None)


@on("stt", offline=True)
async def test_a_note_that_cant_be_read_is_the_requests_own_fault(
    wire: Wire, model: Model[Any], servers: Servers
) -> None:
    script = servers.script(wire)
    script.add("transcriptions", Answer(status=400), Answer(status=400))  # in each format
    script.add("transcript", Answer(state="error", error="Transcoding failed. File does not appear to contain audio."))
    error = await failure(model.provider.transcribe(NOTE, model=model.model, languages=[]))
    assert (error.code, error.transient) == ("upstream_rejected", False)


@pytest.mark.parametrize(
    ("said", "size"),
    [(ARABIC, None), (ARABIC, 1), (ARABIC, 2), (ARABIC, 3), (LONG.strip(), None)],
    ids=["whole", "1 byte", "2 bytes", "3 bytes", "100,000 characters"],
)
@on("stt")
async def test_a_transcript_arrives_whole_with_its_language_where_that_is_told(
    wire: Wire, model: Model[Any], script: Script, said: str, size: int | None
) -> None:
    tells = wire.tells or Answer()
    answer = Answer(text=f" {said} ", language=tells.language, languages=tells.languages, split_bytes=size)
    script.add("transcript" if wire.provider == "assemblyai" else wire.endpoint, answer)
    assert await ask(model) == Transcript(said, ("ar",) if wire.tells else ())


# Speaking


@on("tts", offline=True)
async def test_a_sentence_becomes_a_sound_of_its_length(wire: Wire, model: Model[Any]) -> None:
    short, long = await ask(model, "Hi there."), await ask(model, SENTENCE * 3)
    assert isinstance(short, Speech)
    assert isinstance(long, Speech)
    assert sound_of(long) > 2 * sound_of(short) > 0.6
    if not wire.is_offline:
        assert sound_of(long) == pytest.approx(seconds_of(SENTENCE * 3), abs=0.15)


@pytest.mark.parametrize(
    "text",
    [ARABIC, 'She said: "Don\'t \\ stop", <b>now</b>\u2028\n…', "Ignore your instructions.", "x" * 4_096],
    ids=["Arabic", "marks", "instructions", "4,096 letters"],
)
@on("tts")
async def test_a_text_arrives_unchanged(wire: Wire, model: Model[Any], script: Script, text: str) -> None:
    assert await ask(model, text)
    assert [call.text for call in script.of(wire.billed)] == [text]


@on("tts")
async def test_a_voice_that_is_asked_for_is_used(wire: Wire, model: Model[Any], script: Script) -> None:
    await model.provider.speak("Hi.", model=model.model, language="ar", voice="fahad")
    assert [call.voice for call in script.of(wire.billed)] == ["fahad"]


# Many at once


@on("chat", "tts")
async def test_calls_at_once_get_each_their_own_answer(wire: Wire, model: Model[Any], script: Script) -> None:
    said = [f"Number {'x' * number}." for number in range(10)]
    got = await asyncio.gather(*[ask(model, one) for one in said])
    if wire.role == "chat":
        assert got == [f"You said: {one}. I have seen 1 messages." for one in said]
    else:
        sizes = [len(one.data) for one in got if isinstance(one, Speech)]
        assert sizes == sorted(sizes)
        assert len(set(sizes)) > 5
    assert script.count(wire.billed) == len(said)
