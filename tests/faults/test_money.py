"""A random run of submits, cancels, failures, retries, deletions and killed workers: money is never wrong.

`PARLEY_MONEY_SUBMITS` says how many messages are submitted: 100 in CI, thousands in `make money`.
"""

import asyncio
import os
import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from tests.fakes.openai_script import Answer, Call
from tests.fakes.openai_server import FakeOpenAI
from tests.faults.client import API, ENDED, new_topic, patiently
from tests.faults.deployment import Deployment
from tests.faults.model import Model, note, prompt
from tests.faults.waiting import until

SUBMITS = int(os.environ.get("PARLEY_MONEY_SUBMITS", "100"))
USERS = 6
SESSIONS = 5  # of each user
AT_ONCE = 12
START = 300_000_000  # units of a balance that pays for some hundred turns, and for few at a time
KILL_EVERY_S = (0.5, 2.5)


class Trouble(Model):
    """Fails now and then, for a while or for good, or says more than it may."""

    chance = Random(0)

    def begin(self, call: Call) -> Answer:
        answer = super().begin(call)
        dice = self.chance.random()
        if dice < 0.05:
            return Answer(status=500)
        if dice < 0.10:
            return Answer(status=400)
        if dice < 0.12:
            return Answer(text="Sentence 1 breaks off.", cut_after=2)
        if call.endpoint == "chat" and dice < 0.35:
            return Answer(text="It does not care how long a reply may be. " * 20)
        return answer


class Customer:
    """A user who does this and that at random."""

    def __init__(self, parley: Deployment, chance: Random, seen: Counter[str]) -> None:
        self._parley = parley
        self._chance = chance
        self._seen = seen
        self._http = httpx.AsyncClient(base_url=parley.url, timeout=60)
        self.sessions: list[str] = []
        self.jobs: list[str] = []

    async def sign_up(self, name: str) -> None:
        """Make the account, and some sessions."""
        who = {"username": name, "password": "correct horse battery"}
        assert (await patiently(lambda: self._http.post(f"{API}/auth/register", json=who))).status_code == 201
        login = await patiently(lambda: self._http.post(f"{API}/auth/login", json=who))
        self._http.headers["Authorization"] = f"Bearer {login.json()['access_token']}"
        for _ in range(SESSIONS):
            await self.open()

    async def open(self) -> None:
        """One more session, with an agent of its own."""
        agent = {"agent_id": await self._create("agent", {"name": "Guide", "language": "en"})}
        self.sessions.append(await self._create("session", agent))

    async def _create(self, noun: str, body: dict[str, str]) -> str:
        answer = await patiently(lambda: self._http.post(f"{API}/{noun}", json=body))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def submit(self) -> None:
        """Say something in text or in sound, answered in either."""
        session = self._chance.choice(self.sessions)
        said = prompt(new_topic(), self._chance.randint(1, 4))
        if self._chance.random() < 0.2:
            sound = note(said)
            self._parley.model.expect_note(sound, said)
            form = {"session_id": session, "reply_audio": str(self._chance.random() < 0.5).lower()}
            files = {"file": ("note.wav", sound)}
            answer = await self._http.post(f"{API}/message/voice", data=form, files=files)
        else:
            body = {"session_id": session, "text": said, "reply_audio": self._chance.random() < 0.3}
            answer = await self._http.post(f"{API}/message/text", json=body)
        self._note("submit", answer, {202, 402, 404, 503})
        if answer.status_code == 202:
            self.jobs.append(answer.json()["id"])

    async def cancel(self) -> None:
        """Cancel some job, whatever has become of it."""
        if self.jobs:
            job = self._chance.choice(self.jobs[-10:])
            self._note("cancel", await self._http.post(f"{API}/job/{job}/cancel"), {200, 404, 409, 503})

    async def retry(self) -> None:
        """Retry a job that has failed."""
        failed = await self._http.get(f"{API}/job", params={"status": "failed", "limit": 20})
        if failed.status_code == 200 and (items := failed.json()["items"]):
            job = self._chance.choice(items)["id"]
            self._note("retry", await self._http.post(f"{API}/job/{job}/retry"), {202, 402, 404, 409, 503})

    async def delete(self) -> None:
        """Delete a session with whatever runs in it, and open another."""
        session = self._chance.choice(self.sessions)
        answer = await self._http.delete(f"{API}/session/{session}")
        self._note("delete", answer, {204, 404, 503})
        if answer.status_code == 204:
            self.sessions.remove(session)
            await self.open()

    async def act(self) -> None:
        """Whatever it is."""
        acts = [self.submit, self.cancel, self.retry, self.delete]
        (act,) = self._chance.choices(acts, [70, 12, 15, 3])
        await act()

    async def close(self) -> None:
        await self._http.aclose()

    def _note(self, act: str, answer: httpx.Response, expected: set[int]) -> None:
        assert answer.status_code in expected, (act, answer.status_code, answer.text)
        self._seen[f"{act} {answer.status_code}"] += 1


async def kill_workers(parley: Deployment, chance: Random, seen: Counter[str]) -> None:
    """Kill, or stop, a worker now and then, and start another."""
    while True:
        await asyncio.sleep(chance.uniform(*KILL_EVERY_S))
        worker = chance.choice([worker for worker in parley.workers if worker.alive])
        await parley.start_worker(SHUTDOWN_GRACE="0.2")
        if chance.random() < 0.8:
            worker.kill()
            seen["worker killed"] += 1
        else:
            worker.send(signal.SIGTERM)
            seen["worker stopped"] += 1


async def overdrawn(parley: Deployment) -> list[Any]:
    """The users whose balance does not cover what is held back of it, or is below zero."""
    wrong = 'SELECT username FROM "user" WHERE balance < 0 OR reserved < 0 OR reserved > balance'
    return [*await parley.sql.rows(wrong)]


async def shop_around(parley: Deployment, customers: list[Customer], chance: Random, seen: Counter[str]) -> None:
    """Act until enough was submitted, with workers dying meanwhile, and until every job has ended."""

    async def shop() -> None:
        while not seen["worker killed"] or sum(len(customer.jobs) for customer in customers) < SUBMITS:
            await chance.choice(customers).act()
            if chance.random() < 0.02:
                assert await overdrawn(parley) == []

    killing = asyncio.create_task(kill_workers(parley, chance, seen))
    try:
        async with asyncio.TaskGroup() as shopping:
            for _ in range(AT_ONCE):
                shopping.create_task(shop())
    finally:
        killing.cancel()
    await parley.start_worker()
    unfinished = "SELECT id FROM job WHERE status IN ('queued', 'running') LIMIT 1"

    async def idle() -> bool:
        return not await parley.sql.rows(unfinished)

    await until(idle, "every job has ended", within=300, every=0.2)


@pytest.fixture
def chance() -> Random:
    """One run, however many seeds the other cases have."""
    return Random(7)


@pytest.fixture
def model_server(chance: Random) -> Any:
    script = Trouble()
    script.chance = chance
    with FakeOpenAI(script) as server:
        yield server


@pytest.mark.timeout(300 + 2 * SUBMITS)
async def test_money_is_never_wrong(parley: Deployment, chance: Random, tmp_path: Path) -> None:
    parley.env |= {"AUTH": "on", "DEFAULT_BALANCE": f"{START / 10**10:.10f}", "MAX_REPLY_TOKENS": "32"}
    parley.env |= {"USER_REQUESTS_PER_MINUTE": "1000000", "DATA_DIR": str(tmp_path / "data")}
    await asyncio.gather(parley.start_api(), parley.start_worker(), parley.start_worker())
    seen: Counter[str] = Counter()
    async with AsyncExitStack() as open_until_then:
        customers = [Customer(parley, Random(chance.random()), seen) for _ in range(USERS)]
        for number, customer in enumerate(customers):
            open_until_then.push_async_callback(customer.close)
            await customer.sign_up(f"user{number}")
        await shop_around(parley, customers, chance, seen)

    accounts = await parley.sql.rows(
        'SELECT u.username, u.balance, u.reserved, (SELECT coalesce(sum(cost), 0) FROM "usage" WHERE owner_id = u.id) AS used'
        " FROM \"user\" u WHERE u.username LIKE 'user%'"
    )
    assert len(accounts) == USERS
    assert [(one["balance"], one["reserved"]) for one in accounts] == [
        (START - int(one["used"]), 0) for one in accounts
    ]
    assert await parley.sql.rows("SELECT id FROM job WHERE reserved IS NOT NULL") == []
    ended = Counter(row["status"] for row in await parley.sql.rows("SELECT status FROM job"))
    assert set(ended) <= ENDED
    waived = await parley.sql.rows("SELECT cost FROM \"usage\" WHERE step = 'waived'")
    print(f"{dict(sorted(seen.items()))}, ended: {dict(ended)}, waived: {len(waived)}, accounts: {len(accounts)}")  # noqa: T201 - its figures, with -s
    assert seen["worker killed"]
    assert sum(int(one["used"]) for one in accounts) > 0
