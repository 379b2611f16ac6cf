"""The watsonx.ai client against a scripted server, and its IAM, on a real socket."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import replace

import pytest

from tests.fakes.openai_script import Answer, Script
from tests.fakes.watsonx import FakeWatsonx, errors_of, event_of
from tests.worker.providers.failing import KEY, babbler, failure, nobody, until
from worker.providers.base import ChatMessage, ChatProvider, ChatUsage
from worker.providers.client import Timeouts
from worker.providers.watsonx import WatsonxProvider

SHORT = Timeouts(connect_s=0.2, first_byte_s=0.2, idle_s=0.2, total_s=20.0)
HELLO = [ChatMessage("system", "Be kind."), ChatMessage("user", "Hello")]
ARABIC = "مرحبا، كيف حالك اليوم؟ أنا بخير 🙂"
WORD = event_of({"choices": [{"index": 0, "finish_reason": None, "delta": {"content": "Well"}}]})
END = event_of({"choices": [{"index": 0, "finish_reason": "stop", "delta": {"content": "."}}]})


@pytest.fixture(scope="module")
def server() -> Iterator[FakeWatsonx]:
    with FakeWatsonx() as fake:
        yield fake


@pytest.fixture
def script(server: FakeWatsonx) -> Script:
    server.script.reset()
    return server.script


@pytest.fixture(scope="module")
async def provider(server: FakeWatsonx) -> AsyncIterator[WatsonxProvider]:
    opened = WatsonxProvider("watsonx", server.url, KEY, "project-1", server.iam_url, Timeouts())
    yield opened
    await opened.close()


@pytest.fixture
async def fresh(server: FakeWatsonx, script: Script) -> AsyncIterator[WatsonxProvider]:
    """One that has no token yet."""
    assert script.count("iam") == 0
    opened = WatsonxProvider("watsonx", server.url, KEY, "project-1", server.iam_url, Timeouts())
    yield opened
    await opened.close()


@pytest.fixture
async def hasty(server: FakeWatsonx) -> AsyncIterator[WatsonxProvider]:
    opened = WatsonxProvider("watsonx", server.url, KEY, "project-1", server.iam_url, SHORT)
    yield opened
    await opened.close()


async def chat(provider: ChatProvider, messages: list[ChatMessage] = HELLO, usage: ChatUsage | None = None) -> str:
    return "".join([piece async for piece in provider.stream_chat(messages, model="m", usage=usage or ChatUsage())])


# Replies


async def test_a_reply_streams_and_its_tokens_are_counted(provider: WatsonxProvider, script: Script) -> None:
    usage = ChatUsage()
    model = "meta-llama/llama-3-3-70b-instruct"
    pieces = [piece async for piece in provider.stream_chat(HELLO, model=model, usage=usage)]
    assert "".join(pieces) == "You said: Hello. I have seen 1 messages."
    assert len(pieces) > 1
    assert (usage.input_tokens, usage.output_tokens) == (11, 7)
    (asked,) = script.of("chat")
    assert asked.model == model
    assert asked.messages == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
    assert asked.wishes == {"project_id": "project-1", "version": "2025-02-11"}


async def test_a_server_that_does_not_count_leaves_tokens_unknown(provider: WatsonxProvider, script: Script) -> None:
    script.add("chat", Answer(usage=False))
    usage = ChatUsage()
    assert await chat(provider, usage=usage)
    assert (usage.input_tokens, usage.output_tokens) == (None, None)


@pytest.mark.parametrize(("limit", "sent"), [(None, 0), (50, 50)])
async def test_a_reply_is_as_long_as_is_asked_for_and_not_as_the_server_likes(
    provider: WatsonxProvider, script: Script, limit: int | None, sent: int
) -> None:
    async for _ in provider.stream_chat(HELLO, model="m", usage=ChatUsage(), max_tokens=limit):
        pass
    assert script.of("chat")[0].max_tokens == sent


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_letters_split_between_writes_arrive_whole(provider: WatsonxProvider, script: Script, size: int) -> None:
    script.add("chat", Answer(text=ARABIC, split_bytes=size))
    assert await chat(provider, [ChatMessage("user", ARABIC)]) == ARABIC
    assert script.of("chat")[0].text == ARABIC


async def test_a_reply_of_100_000_characters_arrives_whole(provider: WatsonxProvider, script: Script) -> None:
    pieces = [f"{number:09d} " for number in range(10_000)]
    script.add("chat", Answer(pieces=pieces))
    assert await chat(provider) == "".join(pieces)


async def test_what_breaks_after_the_last_word_costs_nothing(provider: WatsonxProvider, script: Script) -> None:
    late = event_of(errors_of("downstream_request_failed", 500), "error")
    script.add("chat", Answer(pieces=["Well", "."], cut_after=4), Answer(raw=[WORD, END, late]))
    assert [await chat(provider), await chat(provider)] == ["Well.", "Well."]


async def test_a_reader_who_leaves_ends_the_call(provider: WatsonxProvider, script: Script) -> None:
    script.add("chat", Answer(drip=True))
    async with aclosing(provider.stream_chat(HELLO, model="m", usage=ChatUsage())) as pieces:
        await anext(pieces)
    await until(lambda: not script.active["chat"])


@pytest.mark.parametrize(
    "answer",
    [Answer(text=""), Answer(pieces=[" ", "\n"]), Answer(tool_call=True)],
    ids=["empty", "blank", "tool call only"],
)
async def test_a_reply_without_words_is_a_failure(provider: WatsonxProvider, script: Script, answer: Answer) -> None:
    script.add("chat", answer)
    error = await failure(chat(provider))
    assert (error.code, error.transient) == ("empty_reply", True)


BROKEN_STREAMS = {
    "cut at once": Answer(cut_after=0),
    "cut after some words": Answer(cut_after=3),
    "reset": Answer(drop=True),
    "ends without a finish": Answer(finish=None),
    "half a chunk": Answer(raw=['data: {"choices": [{"delta": {"conte\n\n']),
    "a page": Answer(raw=["<html>down for maintenance</html>"], content_type="text/html"),
    "nothing": Answer(raw=[]),
    "not UTF-8": Answer(raw=['data: {"choices": [{"delta": {"content": "\udcff\udcfe"}}]}\n\n']),
    "finish_reason error": Answer(finish="error"),
    "errors that are none": Answer(raw=[WORD, event_of({"errors": "verysecret"}, "error")]),
    "an error without a code": Answer(raw=[event_of({"errors": [None, {"code": ["x"]}], "status_code": "?"})]),
    "an error without errors": Answer(raw=[WORD, event_of({"message": "verysecret"}, "error")]),
}


@pytest.mark.parametrize("answer", BROKEN_STREAMS.values(), ids=BROKEN_STREAMS)
async def test_a_broken_stream_may_be_tried_again(provider: WatsonxProvider, script: Script, answer: Answer) -> None:
    script.add("chat", answer)
    error = await failure(chat(provider))
    assert (error.code, error.transient) == ("upstream_error", True)
    assert script.count("chat") == 1


# Refusals

NAMED = [
    ("token_quota_reached", 403, ("insufficient_quota", False)),
    ("consumption_limit_reached", 429, ("rate_limited", True)),
    ("rate_limit_reached_requests", 429, ("rate_limited", True)),
    ("model_not_supported", 404, ("model_not_found", False)),
    ("model_no_support_for_function", 400, ("model_not_found", False)),
    ("user_authorization_failed", 403, ("upstream_unauthorized", False)),
    ("invalid_request_entity", 400, ("upstream_rejected", False)),
    ("invalid_input_argument", 400, ("upstream_rejected", False)),
    ("downstream_request_failed", 500, ("upstream_error", True)),
    ("never heard of", 503, ("upstream_error", True)),
]


@pytest.mark.parametrize("within", ["body", "stream"])
@pytest.mark.parametrize(("code", "status", "expected"), NAMED)
async def test_an_error_says_whether_to_try_again(
    provider: WatsonxProvider, script: Script, within: str, code: str, status: int, expected: tuple[str, bool]
) -> None:
    told = event_of(errors_of(code, status, "verysecret"), "error")
    script.add("chat", Answer(raw=[WORD, told]) if within == "stream" else Answer(status=status, error=code))
    error = await failure(chat(provider))
    assert (error.code, error.transient) == expected
    assert script.count("chat") == 1


async def test_a_token_that_ends_within_a_stream_is_a_refusal(provider: WatsonxProvider, script: Script) -> None:
    for code in ("authentication_token_expired", "authentication_token_not_valid"):
        script.add("chat", Answer(raw=[event_of({"errors": [{"code": code}]}, "error")]))
        assert (await failure(chat(provider))).code == "upstream_unauthorized"


async def test_an_error_within_a_stream_follows_the_words_before_it(provider: WatsonxProvider, script: Script) -> None:
    script.add("chat", Answer(raw=[WORD, event_of(errors_of("token_quota_reached", 403), "error"), WORD, END]))
    pieces = provider.stream_chat(HELLO, model="m", usage=ChatUsage())
    assert await anext(pieces) == "Well"
    assert (await failure(anext(pieces))).code == "insufficient_quota"


@pytest.mark.parametrize(("headers", "seconds"), [({"retry-after": "7"}, 7.0), ({}, None)])
async def test_retry_after_is_honoured(
    provider: WatsonxProvider, script: Script, headers: dict[str, str], seconds: float | None
) -> None:
    for status in (429, 503):
        script.add("chat", Answer(status=status, headers=headers))
        assert (await failure(chat(provider))).retry_after == seconds


BODIES = ["", "<html>verysecret</html>", "[]", '{"errors": "x"}', '{"errors": [5]}', '{"errors": [{}]}', "\udcff"]


@pytest.mark.parametrize("body", BODIES)
async def test_a_refusal_with_any_body_is_told_by_its_status(
    provider: WatsonxProvider, script: Script, body: str
) -> None:
    script.add("chat", Answer(status=404, raw=[body]))
    assert (await failure(chat(provider))).code == "model_not_found"


# Time


async def test_a_server_that_never_answers_times_out(hasty: WatsonxProvider, script: Script) -> None:
    for answer in (Answer(hang=True), Answer(stall_after=0)):
        script.add("chat", answer)
        error = await failure(chat(hasty))
        assert (error.code, error.transient) == ("upstream_timeout", True)


async def test_a_stream_that_falls_silent_times_out(hasty: WatsonxProvider, script: Script) -> None:
    script.add("chat", Answer(stall_after=3))
    pieces = hasty.stream_chat(HELLO, model="m", usage=ChatUsage())
    assert [await anext(pieces), await anext(pieces)] == ["You ", "said: "]
    assert (await failure(anext(pieces))).code == "upstream_timeout"


async def test_an_endless_drip_is_ended(server: FakeWatsonx, script: Script) -> None:
    script.add("chat", Answer(drip=True))
    short = replace(SHORT, total_s=0.4)
    provider = WatsonxProvider("watsonx", server.url, KEY, "project-1", server.iam_url, short)
    assert (await failure(chat(provider))).code == "upstream_timeout"
    await provider.close()


async def test_a_server_that_is_not_there_is_unreachable(server: FakeWatsonx) -> None:
    with nobody() as url:
        provider = WatsonxProvider("watsonx", url, KEY, "project-1", server.iam_url, SHORT)
        error = await failure(chat(provider))
        assert (error.code, error.transient) == ("upstream_unreachable", True)
        await provider.close()


async def test_a_server_that_does_not_speak_http_is_a_failure(server: FakeWatsonx) -> None:
    async with babbler() as url:
        provider = WatsonxProvider("watsonx", url, KEY, "project-1", server.iam_url, SHORT)
        assert (await failure(chat(provider))).transient
        await provider.close()


async def test_a_lost_connection_does_not_spoil_the_next_call(provider: WatsonxProvider, script: Script) -> None:
    script.add("chat", Answer(), Answer(drop=True), Answer(), Answer(cut_after=2), Answer())
    good = await chat(provider)
    for _ in range(2):
        assert (await failure(chat(provider))).transient
        assert await chat(provider) == good


# Tokens


async def test_many_calls_share_one_token(fresh: WatsonxProvider, script: Script) -> None:
    await asyncio.gather(*[chat(fresh) for _ in range(10)])
    assert await chat(fresh)
    assert (script.count("iam"), script.count("chat"), script.count("refused")) == (1, 11, 0)


async def test_a_call_after_the_tokens_end_has_another_one(fresh: WatsonxProvider, script: Script) -> None:
    script.add("iam", Answer(expires_in=0.3))
    assert await chat(fresh)
    await asyncio.sleep(0.31)
    assert await chat(fresh)
    assert (script.count("iam"), script.count("refused")) == (2, 0)


async def test_a_token_that_is_refused_is_renewed_and_the_call_made_once_more(
    fresh: WatsonxProvider, server: FakeWatsonx, script: Script
) -> None:
    said = await chat(fresh)
    server.routes.revoke()
    assert await asyncio.gather(*[chat(fresh) for _ in range(5)]) == [said] * 5
    assert (script.count("iam"), script.count("chat")) == (2, 6)
    assert 1 <= script.count("refused") <= 5


async def test_a_call_is_not_made_a_third_time(fresh: WatsonxProvider, script: Script) -> None:
    assert await chat(fresh)
    script.add("chat", Answer(status=401), Answer(status=401))
    assert (await failure(chat(fresh))).code == "upstream_unauthorized"
    assert (script.count("iam"), script.count("chat")) == (2, 3)


async def test_a_new_token_that_is_refused_is_not_tried_again(fresh: WatsonxProvider, script: Script) -> None:
    script.add("chat", Answer(status=401))
    error = await failure(chat(fresh))
    assert (error.code, error.transient) == ("upstream_unauthorized", False)
    assert (script.count("iam"), script.count("chat")) == (1, 1)


async def test_a_key_that_iam_does_not_know_is_told_as_such(fresh: WatsonxProvider, script: Script) -> None:
    script.add("iam", Answer(status=400))
    error = await failure(chat(fresh))
    assert (error.code, error.transient) == ("upstream_unauthorized", False)
    assert script.count("chat") == 0


async def test_a_renewal_that_fails_after_a_refusal_is_the_failure(
    fresh: WatsonxProvider, server: FakeWatsonx, script: Script
) -> None:
    assert await chat(fresh)
    server.routes.revoke()
    script.add("iam", Answer(status=503))
    error = await failure(chat(fresh))
    assert (error.code, error.transient) == ("upstream_error", True)
    assert await chat(fresh)


async def test_an_iam_that_hangs_times_out(hasty: WatsonxProvider, script: Script) -> None:
    script.add("iam", Answer(hang=True))
    error = await failure(chat(hasty))
    assert (error.code, error.transient) == ("upstream_timeout", True)


async def test_cancelling_while_iam_is_asked_is_not_a_failure(fresh: WatsonxProvider, script: Script) -> None:
    script.add("iam", Answer(hold=True))
    task = asyncio.create_task(chat(fresh))
    await until(lambda: script.count("iam") == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    script.release()
    assert await chat(fresh)
    assert script.count("iam") == 1


async def test_neither_key_nor_token_is_logged(
    fresh: WatsonxProvider, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.add("chat", Answer(status=500), Answer())
    with caplog.at_level(logging.DEBUG):
        await failure(chat(fresh))
        assert await chat(fresh)
    assert "verysecret" not in caplog.text
    assert "verysecret" not in json.dumps(script.dump())


@pytest.mark.parametrize(
    ("url", "iam_url", "key"),
    [("us-south.ml", "https://i", KEY), ("https://u", "iam", KEY), ("https://u", "https://i", "ghij ghij")],
)
def test_a_url_or_key_that_cant_be_one_is_refused_at_once(url: str, iam_url: str, key: str) -> None:
    with pytest.raises(ValueError, match="'watsonx'") as caught:
        WatsonxProvider("watsonx", url, key, "project-1", iam_url, SHORT)
    assert "ghij" not in str(caught.value)
