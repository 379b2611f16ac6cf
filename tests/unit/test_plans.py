"""No hot query reads a whole table, however much is in it, on both databases."""

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Float, String, Uuid, case, cast, insert, literal
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlmodel import SQLModel, col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import AppError
from shared.models import (
    LOCAL_USER_ID,
    POISON_LEASES,
    Agent,
    Blob,
    BlobPurpose,
    IdempotencyKey,
    Job,
    JobStatus,
    Message,
    Session,
    Step,
    Usage,
    table,
)
from shared.services import agent as agents
from shared.services import blob as blobs
from shared.services import fairness
from shared.services import idempotency as keys
from shared.services import message as messages
from shared.services import session as sessions
from shared.services import worker as workers
from shared.services.job import lease as leases
from shared.services.job import reaper
from shared.services.job import step as steps
from shared.services.job import transitions as jobs
from shared.services.job import turn as turns
from shared.services.job import view as job_view
from shared.services.job.lease import Claim
from shared.services.job.step import TurnReply
from shared.services.job.turn import StepDone, Turn, Used
from shared.services.message import Submission
from shared.services.page import PageRequest
from shared.services.user import LOCAL
from shared.sql.database import Database
from shared.sql.functions import db_now
from tests.factories import BUDGET
from tests.statements import Sent, recorded

HOT = {table(model).name for model in (Job, Message, Step, Blob, Session, Usage, IdempotencyKey)}
TABLES = SQLModel.metadata.tables.values()
INDEXES = {str(index.name): index for owner in TABLES for index in owner.indexes}
SMALL = {name for name, index in INDEXES.items() if index.dialect_options["sqlite"]["where"] is not None}

AGENTS, SESSIONS, FINISHED, WAITING = 1_000, 2_000, 20_000, 4_000
OWNER: dict[str, Any] = {"owner_id": LOCAL_USER_ID}
CONTENT = blobs.BlobContent("audio/mpeg", "mp3", 1.0, 3, "0" * 64)


class nth(FunctionElement[UUID]):  # noqa: N801 - reads as the SQL function it is
    """The id of a row by its number."""

    type = Uuid()
    inherit_cache = True


@compiles(nth, "sqlite")
def _sqlite_nth(element: nth, compiler: SQLCompiler, **kw: Any) -> str:
    return f"printf('%032x', {compiler.process(element.clauses, **kw)})"


@compiles(nth, "postgresql")
def _postgresql_nth(element: nth, compiler: SQLCompiler, **kw: Any) -> str:
    return f"CAST(lpad(to_hex({compiler.process(element.clauses, **kw)}), 32, '0') AS uuid)"


async def add(db: AsyncSession, model: type[SQLModel], first: int, last: int, /, **columns: Any) -> None:
    """Rows by the numbers from `first` to `last`; a column is a value, or what it is for a row's number."""
    begun = select(literal(first).label("n")).cte("numbers", recursive=True)
    n = begun.union_all(select(begun.c.n + 1).where(begun.c.n < last)).c.n
    at = db_now(cast(n - last, Float))  # type: ignore[arg-type]  # any expression will do
    given = {name: value(n) if callable(value) else value for name, value in columns.items()}
    values = {"id": nth(n), "created_at": at, "updated_at": at, **given}
    await db.exec(
        insert(table(model)).from_select(list(values), select(*[coerced(value) for value in values.values()]))
    )


def coerced(value: Any) -> ColumnElement[Any]:
    return value if isinstance(value, ColumnElement) else literal(value)


def number(n: int) -> UUID:
    return UUID(int=n)


def session_of(n: Any) -> nth:
    return nth(n % SESSIONS + 1)


def seq_of(n: Any) -> Any:
    return n // SESSIONS * 2 + 1


async def fill(db: AsyncSession) -> None:
    """Many finished turns and a backlog, in many sessions of one owner."""
    first, last = FINISHED + 1, FINISHED + WAITING
    said = {**OWNER, "session_id": session_of, "job_id": nth, "kind": "text", "text": "When is breakfast?"}
    job = {**OWNER, "session_id": session_of, "seq": seq_of, "kind": "text", "version": 1, "attempts_left": 4}
    job |= {"lost_leases": 0, "cancel_requested": False, "dispatch_no": 1, "deadline_at": db_now(3_600.0)}
    job |= {"reply_audio": lambda n: n % 2 == 1}
    step = {"job_id": nth, "status": "succeeded", "attempt": 1, "duration_ms": 5, "input_hash": "0"}
    step |= {"started_at": db_now(), "finished_at": db_now()}

    await add(db, Agent, 1, AGENTS, **OWNER, name="Guide", prompt="", personality="")
    await add(db, Session, 1, SESSIONS, **OWNER, agent_id=lambda n: nth(n % AGENTS + 1), name="", prompt="", summary="",
              next_seq=1_000, last_activity_at=db_now())  # fmt: skip
    await add(db, Job, 1, FINISHED, **job, attempt=1, finished_at=db_now(),
              status=lambda n: case((n % 100 == 0, "failed"), else_="succeeded"))  # fmt: skip
    await add(db, Job, first, last, **job, attempt=0, status="queued",
              dispatched_at=lambda n: case((n < first + SESSIONS, db_now(600.0))),
              waits_since=lambda n: case((n < first + SESSIONS, db_now(600.0))))  # fmt: skip
    await add(db, Blob, 1, FINISHED, **OWNER, session_id=session_of, purpose="reply", status="ready",
              key=lambda n: "reply/" + cast(n, String))  # fmt: skip
    await add(db, Message, 1, last, **said, seq=seq_of, role="user")
    await add(db, Message, 1, FINISHED, **said, id=lambda n: nth(n + last), seq=lambda n: seq_of(n) + 1, role="assistant",
              blob_id=nth)  # fmt: skip
    await add(db, Step, 1, FINISHED, **step, name="reply")
    await add(db, Step, 1, FINISHED, **step, id=lambda n: nth(n + FINISHED), name="speak/1", blob_id=nth)
    await add(db, Usage, 1, FINISHED, **OWNER, job_id=nth, step="reply", provider="openai", model="chat")
    await add(db, IdempotencyKey, 1, FINISHED, **OWNER, key=lambda n: "key-" + cast(n, String), fingerprint="0",
              resource_id=nth)  # fmt: skip


class Flows:
    """What clients, workers and reconcilers do, by the rules themselves, to rows that `fill` has made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> None:
        await self.submits()
        await self.reads()
        await self.a_text_turn(number(FINISHED + 6))
        await self.text_turns(*(number(FINISHED + n) for n in (20, 22, 24)))
        await self.a_spoken_turn(number(FINISHED + 7))
        await self.bad_ends(*(number(FINISHED + n) for n in range(8, 12)))
        await self.changes()
        await self.a_reconciler()
        await self.deletions()

    async def submits(self) -> None:
        asked: dict[str, Any] = {"account": LOCAL, "session_id": number(7), "reply_audio": False}
        for _ in range(2):
            with suppress(keys.ReplayError):
                async with self._database.write() as db:
                    job_id = await keys.new_id(db, **OWNER, key="new", request="0")
                    assert await jobs.count_unfinished(db) == WAITING
                    await messages.submit(db, Submission(job_id, **asked, text="Hello"), BUDGET)
        async with self._database.write() as db:
            note = await blobs.add(db, **OWNER, session_id=number(7), purpose=BlobPurpose.UPLOAD)
            await messages.submit(db, Submission(uuid4(), **asked, blob_id=note.id), BUDGET)
            await blobs.ready(db, blob_id=note.id, session_id=number(7), content=CONTENT)

        async with self._database.write() as db:
            many = [Submission(uuid4(), **{**asked, "session_id": number(n)}, text="Hello") for n in (7, 8, 7)]
            assert all(await messages.submit_many(db, many, BUDGET))

    async def reads(self) -> None:
        async with self._database.read() as db:
            for many in (1, 16):
                some = [number(FINISHED - n) for n in range(many)]
                await job_view.get_many(db, [(OWNER["owner_id"], one) for one in some])
                await job_view.states(db, [(OWNER["owner_id"], one) for one in some])
            await jobs.get(db, **OWNER, job_id=number(4_000))
            await turns.spoken(db, job_id=number(4_000), numbers=range(1, 33))
            await messages.get(db, **OWNER, message_id=number(4_000))
            await blobs.ready_among(db, [number(4_000), number(4_001)])
            await sessions.get(db, **OWNER, session_id=number(7))
            await workers.fleet(db)
            for status in (None, JobStatus.FAILED, JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELLING):
                for session_id in (None, number(7)):
                    await self.pages(partial(job_view.list_, db, **OWNER, status=status, session_id=session_id))
            for agent_id in (None, number(7)):
                await self.pages(partial(sessions.list_, db, **OWNER, agent_id=agent_id))
            for newest_first in (False, True):
                told = partial(messages.conversation, db, **OWNER, session_id=number(7), newest_first=newest_first)
                await self.pages(told)

    async def pages(self, listed: Callable[..., Awaitable[tuple[Any, str | None]]]) -> None:
        _, cursor = await listed(page=PageRequest(limit=50))
        if cursor:
            await listed(page=PageRequest(cursor, limit=50))

    async def claim(self, job_id: UUID, lease_s: float = 30.0) -> Turn:
        async with self._database.write() as db:
            claim = await leases.claim(db, job_id=job_id, worker_id=uuid4(), lease_s=lease_s)
            assert claim
            return await turns.load(db, claim, history=20)

    async def a_text_turn(self, job_id: UUID) -> None:
        turn = await self.claim(job_id)
        done = StepDone("reply", 1, "openai", "chat", "0", Used(input_tokens=1))
        async with self._database.write() as db:
            await leases.renew(db, turn.claim, lease_s=30.0)
        async with self._database.write() as db:
            await steps.save_reply(db, turn, text="At seven.", language="en", done=done, spoken={})

    async def text_turns(self, *job_ids: UUID) -> None:
        async with self._database.write() as db:
            await fairness.lead_every(db)
            assert len(await leases.claim_next(db, job_ids=[uuid4()] * 3, worker_id=uuid4(), lease_s=30.0)) == 3
            claims = await leases.claim_many(db, job_ids=job_ids, worker_id=uuid4(), lease_s=30.0)
            assert len(claims) == len(job_ids)
            read = await turns.load_many(db, claims, history=20)
        done = StepDone("reply", 1, "openai", "chat", "0", Used(input_tokens=1))
        async with self._database.write() as db:
            assert len(await steps.save_replies(db, [TurnReply(turn, "At 7.", "de", done) for turn in read])) == len(
                read
            )

    async def a_spoken_turn(self, job_id: UUID) -> None:
        """In its second attempt, which looks for what the first one has left."""
        turn = await self.claim(job_id)
        turn.claim = turn.claim._replace(attempt=2)
        heard = StepDone("transcribe", 1, "openai", "stt", "0", Used(audio_s=1.0))
        reply = StepDone("reply", 1, "openai", "chat", "0", Used(output_tokens=1))
        one, two = [StepDone(f"speak/{n}", 1, "openai", "tts", "0", Used(characters=1)) for n in (1, 2)]
        async with self._database.write() as db:
            await steps.save_transcript(db, turn, text="Hello", language="en", done=heard)
            await steps.save_failed_step(db, turn.claim, done=one, code="away")
            for sentence in (one, two):
                blob = await steps.announce_sound(db, turn, purpose=BlobPurpose.SENTENCE)
                await steps.save_sentence(db, turn, blob=blob, content=CONTENT, done=sentence)
            await steps.save_reply(db, turn, text="At 7.", language="de", done=reply, spoken={"speak/1": "0"})
            await turns.load(db, turn.claim, history=20)
            blob = await steps.announce_sound(db, turn, purpose=BlobPurpose.REPLY)
            assert turn.reply
            await steps.save_speech(db, turn, turn.reply, blob=blob, content=CONTENT)

    async def bad_ends(self, *job_ids: UUID) -> None:
        ends: tuple[Callable[[AsyncSession, Claim], Awaitable[None]], ...] = (
            lambda db, claim: leases.fail(db, claim, AppError("It broke.")),
            lambda db, claim: leases.give_back(db, claim, delay_s=9.0),
            leases.hand_back,
            leases.cancelled,
        )
        for job_id, end in zip(job_ids, ends, strict=True):
            turn = await self.claim(job_id)
            async with self._database.write() as db:
                await db.exec(update(Job).where(col(Job.id) == job_id).values(lost_leases=POISON_LEASES - 1))
                await leases.fence(db, turn.claim)
                await end(db, turn.claim)

    async def changes(self) -> None:
        running = await self.claim(number(FINISHED + 12))
        async with self._database.write() as db:
            await jobs.cancel(db, **OWNER, job_id=running.job.id)
            await jobs.cancel(db, **OWNER, job_id=number(FINISHED + 13))
            await jobs.retry(db, account=LOCAL, job_id=number(100), budget=BUDGET)
            await sessions.change(db, **OWNER, session_id=number(7), fields={"agent_id": number(3)})
            await sessions.create(db, session_id=uuid4(), **OWNER, fields={"agent_id": number(3)})

    async def a_reconciler(self) -> None:
        await self.claim(number(FINISHED + 14), lease_s=-1.0)
        async with self._database.write() as db:
            late: dict[str, Any] = {"account": LOCAL, "session_id": number(499), "text": "Hello", "reply_audio": False}
            await messages.submit(db, Submission(uuid4(), **late), BUDGET._replace(deadline_s=-1.0))
            await workers.beat(db, worker_id=uuid4(), host="here", pid=1)
            assert await reaper.reclaim_lost(db) == 1
            assert await reaper.expire_overdue(db) == 1
            await reaper.dispatch_due(db)
            await blobs.give_up(db)
            await blobs.sweepable(db)
            await blobs.purge(db, [number(4_000)])
            await keys.forget_old(db)

    async def deletions(self) -> None:
        async with self._database.write() as db:
            await sessions.delete(db, **OWNER, session_id=number(20))
            await agents.delete(db, **OWNER, agent_id=number(30))


async def explained(connection: AsyncConnection, sent: Sent) -> list[str]:
    """What a statement reads whole: tables, and indexes that hold a whole table."""
    parameters = sent.parameters[0] if isinstance(sent.parameters, list) else sent.parameters
    if connection.dialect.name == "sqlite":
        rows = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sent.sql}", parameters)).all()
        return [row.detail for row in rows if is_scan(row.detail)]
    plan = (await connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {sent.sql}", parameters)).scalar_one()
    (top,) = json.loads(plan) if isinstance(plan, str) else plan
    return [str(node) for node in nodes(top["Plan"]) if is_whole(node)]


def is_scan(line: str) -> bool:
    """Of SQLite's plan: `SCAN job`, or `SEARCH … USING AUTOMATIC INDEX`, which it makes from all of the table."""
    found = re.match(r"SCAN (\w+?)(?:_\d+)?(?: USING (?:COVERING )?INDEX (\w+))?$", line)
    return "AUTOMATIC" in line or bool(found and found[1] in HOT and found[2] not in SMALL)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {name: value for name, value in plan.items() if name != "Plans"}
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def is_whole(node: dict[str, Any]) -> bool:
    """Of PostgreSQL's plan: a Seq Scan, or an index that is not entered by its first column."""
    index = node.get("Index Name")
    if index is None:
        return node["Node Type"] == "Seq Scan" and node["Relation Name"] in HOT
    first = INDEXES[index].columns[0].name if index in INDEXES else "id"
    return index not in SMALL and not re.search(rf"\b{first}\b", node.get("Index Cond", ""))


async def test_no_hot_query_reads_a_whole_table(database_url: str) -> None:
    """Nor does SQLite when nothing has told it what is in the tables: nobody runs ANALYZE there."""
    database = Database(database_url)
    async with database.write() as db:
        await fill(db)
    with recorded() as visits:
        await Flows(database).all()
    await database.close()
    asked = {sent.sql: sent for sent in visits.sent}
    assert len(asked) > 60
    engine = create_async_engine(database_url)
    for known in (False, True) if engine.name == "sqlite" else (True,):
        async with engine.begin() as connection:
            if known:
                await connection.exec_driver_sql("ANALYZE")
            found = [f"{line}: {sent.sql}" for sent in asked.values() for line in await explained(connection, sent)]
            assert not found, "\n".join(found)
            assert await explained(connection, Sent("SELECT id FROM message WHERE language = 'xx'", ()))
    await engine.dispose()


def test_whatever_a_deletion_takes_along_is_found_by_an_index() -> None:
    entered = {
        (owner.name, index.columns[0].name) for owner in TABLES for index in owner.indexes if index.name not in SMALL
    }
    assert {(owner.name, key.parent.name) for owner in TABLES for key in owner.foreign_keys} <= entered
