"""The shapes in which servers send replies, on both wires that have them."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.fakes.openai_script import Answer, Script
from tests.fakes.openai_server import FakeOpenAI
from tests.worker.providers.failing import KEY, failure
from worker.providers.base import ChatMessage, ChatUsage
from worker.providers.client import Timeouts
from worker.providers.openai import OpenAIProvider

HELLO = [ChatMessage("user", "Hello")]
DONE = "data: [DONE]\n\n"


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


def event(choice: dict[str, Any]) -> str:
    return f"data: {json.dumps({'choices': [choice]})}\n\n"


def delta(finish: str | None = "stop", **fields: Any) -> str:
    return event({"index": 0, "delta": fields, "finish_reason": finish})


async def ask(provider: OpenAIProvider, usage: ChatUsage | None = None) -> str:
    pieces = provider.stream_chat(HELLO, model="m", usage=usage or ChatUsage())
    return "".join([piece async for piece in pieces])


SAID = {
    "a refusal": [delta(None, refusal="No, "), delta(refusal="sorry.")],
    "a refusal among parts": [delta(content=[{"type": "refusal", "refusal": "No, sorry."}])],
    "a refusal in a message": [event({"message": {"content": None, "refusal": "No, sorry."}, "finish_reason": "stop"})],
    "parts": [delta(content=[{"type": "text", "text": "No, "}, {"type": "text", "text": "sorry."}])],
    "parts without a type": [delta(content=[{"text": "No, sorry."}])],
    "output parts": [delta(content=[{"type": "output_text", "text": "No, sorry."}])],
    "parts that think": [
        delta(None, content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]),
        delta(content=[{"type": "text", "text": "No, sorry."}]),
    ],
    "odd parts": [delta(content=[None, 5, {"type": 7, "text": "x"}, {"type": "image_url"}, {"type": "text", "text": "No, sorry."}])],
    "a message in place of a delta": [event({"message": {"content": "No, sorry."}, "finish_reason": "stop"})],
    "messages in place of deltas": [
        event({"message": {"content": "No, "}}), event({"message": {"content": "sorry."}, "finish_reason": "stop"})
    ],
    "a message that repeats the deltas": [
        delta(None, content="No, "), delta(None, content="sorry."), event({"message": {"content": "No, sorry."}, "finish_reason": "stop"})
    ],
    "no finish reason": [delta(None, content="No, sorry.")],
    "an empty delta": [delta(None, content="No, sorry."), event({"index": 0, "delta": None, "finish_reason": "stop"})],
}  # fmt: skip


@pytest.mark.parametrize("events", SAID.values(), ids=SAID)
@pytest.mark.parametrize("split", [None, 1], ids=["whole", "byte by byte"])
async def test_a_reply_is_read_in_whatever_shape_it_comes(
    provider: OpenAIProvider, script: Script, events: list[str], split: int | None
) -> None:
    script.add("chat", Answer(raw=[*events, DONE], split_bytes=split))
    assert await ask(provider) == "No, sorry."


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm."},
        {"reasoning": "Hm.", "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
        {
            "reasoning_details": [
                {"type": "reasoning.summary", "summary": "Hm."},
                {"type": "reasoning.encrypted", "data": "x"},
            ]
        },
        {"thinking": "Hm."},
        {"content": [{"type": "thinking", "thinking": "Hm."}]},
        {"content": [{"type": "reasoning", "text": "Hm."}]},
    ],
)
async def test_a_thought_of_its_own_is_no_part_of_the_answer(
    provider: OpenAIProvider, script: Script, fields: dict[str, Any]
) -> None:
    script.add("chat", Answer(raw=[delta(None, **fields), delta(content="The user is welcome."), DONE]))
    usage = ChatUsage()
    assert await ask(provider, usage) == "The user is welcome."
    assert (usage.reasoning, usage.finish_reason) == ("Hm.", "stop")


async def test_a_stream_that_ends_with_neither_a_reason_nor_its_end_is_broken_off(
    provider: OpenAIProvider, script: Script
) -> None:
    script.add("chat", Answer(raw=[delta(None, content="Hello.")]))
    assert (await failure(ask(provider))).code == "upstream_error"


@pytest.mark.parametrize("reason", ["error", "network_error", "insufficient_system_resource", "abort"])
async def test_a_reply_that_its_server_could_not_end_is_broken_off(
    provider: OpenAIProvider, script: Script, reason: str
) -> None:
    script.add("chat", Answer(raw=[delta(None, content="Hello."), delta(reason), DONE]))
    error = await failure(ask(provider))
    assert (error.code, error.transient) == ("upstream_error", True)


@pytest.mark.parametrize(
    "error",
    [
        {"code": "content_filter", "param": "prompt", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        {"code": None, "param": "prompt", "innererror": {"code": "ResponsibleAIPolicyViolation"}},
        {"code": "data_inspection_failed"},
        {"code": "1301"},
    ],
)
async def test_a_prompt_that_a_content_policy_refuses_is_asked_once(
    provider: OpenAIProvider, script: Script, error: dict[str, Any]
) -> None:
    script.add("chat", Answer(status=400, error={"message": "The response was filtered.", **error}))
    refused = await failure(ask(provider))
    assert (refused.code, refused.transient, "content policy" in refused.detail) == ("upstream_rejected", False, True)
    assert script.count("chat") == 1


WHOLE = {"choices": [{"message": {"content": "<think>Hm.</think>Hello."}, "finish_reason": "stop"}]}
COUNTED = {"prompt_tokens": 11, "completion_tokens": 7}


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", "text/plain"])
@pytest.mark.parametrize("split", [None, 1], ids=["whole", "byte by byte"])
async def test_a_server_that_does_not_stream_is_understood(
    provider: OpenAIProvider, script: Script, content_type: str, split: int | None
) -> None:
    body = json.dumps({**WHOLE, "usage": COUNTED}, indent=1)
    script.add("chat", Answer(raw=["\n ", body], content_type=content_type, split_bytes=split))
    usage = ChatUsage()
    assert await ask(provider, usage) == "Hello."
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning) == (11, 7, "Hm.")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"code": "insufficient_quota"}}, "insufficient_quota"),
        ({"error": "it broke"}, "upstream_error"),
        ({"choices": []}, "empty_reply"),
        ({"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}, "output_limit_reached"),
        ({"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}, "content_filter"),
    ],
)
async def test_a_whole_body_fails_as_a_stream_does(
    provider: OpenAIProvider, script: Script, body: dict[str, Any], code: str
) -> None:
    script.add("chat", Answer(raw=[json.dumps(body)], content_type="application/json"))
    assert (await failure(ask(provider))).code == code


async def test_half_a_body_is_broken_off(provider: OpenAIProvider, script: Script) -> None:
    script.add("chat", Answer(raw=[json.dumps(WHOLE)[:-9]], content_type="application/json"))
    assert (await failure(ask(provider))).code == "upstream_error"


async def test_a_body_without_end_is_given_up(provider: OpenAIProvider, script: Script) -> None:
    script.add("chat", Answer(raw=['{"x": "', "y" * 1_000_000], drip=True))
    assert (await failure(ask(provider))).code == "upstream_error"


@pytest.mark.parametrize("size", [1, 3])
async def test_thoughts_split_anywhere_on_the_wire_are_cut_out(
    provider: OpenAIProvider, script: Script, size: int
) -> None:
    text = "<think>\nHm, 🙂 سبعة\n</think>\n\nAt seven 🙂."
    script.add("chat", Answer(pieces=[text[at : at + size] for at in range(0, len(text), size)], split_bytes=1))
    assert await ask(provider) == "At seven 🙂."


async def test_what_was_shown_and_was_no_answer_is_told_to_be(provider: OpenAIProvider, script: Script) -> None:
    script.add("chat", Answer(pieces=["Breakfast? ", "Seven.", "\n</think>\n", "At seven."]))
    shown: list[str] = []
    usage = ChatUsage(on_restart=shown.clear)
    async for piece in provider.stream_chat(HELLO, model="m", usage=usage):
        shown.extend([piece])
    assert "".join(shown) == "At seven."
    assert usage.reasoning == "Breakfast? Seven."


async def test_a_reply_that_begins_like_a_thought_is_shown_long_before_its_end(
    provider: OpenAIProvider, script: Script
) -> None:
    text = "The user asks, and the system answers."
    script.add("chat", Answer(pieces=[text, *"." * 30], chunk_delay_s=0.2))
    shown = [piece async for piece in provider.stream_chat(HELLO, model="m", usage=ChatUsage())]
    assert "".join(shown) == text + "." * 30
    assert len(shown) > 5
