"""The tokens of IBM Cloud's IAM, against a scripted server on a real socket."""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.fakes.openai_script import Answer, Script
from tests.fakes.watsonx import FakeWatsonx
from tests.worker.providers.failing import KEY, babbler, failure, nobody, until
from worker.providers.client import Timeouts
from worker.providers.iam import IamTokens

SHORT = Timeouts(connect_s=0.4, first_byte_s=0.4, idle_s=0.4, total_s=5.0)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeWatsonx]:
    with FakeWatsonx() as fake:
        yield fake


@pytest.fixture
def script(server: FakeWatsonx) -> Script:
    server.script.reset()
    return server.script


class Clock:
    """Time that passes when a test says so."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def tokens(server: FakeWatsonx, script: Script, clock: Clock) -> AsyncIterator[IamTokens]:
    assert script.count("iam") == 0
    opened = IamTokens("watsonx", KEY, server.iam_url, SHORT, clock)
    yield opened
    await opened.close()


async def test_a_key_gets_a_token_that_is_kept(tokens: IamTokens, script: Script) -> None:
    first = await tokens.token()
    assert [await tokens.token() for _ in range(5)] == [first] * 5
    (asked,) = script.of("iam")
    assert asked.sha256 == hashlib.sha256(KEY.encode()).hexdigest()


async def test_many_who_ask_at_once_get_one_token(tokens: IamTokens, script: Script) -> None:
    script.add("iam", Answer(delay_s=0.05))
    got = await asyncio.gather(*[tokens.token() for _ in range(50)])
    assert len({token.value for token in got}) == 1
    assert script.count("iam") == 1


async def test_one_who_gives_up_takes_nobodys_token_along(tokens: IamTokens, script: Script) -> None:
    script.add("iam", Answer(hold=True))
    leaving, staying = asyncio.create_task(tokens.token()), asyncio.create_task(tokens.token())
    await until(lambda: script.count("iam") == 1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    script.release()
    assert await staying == await tokens.token()
    assert script.count("iam") == 1


async def test_a_token_is_renewed_before_it_ends_and_nobody_waits(
    tokens: IamTokens, script: Script, clock: Clock
) -> None:
    script.add("iam", Answer(expires_in=100), Answer(hold=True))
    old = await tokens.token()
    clock.now += 79
    assert await tokens.token() is old
    assert script.count("iam") == 1
    clock.now += 2
    assert [await tokens.token() for _ in range(3)] == [old] * 3
    await until(lambda: script.count("iam") == 2)
    script.release()
    while (new := await tokens.token()) is old:  # noqa: ASYNC110 - as callers come
        await asyncio.sleep(0.01)
    assert new.value != old.value
    assert script.count("iam") == 2


async def test_a_token_that_ended_is_not_used(tokens: IamTokens, script: Script, clock: Clock) -> None:
    script.add("iam", Answer(expires_in=100))
    old = await tokens.token()
    clock.now += 100
    assert (await tokens.token()).value != old.value


async def test_the_old_token_is_used_while_renewal_fails_and_it_is_good(
    tokens: IamTokens, script: Script, clock: Clock
) -> None:
    script.add("iam", Answer(expires_in=100))
    script.always("iam", Answer(status=503))
    old = await tokens.token()
    clock.now += 81
    assert await tokens.token() is old
    await until(lambda: script.count("iam") == 2 and not script.active["iam"])
    await asyncio.sleep(0.05)
    assert await tokens.token() is old
    assert script.count("iam") == 2  # IAM is left in peace for a while
    clock.now += 11
    assert await tokens.token() is old
    await until(lambda: script.count("iam") == 3 and not script.active["iam"])
    clock.now += 10
    assert (await failure(tokens.token())).transient
    script.always("iam", None)
    assert (await tokens.token()).value != old.value


async def test_a_refused_token_is_renewed_once_however_many_met_the_refusal(tokens: IamTokens, script: Script) -> None:
    old = await tokens.token()
    new = await asyncio.gather(*[tokens.renewed(old) for _ in range(5)])
    assert {token.value for token in new} == {(await tokens.token()).value} != {old.value}
    assert script.count("iam") == 2


REFUSALS = {
    "unknown key": (Answer(status=400), ("upstream_unauthorized", False)),
    "401": (Answer(status=401), ("upstream_unauthorized", False)),
    "403": (Answer(status=403), ("upstream_unauthorized", False)),
    "wrong address": (Answer(status=404), ("upstream_rejected", False)),
    "429": (Answer(status=429), ("rate_limited", True)),
    "500": (Answer(status=500), ("upstream_error", True)),
    "503": (Answer(status=503, raw=["<html>"]), ("upstream_error", True)),
    "elsewhere": (Answer(status=307, headers={"location": "/identity/token"}), ("upstream_rejected", False)),
    "reset": (Answer(drop=True), ("upstream_error", True)),
    "cut": (Answer(cut_after=1), ("upstream_error", True)),
    "hangs": (Answer(hang=True), ("upstream_timeout", True)),
    "stalls": (Answer(stall_after=1), ("upstream_timeout", True)),
    "drips": (Answer(drip=True), ("upstream_timeout", True)),
    "nothing": (Answer(raw=[]), ("upstream_error", True)),
    "a page": (Answer(raw=["<html>"]), ("upstream_error", True)),
    "a list": (Answer(raw=["[]"]), ("upstream_error", True)),
    "no token": (Answer(raw=['{"expires_in": 3600}']), ("upstream_error", True)),
    "no life": (Answer(raw=['{"access_token": "verysecret"}']), ("upstream_error", True)),
    "no header": (Answer(raw=['{"access_token": "very secret\\n", "expires_in": 3600}']), ("upstream_error", True)),
    "over already": (Answer(expires_in=0), ("upstream_error", True)),
}


@pytest.mark.parametrize(("answer", "expected"), REFUSALS.values(), ids=REFUSALS)
async def test_a_failure_says_whether_to_try_again_and_the_next_call_asks_anew(
    tokens: IamTokens, script: Script, answer: Answer, expected: tuple[str, bool]
) -> None:
    script.add("iam", answer)
    error = await failure(tokens.token())
    assert (error.code, error.transient) == expected
    assert error.__context__ is None
    assert await tokens.token()
    assert script.count("iam") == 2


async def test_retry_after_is_passed_on(tokens: IamTokens, script: Script) -> None:
    script.add("iam", Answer(status=429, headers={"retry-after": "7"}))
    assert (await failure(tokens.token())).retry_after == 7.0


async def test_each_who_waits_gets_a_failure_of_his_own(tokens: IamTokens, script: Script) -> None:
    script.add("iam", Answer(status=500, delay_s=0.05))
    errors = await asyncio.gather(*[failure(tokens.token()) for _ in range(3)])
    assert len({id(error) for error in errors}) == 3
    assert script.count("iam") == 1


async def test_an_iam_that_is_not_there_is_unreachable() -> None:
    with nobody() as url:
        tokens = IamTokens("watsonx", KEY, url, SHORT)
        assert (await failure(tokens.token())).code == "upstream_unreachable"
        await tokens.close()


async def test_an_iam_that_does_not_speak_http_is_a_failure() -> None:
    async with babbler() as url:
        tokens = IamTokens("watsonx", KEY, url, SHORT)
        assert (await failure(tokens.token())).transient
        await tokens.close()


async def test_closing_ends_a_fetch_that_hangs(server: FakeWatsonx, script: Script, clock: Clock) -> None:
    script.add("iam", Answer(expires_in=100), Answer(hang=True))
    tokens = IamTokens("watsonx", KEY, server.iam_url, Timeouts(), clock)
    await tokens.token()
    clock.now += 90
    await tokens.token()
    await until(lambda: script.count("iam") == 2)
    await tokens.close()
    await until(lambda: not script.active["iam"])


async def test_neither_key_nor_token_is_logged_or_shown(
    tokens: IamTokens, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    script.add("iam", Answer(status=400))
    with caplog.at_level(logging.DEBUG):
        await failure(tokens.token())
        token = await tokens.token()
    assert "verysecret" in token.value
    assert "verysecret" not in f"{caplog.text} {token!r}"


@pytest.mark.parametrize(("url", "key"), [("iam.cloud.ibm.com", KEY), ("https://me:ghij@x", KEY), (None, "ghij ghij")])
def test_a_url_or_key_that_cant_be_one_is_refused_at_once(url: str | None, key: str) -> None:
    with pytest.raises(ValueError, match="'watsonx'") as caught:
        IamTokens("watsonx", key, url or "https://iam", SHORT)
    assert "ghij" not in str(caught.value)
