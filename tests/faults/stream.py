"""Clients that submit and poll all through a fault, and how each of their requests was answered."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable
from http import HTTPStatus
from random import Random
from typing import NamedTuple, Self
from uuid import UUID

import httpx

from tests.faults.client import API, new_topic
from tests.faults.deployment import Deployment
from tests.faults.waiting import until

PACE_S = (0.4, 1.2)
SPOKEN = 0.1
ANSWERED_S = 5.0


class Answer(NamedTuple):
    """What a request was told, and how long that took."""

    what: str
    asked_at: float
    took_s: float
    status: int
    retry_after: str | None


class Stream:
    """One message after the other from each client, under a key of its own until it is accepted, and polls in between.

    `answers` are in the order in which they came. Leaving the block waits until every message is accepted.
    """

    def __init__(self, parley: Deployment, chance: Random, *, clients: int = 4) -> None:
        self.answers: list[Answer] = []
        self._parley = parley
        self._chance = chance
        self._clients = clients
        self._talking: list[asyncio.Task[None]] = []
        self._stopping = False

    async def __aenter__(self) -> Self:
        sessions = [await self._parley.client.session() for _ in range(self._clients)]
        self._talking = [asyncio.create_task(self._talk(session)) for session in sessions]
        await self.accepted(self._clients)
        self.answers.clear()  # a process that has just started answers late without any fault
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stopping = True
        if kind:
            for talk in self._talking:
                talk.cancel()
        ended = await asyncio.gather(*self._talking, return_exceptions=True)
        for error in ended:
            if kind is None and error is not None:
                raise error

    async def accepted(self, number: int) -> None:
        """Wait until so many more messages are accepted."""
        await self._told(HTTPStatus.ACCEPTED, number)

    async def refused(self, number: int) -> None:
        """Wait until so many more submits are told to come back."""
        await self._told(HTTPStatus.SERVICE_UNAVAILABLE, number)

    async def flows(self) -> float:
        """Seconds until in every session that waits now one of the jobs that wait there has ended."""
        began = time.monotonic()
        waiting = await self._unfinished()
        assert waiting, "nothing was waiting for the end of the fault"

        async def all_move() -> bool:
            now = await self._unfinished()
            return not any(jobs <= now.get(session, set()) for session, jobs in waiting.items())

        await until(all_move, "every session moves on", every=0.05)
        return time.monotonic() - began

    async def poll(self, job_id: str, times: int = 1) -> None:
        """Ask for a job, so many times at once."""
        http = self._parley.client.http
        await asyncio.gather(*[self._ask("poll", http.get(f"{API}/job/{job_id}")) for _ in range(times)])

    def told(self, what: str) -> list[Answer]:
        """The answers to `submit` or `poll`."""
        return [answer for answer in self.answers if answer.what == what]

    async def _told(self, status: HTTPStatus, number: int) -> None:
        def times() -> int:
            return sum(answer.status == status for answer in self.told("submit"))

        enough = times() + number
        await until(lambda: self._failed() or times() >= enough, f"{number} more submits are answered {status}")
        if failed := self._failed():
            raise failed

    async def _unfinished(self) -> dict[UUID, set[UUID]]:
        rows = await self._parley.sql.rows("SELECT id, session_id FROM job WHERE status IN ('queued', 'running')")
        waiting = defaultdict(set)
        for row in rows:
            waiting[UUID(str(row["session_id"]))].add(UUID(str(row["id"])))
        return waiting

    def _failed(self) -> BaseException | None:
        return next((error for talk in self._talking if talk.done() and (error := talk.exception())), None)

    async def _talk(self, session: str) -> None:
        client = self._parley.client
        job_id = ""
        while not self._stopping:
            topic = new_topic()
            post = client.post_voice if self._chance.random() < 0.2 else client.post_text
            accepted = False
            while not accepted:
                answer = await self._ask("submit", post(session, topic=topic, reply_audio=False, Idempotency_Key=topic))
                if accepted := answer.status_code == HTTPStatus.ACCEPTED:
                    job_id = answer.json()["id"]
                if job_id:
                    await self.poll(job_id)
                await asyncio.sleep(self._chance.uniform(*PACE_S))

    async def _ask(self, what: str, request: Awaitable[httpx.Response]) -> httpx.Response:
        began = time.monotonic()
        answer = await request
        took_s = time.monotonic() - began
        self.answers.append(Answer(what, began, took_s, answer.status_code, answer.headers.get("retry-after")))
        return answer


def slowest(answers: list[Answer]) -> float:
    """The seconds that the slowest answer took."""
    return max(answer.took_s for answer in answers)
