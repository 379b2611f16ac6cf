"""The watsonx.ai client against a scripted server, and its IAM, on a real socket."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fakes.openai_script import Answer, Script
from tests.fakes.watsonx import FakeWatsonx, errors_of, event_of
from tests.worker.providers.failing import KEY, failure, until
from worker.providers.base import ChatMessage, ChatProvider, ChatUsage
from worker.providers.client import Timeouts
from worker.providers.watsonx import WatsonxProvider

SHORT = Timeouts(connect_s=0.2, first_byte_s=0.2, idle_s=0.2, total_s=20.0)
HELLO = [ChatMessage("system", "Be kind."), ChatMessage("user", "Hello")]
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


@pytest.mark.parametrize(("limit", "sent"), [(None, 0), (50, 50)])
async def test_a_reply_is_as_long_as_is_asked_for_and_not_as_the_server_likes(
    provider: WatsonxProvider, script: Script, limit: int | None, sent: int
) -> None:
    async for _ in provider.stream_chat(HELLO, model="m", usage=ChatUsage(), max_tokens=limit):
        pass
    assert script.of("chat")[0].max_tokens == sent


async def test_an_error_after_the_last_word_costs_nothing(provider: WatsonxProvider, script: Script) -> None:
    late = event_of(errors_of("downstream_request_failed", 500), "error")
    script.add("chat", Answer(raw=[WORD, END, late]))
    assert await chat(provider) == "Well."


BROKEN_STREAMS = {
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


BODIES = ['{"errors": "x"}', '{"errors": [5]}', '{"errors": [{}]}']


@pytest.mark.parametrize("body", BODIES)
async def test_a_refusal_with_any_body_is_told_by_its_status(
    provider: WatsonxProvider, script: Script, body: str
) -> None:
    script.add("chat", Answer(status=404, raw=[body]))
    assert (await failure(chat(provider))).code == "model_not_found"


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
