"""A server that refuses a parameter is asked again otherwise, at once, and is not asked so any more."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from shared.provider_presets import Preset
from tests.fakes.openai_script import Answer, Script
from tests.fakes.openai_server import FakeOpenAI
from tests.fakes.watsonx import FakeWatsonx
from tests.worker.providers.failing import KEY, failure
from worker.providers.base import Audio, ChatMessage, ChatUsage
from worker.providers.client import Timeouts
from worker.providers.openai import OpenAIProvider
from worker.providers.watsonx import WatsonxProvider

HELLO = [ChatMessage("user", "Hello")]
NOTE = Audio(b"\x00\x01voice", "ogg", 1.0)
MOST = 50


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
    opened = OpenAIProvider("mine", server.url, KEY, Timeouts())
    yield opened
    await opened.close()


async def chat(provider: OpenAIProvider | WatsonxProvider, model: str = "m", most: int | None = MOST) -> str:
    pieces = provider.stream_chat(HELLO, model=model, usage=ChatUsage(), max_tokens=most)
    return "".join([piece async for piece in pieces])


def named(parameter: str, status: int = 400) -> Answer:
    """OpenAI's own form."""
    message = f"Unsupported parameter: '{parameter}' is not supported with this model."
    error = {"message": message, "type": "invalid_request_error", "param": parameter, "code": "unsupported_parameter"}
    return Answer(status=status, error=error)


def body(told: object, status: int = 400) -> Answer:
    return Answer(status=status, raw=[told if isinstance(told, str) else json.dumps(told)])


FORMS = {
    "param": named("stream_options"),
    "a part of it": named("stream_options.include_usage"),
    "words": Answer(status=400, error={"message": "Unknown field `stream_options` in the request", "param": None}),
    "a string": body({"error": "unrecognized request argument supplied: stream_options"}),
    "plain text": body("Failed to deserialize the JSON body: unknown field `stream_options` at line 1", 422),
    "FastAPI": body(
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}, 422
    ),
    "vLLM": body(
        {"object": "error", "code": 400, "param": None,
         "message": "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted'}]"}
    ),
    "a message of its own": body({"message": "property 'stream_options' is unsupported"}),
    "not implemented": named("stream_options", 501),
    "a line of its own": body({"error": {"message": "1 validation error\nstream_options\n  Extra inputs are not permitted"}}),
    "Mistral": body(
        {"message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs"}]}}, 422
    ),
    "Gemini": body([{"error": {"message": 'Unknown name "stream_options": Cannot find field.'}}]),
    "LiteLLM": body({"error": {"message": "openai does not support parameters: {'stream_options': {}}", "code": "400"}}),
}  # fmt: skip


@pytest.mark.parametrize("answer", FORMS.values(), ids=FORMS)
async def test_a_parameter_is_left_out_however_it_is_refused(
    provider: OpenAIProvider, script: Script, answer: Answer
) -> None:
    script.add("chat", answer)
    assert await chat(provider)
    assert await chat(provider)
    assert [call.wishes for call in script.of("chat")] == [
        {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": MOST},
        {"stream": True, "max_tokens": MOST},
        {"stream": True, "max_tokens": MOST},
    ]


@pytest.mark.parametrize(
    ("first", "other"), [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")]
)
async def test_a_limit_is_asked_for_in_the_other_spelling(
    server: FakeOpenAI, script: Script, first: Any, other: str
) -> None:
    provider = OpenAIProvider("mine", server.url, KEY, Timeouts(), Preset(max_tokens=first))
    message = f"Unsupported parameter: '{first}' is not supported with this model. Use '{other}' instead."
    script.add("chat", Answer(status=400, error={"message": message, "param": first, "code": "unsupported_parameter"}))
    assert await chat(provider)
    assert await chat(provider)
    asked = [{name for name in call.wishes if name.startswith("max")} for call in script.of("chat")]
    assert asked == [{first}, {other}, {other}]
    assert {call.max_tokens for call in script.of("chat")} == {MOST}
    await provider.close()


async def test_a_limit_in_no_spelling_and_every_other_parameter_may_go(
    provider: OpenAIProvider, script: Script
) -> None:
    for name in ("max_tokens", "stream_options", "max_completion_tokens"):
        script.add("chat", named(name))
    assert await chat(provider)
    assert script.count("chat") == 4
    assert script.of("chat")[-1].wishes == {"stream": True}


async def test_a_server_that_does_not_stream_is_asked_for_all_of_it(provider: OpenAIProvider, script: Script) -> None:
    message = "Your organization must be verified to stream this model."
    script.add("chat", Answer(status=400, error={"message": message, "param": "stream", "code": "unsupported_value"}))
    assert await chat(provider) == "You said: Hello. I have seen 1 messages."
    assert script.of("chat")[-1].wishes == {"max_tokens": MOST}


async def test_what_one_model_refuses_another_is_asked_for(provider: OpenAIProvider, script: Script) -> None:
    script.add("chat", named("stream_options"))
    for model in ("first", "second", "first"):
        assert await chat(provider, model)
    asked = [(call.model, "stream_options" in call.wishes) for call in script.of("chat")]
    assert asked == [("first", True), ("first", False), ("second", True), ("first", False)]


async def test_what_is_refused_in_any_case_is_not_remembered(provider: OpenAIProvider, script: Script) -> None:
    script.add("chat", named("stream_options"), Answer(status=400))
    assert (await failure(chat(provider))).code == "upstream_rejected"
    assert await chat(provider)
    assert "stream_options" in script.of("chat")[-1].wishes


async def test_a_limit_that_is_too_high_is_left_out_at_once_and_asked_for_again(
    provider: OpenAIProvider, script: Script
) -> None:
    message = "max_tokens is too large: 50. This model supports at most 40 completion tokens."
    too_high = Answer(status=400, error={"message": message, "param": "max_tokens", "code": "invalid_value"})
    script.add("chat", too_high, Answer(), too_high)
    assert await chat(provider)
    assert await chat(provider)
    limits = [name for call in script.of("chat") for name in (*call.wishes, None) if name is None or "max" in name]
    assert limits == ["max_tokens", None, None] * 2


NOT_ABOUT_THEM = {
    "nothing in particular": (Answer(status=400), "upstream_rejected"),
    "the length": (
        Answer(status=400, error={"message": "Reduce your prompt or max_tokens.", "code": "context_length_exceeded"}),
        "upstream_rejected",
    ),
    "the key": (Answer(status=401, error={"message": "max_tokens", "param": "max_tokens"}), "upstream_unauthorized"),
    "a fault of its own": (Answer(status=500, error={"message": "stream_options"}), "upstream_error"),
    "an English word": (body({"error": {"message": "The stream of messages is malformed."}}), "upstream_rejected"),
    "another field": (
        body({"detail": [{"loc": ["body", "user"], "msg": "Field required", "input": {"max_tokens": 50}}]}, 422),
        "upstream_rejected",
    ),
}


@pytest.mark.parametrize(("answer", "code"), NOT_ABOUT_THEM.values(), ids=NOT_ABOUT_THEM)
async def test_what_is_not_about_a_parameter_is_asked_once(
    provider: OpenAIProvider, script: Script, answer: Answer, code: str
) -> None:
    script.add("chat", answer)
    assert (await failure(chat(provider))).code == code
    assert script.count("chat") == 1


# Speech


async def test_a_language_that_a_model_does_not_know_is_no_hint(provider: OpenAIProvider, script: Script) -> None:
    script.add("transcriptions", named("language"))
    for language in ("yo", "yo", "ar"):
        assert (await provider.transcribe(NOTE, model="whisper-1", languages=[language])).text
    assert [call.language for call in script.of("transcriptions")] == ["yo", None, None, "ar"]
    assert {call.response_format for call in script.of("transcriptions")} == {"verbose_json"}


async def test_a_list_of_languages_may_be_refused(provider: OpenAIProvider, script: Script) -> None:
    script.add("transcriptions", body({"detail": [{"loc": ["body", "languages"], "msg": "Extra inputs"}]}, 422))
    for _ in range(2):
        assert (await provider.transcribe(NOTE, model="gpt-transcribe", languages=["ar", "en"])).text
    assert [call.languages for call in script.of("transcriptions")] == [["ar", "en"], [], []]


async def test_a_server_that_takes_no_transcript_format_gets_none(provider: OpenAIProvider, script: Script) -> None:
    script.add("transcriptions", named("response_format"), named("response_format"))
    for _ in range(2):
        assert (await provider.transcribe(NOTE, model="whisper-1", languages=[])).text
    formats = [call.response_format for call in script.of("transcriptions")]
    assert formats == ["verbose_json", "json", None, None]


@pytest.mark.parametrize("parameter", ["response_format", "voice"])
async def test_speech_is_asked_for_without_what_its_server_refuses(
    provider: OpenAIProvider, script: Script, parameter: str
) -> None:
    script.add("speech", named(parameter))
    for _ in range(2):
        assert (await provider.speak("Hello.", model="m", language="en", voice=None)).data
    usual = {"response_format": "mp3", "voice": "alloy"}
    asked = [{"response_format": call.response_format, "voice": call.voice} for call in script.of("speech")]
    assert asked == [usual, usual | {parameter: None}, usual | {parameter: None}]


async def test_a_voice_that_somebody_chose_is_not_left_out(provider: OpenAIProvider, script: Script) -> None:
    script.add("speech", named("voice"))
    assert (await failure(provider.speak("Hi.", model="m", language="en", voice="nova"))).code == "upstream_rejected"
    assert script.count("speech") == 1


async def test_watsonx_is_asked_for_a_limit_in_the_other_spelling() -> None:
    with FakeWatsonx() as fake:
        provider = WatsonxProvider("watsonx", fake.url, KEY, "project-1", fake.iam_url, Timeouts())
        told = {"errors": [{"code": "json_validation_error", "message": "max_tokens is not allowed"}]}
        fake.script.add("chat", body(told))
        assert await chat(provider)
        assert await chat(provider)
        assert [call.max_tokens for call in fake.script.of("chat")] == [MOST, None, None]
        await provider.close()
