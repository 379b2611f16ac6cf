"""One job, from claim to end: take it, keep its lease, run its turn, and settle whatever comes out."""

import asyncio
import random
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import AppError, Unavailable, Upstream, no_room
from shared.process.cancellation import finish
from shared.services.job import lease as leases
from shared.services.job import step as steps
from shared.services.job.lease import CancelRequestedError, Claim, LeaseLostError
from shared.services.job.turn import Turn
from worker.batches import Ticket
from worker.context import WorkerContext
from worker.turn.run import run_turn
from worker.turn.saving import save
from worker.turn.step_timer import OUTSIDE, StepFailedError

LONGEST_DELAY_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0
AGAIN_S = 1.0
DUE_S = 0.02  # after a retry is due by the database's clock

log = structlog.get_logger(__name__)


async def run_job(ctx: dict[str, Any], job_id: str) -> None:
    """Run one job of the queue. An entry whose job is not to be had, now or ever, is dropped without a word.

    When the queue is `crowded` it is whichever job is next: an entry is the right to a place, and says that one waits.
    """
    worker: WorkerContext = ctx["worker"]
    with structlog.contextvars.bound_contextvars(job_id=job_id):
        turn = await _taken(worker, Ticket(UUID(job_id), crowded=ctx.get("crowded", False)))
    if turn:
        with structlog.contextvars.bound_contextvars(job_id=str(turn.job.id)):
            await _run(worker, turn)


async def _run(worker: WorkerContext, turn: Turn) -> None:
    claim = turn.claim
    log.info("job.claimed", attempt=claim.attempt)
    try:
        await _attempt(worker, turn)
        log.info("job.attempt_ended", attempt=claim.attempt)
    except LeaseLostError:
        log.warning("job.lease_lost", attempt=claim.attempt)
    except CancelRequestedError:
        await _settle(worker, claim, None, turn)
    except StepFailedError as failed:
        await _settle(worker, claim, failed, turn)
    except asyncio.CancelledError:
        await finish(asyncio.create_task(_hand_back(worker, turn)))
        raise
    except AppError as error:
        await _settle(worker, claim, StepFailedError(OUTSIDE, error), turn)
    except Exception as error:  # whatever it is, the job must end and the worker must not
        if not (unavailable := no_room(error)):
            log.exception("job.broke")
        await _settle(worker, claim, StepFailedError(OUTSIDE, unavailable or _ours()), turn)


def _ours() -> AppError:
    return AppError("Something went wrong on our side. The job id finds it in the log.", code="internal")


async def _taken(worker: WorkerContext, ticket: Ticket) -> Turn | None:
    """Claim a job and read its turn. A shutdown meanwhile hands it back; what can't be read ends the job."""
    claiming = asyncio.create_task(_claim(worker, ticket))
    try:
        return await asyncio.shield(claiming)
    except asyncio.CancelledError:
        if turn := await finish(claiming):
            await finish(asyncio.create_task(_hand_back(worker, turn)))
        raise
    except Exception:  # as in `_run`
        log.exception("job.broke")
        async with worker.database.write() as db:
            claim = await leases.claim(db, job_id=ticket.job_id, worker_id=worker.id, lease_s=worker.settings.lease_s)
        if claim:
            await _settle(worker, claim, StepFailedError(OUTSIDE, _ours()))
        return None


async def _claim(worker: WorkerContext, ticket: Ticket) -> Turn | None:
    try:
        return await worker.claims.redeem(ticket)
    except (IntegrityError, LeaseLostError):
        return None  # another job of its session, or another suspect, is running: its end dispatches this one
    except Unavailable:
        log.warning("job.not_claimed")  # the reconciler sends it again
        return None


async def _attempt(worker: WorkerContext, turn: Turn) -> None:
    """Run the turn until it ends or the lease is gone; raises what either of them raised."""
    running = asyncio.create_task(run_turn(worker, turn))
    keeper = asyncio.create_task(_keep_lease(worker, turn.claim))
    try:
        await asyncio.wait({running, keeper}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = running if running.done() else keeper
        for task in (running, keeper):
            task.cancel()
        await asyncio.gather(running, keeper, return_exceptions=True)
    ended.result()


async def _keep_lease(worker: WorkerContext, claim: Claim) -> None:
    pause_s = worker.settings.lease_s / 3
    while True:
        await asyncio.sleep(pause_s)
        try:
            async with worker.database.write() as db:
                await leases.renew(db, claim, lease_s=worker.settings.lease_s)
            pause_s = worker.settings.lease_s / 3
        except Unavailable:
            log.warning("job.lease_not_renewed")
            pause_s = min(AGAIN_S, worker.settings.lease_s / 3)  # when SQL is back, before anybody may take the job


async def _settle(
    worker: WorkerContext, claim: Claim, failed: StepFailedError | None, turn: Turn | None = None
) -> None:
    """End a job as cancelled, or as its failed step demands; a lost lease leaves it to whoever has it now."""
    try:
        if failed is None:
            await save(worker, lambda db: _cancel(db, claim, turn))
        else:
            await save(worker, lambda db: _fail(db, worker, claim, failed, turn))
    except CancelRequestedError:
        await _settle(worker, claim, None, turn)
    except LeaseLostError:
        log.warning("job.lease_lost", attempt=claim.attempt)
    except Unavailable:
        log.warning("job.not_settled", attempt=claim.attempt)  # it was, as far as can be told; else its lease runs out


async def _cancel(db: AsyncSession, claim: Claim, turn: Turn | None) -> None:
    if turn:
        await steps.save_unpaid(db, turn)
    await leases.cancelled(db, claim)


async def _fail(
    db: AsyncSession, worker: WorkerContext, claim: Claim, failed: StepFailedError, turn: Turn | None
) -> None:
    error = failed.error
    again = _is_transient(error) and claim.attempts_left > 1
    await leases.fence(db, claim)
    if failed.name != OUTSIDE:
        await steps.save_failed_step(db, claim, done=failed.done, code=error.code)
    if turn:
        await steps.save_usage(db, turn, failed.done)
    if again:
        delay_s = _delay_s(worker.settings.max_attempts - claim.attempts_left, error.retry_after)
        await leases.give_back(db, claim, delay_s=delay_s)
        asyncio.get_running_loop().call_later(delay_s + DUE_S, worker.due.set)
        log.warning("job.given_back", step=failed.name, code=error.code, delay_s=round(delay_s, 3))
    else:
        await leases.fail(db, claim, error)
        log.error("job.failed", step=failed.name, code=error.code)


async def _hand_back(worker: WorkerContext, turn: Turn) -> None:
    claim = turn.claim
    try:
        async with worker.database.write() as db:
            await leases.fence(db, claim)
            await leases.hand_back(db, claim)
        log.info("job.handed_back", attempt=claim.attempt)
    except CancelRequestedError:
        await _settle(worker, claim, None, turn)
    except (LeaseLostError, Unavailable):
        log.warning("job.not_handed_back", attempt=claim.attempt)  # its lease runs out by itself


def _is_transient(error: AppError) -> bool:
    return isinstance(error, Unavailable) or (isinstance(error, Upstream) and error.transient)


def _delay_s(retries: int, retry_after: float | None) -> float:
    """The first retry at once, then exponential with jitter; what the provider asked for comes first."""
    if retry_after is not None:
        return min(retry_after, LONGEST_RETRY_AFTER_S) + random.uniform(0, 0.25)  # noqa: S311 - not for secrets
    if retries <= 0:
        return 0.0
    return min(2.0**retries, LONGEST_DELAY_S) * random.uniform(0.5, 1.0)  # noqa: S311
