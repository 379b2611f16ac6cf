"""Who is passed over, for how long, and who takes their place."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shared.catalogue import CatalogueModel
from shared.errors import Upstream
from shared.provider_presets import ModelRef, Role
from worker.providers.circuits import LONGEST_S, Circuits
from worker.providers.failures import (
    EMPTY_REPLY,
    FAILED,
    NO_MODEL,
    NO_QUOTA,
    RATE_LIMITED,
    REJECTED,
    UNREACHABLE,
    Kind,
    failure,
)
from worker.providers.fallback import BrokenOffError, first_to_answer
from worker.providers.offline import OfflineProvider
from worker.providers.registry import Model

PROVIDER = OfflineProvider()


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuits(clock: Clock) -> Circuits:
    return Circuits(clock)


def model(name: str, role: Role = "chat", follows: str = "") -> Model[OfflineProvider]:
    ref = ModelRef.parse(name)
    entry = CatalogueModel(id=name, kind=role)
    return Model(role, ref.provider, ref.model, PROVIDER, entry, is_home=True, follows=frozenset(follows.split()))


def fail(kind: Kind, retry_after: float | None = None) -> Upstream:
    return failure(kind, provider="p", model="m", retry_after=retry_after)


A, B, C = model("a/one"), model("b/one"), model("c/one")


class Ask:
    """Fails as it is told, and remembers who was asked."""

    def __init__(self, **failing: Exception) -> None:
        self.failing = failing
        self.asked: list[str] = []

    async def __call__(self, one: Model[Any]) -> str:
        self.asked.append(one.entry.id)
        if error := self.failing.get(one.provider_name):
            raise error
        return one.entry.id


async def ask(circuits: Circuits, models: Sequence[Model[Any]], **failing: Exception) -> tuple[str, list[str]]:
    asking = Ask(**failing)
    return await first_to_answer(circuits, models, asking), asking.asked


async def test_the_first_choice_is_asked_alone_while_it_answers(circuits: Circuits) -> None:
    assert await ask(circuits, [A, B]) == ("a/one", ["a/one"])


@pytest.mark.parametrize("kind", [FAILED, UNREACHABLE, NO_QUOTA, NO_MODEL, RATE_LIMITED, REJECTED, EMPTY_REPLY])
async def test_whatever_it_fails_with_the_next_one_is_asked(circuits: Circuits, kind: Kind) -> None:
    assert await ask(circuits, [A, B], a=fail(kind)) == ("b/one", ["a/one", "b/one"])


@pytest.mark.parametrize("kind", [REJECTED, EMPTY_REPLY])
async def test_what_was_the_requests_own_fault_passes_nobody_over(circuits: Circuits, kind: Kind) -> None:
    await ask(circuits, [A, B], a=fail(kind))
    assert await ask(circuits, [A, B]) == ("a/one", ["a/one"])


async def test_who_failed_is_passed_over_for_longer_each_time(circuits: Circuits, clock: Clock) -> None:
    for pause_s in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_S, LONGEST_S):
        assert (await ask(circuits, [A, B], a=fail(FAILED)))[1] == ["a/one", "b/one"]
        clock.now += pause_s - 0.01
        assert (await ask(circuits, [A, B]))[1] == ["b/one"]
        clock.now += 0.02
    assert (await ask(circuits, [A, B]))[1] == ["a/one"]
    await ask(circuits, [A, B], a=fail(FAILED))  # it had answered: the pause is short again
    clock.now += 1.01
    assert (await ask(circuits, [A, B]))[1] == ["a/one"]


async def test_many_calls_that_fail_at_once_are_one_failure(circuits: Circuits, clock: Clock) -> None:
    for _ in range(20):
        circuits.failed(A, fail(FAILED))
    clock.now += 1.01
    assert circuits.admits(A)


async def test_when_the_pause_is_over_one_call_tries_and_the_others_wait_for_it(
    circuits: Circuits, clock: Clock
) -> None:
    circuits.failed(A, fail(UNREACHABLE))
    clock.now += 1.01
    assert [circuits.admits(A) for _ in range(3)] == [True, False, False]
    circuits.answered(A)
    assert circuits.admits(A)


async def test_a_limit_is_the_models_and_an_outage_the_providers_in_that_role(circuits: Circuits) -> None:
    other, hearing = model("a/two"), model("a/one", "stt")
    circuits.failed(A, fail(RATE_LIMITED))
    assert (circuits.admits(A), circuits.admits(other)) == (False, True)
    circuits.failed(other, fail(UNREACHABLE))
    assert (circuits.admits(other), circuits.admits(hearing)) == (False, True)


async def test_it_is_left_alone_for_as_long_as_it_asked(circuits: Circuits, clock: Clock) -> None:
    circuits.failed(A, fail(RATE_LIMITED, retry_after=30.0))
    clock.now += 29.9
    assert not circuits.admits(A)
    clock.now += 0.2
    assert circuits.admits(A)


async def test_who_is_passed_over_is_asked_when_nobody_else_answers(circuits: Circuits) -> None:
    circuits.failed(A, fail(FAILED))
    assert await ask(circuits, [A, B], b=fail(FAILED)) == ("a/one", ["b/one", "a/one"])


async def test_an_only_model_is_never_passed_over(circuits: Circuits) -> None:
    circuits.failed(A, fail(NO_QUOTA))
    assert await ask(circuits, [A]) == ("a/one", ["a/one"])


async def test_when_all_fail_the_error_is_one_that_may_pass_and_the_soonest(circuits: Circuits) -> None:
    errors = {"a": fail(NO_QUOTA), "b": fail(RATE_LIMITED, 30.0), "c": fail(RATE_LIMITED, 5.0)}
    with pytest.raises(Upstream) as caught:
        await ask(circuits, [A, B, C], **errors)
    assert caught.value is errors["c"]
    final = {"a": fail(NO_QUOTA), "b": fail(REJECTED)}
    with pytest.raises(Upstream) as caught:
        await ask(Circuits(), [A, B], **final)
    assert caught.value is final["a"]


async def test_with_whom_the_attempt_before_ended_is_asked_last(circuits: Circuits) -> None:
    asking = Ask()
    assert await first_to_answer(circuits, [A, B, C], asking, last=("a", "one")) == "b/one"


async def test_what_can_not_begin_anew_ends_the_attempt_and_counts_as_failed(circuits: Circuits) -> None:
    error = fail(FAILED)
    with pytest.raises(Upstream) as caught:
        await ask(circuits, [A, B], a=BrokenOffError(error))
    assert caught.value is error
    assert (await ask(circuits, [A, B]))[1] == ["b/one"]


async def test_a_follower_is_asked_only_when_the_model_before_it_is_gone(circuits: Circuits, clock: Clock) -> None:
    follower = model("a/two", follows="a/one")
    with pytest.raises(Upstream):
        await ask(circuits, [A, follower], a=fail(FAILED))
    clock.now += 2

    class Gone(Ask):
        async def __call__(self, one: Model[Any]) -> str:
            await super().__call__(one)
            if one is A:
                raise fail(NO_MODEL)
            return one.entry.id

    asking = Gone()
    for _ in range(3):
        assert await first_to_answer(circuits, [A, follower, B], asking) == "a/two"
    assert asking.asked == ["a/one", "a/two", "a/two", "a/two"]  # that it is gone is not asked again soon


async def test_a_follower_that_fails_is_asked_again_in_the_next_attempt(circuits: Circuits, clock: Clock) -> None:
    """What failed last goes to the end with its line: apart from the model that is gone it would never be asked."""
    follower = model("b/two", follows="a/one")
    with pytest.raises(Upstream) as caught:
        await ask(circuits, [A, follower], a=fail(NO_MODEL), b=fail(FAILED))
    assert caught.value.transient
    clock.now += 2
    for last in (("a", "one"), ("b", "two")):
        asking = Ask(a=fail(NO_MODEL))
        assert await first_to_answer(circuits, [A, follower], asking, last=last) == "b/two"
        assert asking.asked == ["b/two"], "that it is gone is known"


async def test_a_follower_is_asked_when_a_model_that_was_passed_over_proves_to_be_gone(circuits: Circuits) -> None:
    follower = model("b/two", follows="a/one")
    circuits.failed(A, fail(UNREACHABLE))
    assert await ask(circuits, [A, follower], a=fail(NO_MODEL)) == ("b/two", ["a/one", "b/two"])


async def test_what_broke_off_for_good_may_go_well_with_another_model(circuits: Circuits) -> None:
    with pytest.raises(Upstream) as caught:
        await ask(circuits, [A, B], a=BrokenOffError(fail(NO_QUOTA)))
    assert (caught.value.code, caught.value.transient) == (NO_QUOTA.code, True)
    with pytest.raises(Upstream) as caught:
        await ask(Circuits(), [A], a=BrokenOffError(fail(NO_QUOTA)))
    assert not caught.value.transient


async def test_who_tries_is_waited_for_as_long_as_a_call_may_take_and_may_give_up(clock: Clock) -> None:
    circuits = Circuits(clock, patience_s=60.0)
    circuits.failed(A, fail(UNREACHABLE))
    clock.now += 1.01
    assert circuits.admits(A)
    clock.now += 59
    assert not circuits.admits(A)
    circuits.left(A)
    assert circuits.admits(A)

    class Cancelled(Ask):
        async def __call__(self, one: Model[Any]) -> str:
            await super().__call__(one)
            raise asyncio.CancelledError

    circuits.left(A)
    with pytest.raises(asyncio.CancelledError):
        await first_to_answer(circuits, [A, B], Cancelled())
    assert circuits.admits(A)
