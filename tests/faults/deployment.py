"""A whole Parley of its own for one fault: Redis, database, API and workers as processes that can be broken.

async with Deployment(folder, database_url, fake) as parley:   # or the `parley` fixture
    await parley.start_api()
    worker = await parley.start_worker(SHUTDOWN_GRACE="1")
    session = await parley.client.session()
    job = await parley.client.text(session, sentences=3, reply_audio=True)
    await parley.called(job, "speak/2")         # a call has reached the model server
    await parley.wrote(job, "step", "reply")    # a write has been committed
    worker.kill()
    ...
    check(await parley.ended())                 # every job terminal, then the one checker
"""

import json
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import httpx

from tests.fakes.openai_script import Call
from tests.fakes.openai_server import FakeOpenAI
from tests.faults import audit
from tests.faults.client import Client
from tests.faults.history import Accepted, History, Write, latest
from tests.faults.model import Model
from tests.faults.record import record
from tests.faults.sql import Sql
from tests.faults.waiting import until
from tests.processes import Process
from tests.services import RedisServer, free_port


class Worker(Process):
    """A worker process; what it did is read from its log."""

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines of one event."""
        lines = self.log.read_text(errors="replace").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}") and name in line]
        return [line for line in found if line.get("event") == name]

    def claimed(self, job_id: str) -> bool:
        """Whether it ever took the job."""
        return any(line["job_id"] == job_id for line in self.events("job.claimed"))


class Deployment:
    """Its parts: `redis`, `sql`, `model` (the script of the model server), `api`, `workers`, `client`, `history`.

    `env` is for all of its processes; a single one's is given when it is started.
    """

    def __init__(self, folder: Path, database_url: str, models: FakeOpenAI, **env: str) -> None:
        assert isinstance(models.script, Model)
        self.redis = RedisServer(folder)
        self.sql = Sql(database_url)
        self.model = models.script
        self.history = History()
        self.api: Process | None = None
        self.workers: list[Worker] = []
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self.blobs = folder / "blobs"
        self._folder = folder
        self._started = 0
        self._http = httpx.AsyncClient(base_url=self.url, timeout=30)
        self.client = Client(self._http, self.history, self.model)
        self.env = {
            "ENV": "TEST",
            "PORT": str(port),
            "DATABASE_URL": database_url,
            "REDIS_URL": self.redis.url,
            "BLOB_URL": self.blobs.as_uri(),
            "OPENAI_API_KEY": "sk-test-canary",
            "OPENAI_BASE_URL": models.url,
            "LEASE_S": "3",
            "RECONCILE_S": "0.5",
            **env,
        }

    async def __aenter__(self) -> Self:
        self.redis.start()
        await audit.install(self.sql)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.model.release()
        for process in [*self.workers, *([self.api] if self.api else [])]:
            process.kill()
        self.redis.stop()
        await self._http.aclose()
        await self.sql.close()

    async def start_api(self, **env: str) -> Process:
        """Start the API, again on the same port after it has ended, and wait until it answers."""
        self.api = Process("-m", "api", log=self._log("api"), env={**self.env, **env})
        await until(self._answers, f"the API answers: {self.api.log}", every=0.03)
        return self.api

    async def start_worker(self, **env: str) -> Worker:
        """Start one more worker and wait until it serves the queue."""
        worker = self.launch_worker(**env)
        await until(lambda: worker.events("worker.started"), f"a worker starts: {worker.log}", every=0.03)
        return worker

    def launch_worker(self, **env: str) -> Worker:
        """Start one more worker, not waiting for it."""
        worker = Worker("-m", "worker", log=self._log("worker"), env={**self.env, **env})
        self.workers.append(worker)
        return worker

    async def stall(self, worker: Worker) -> None:
        """Freeze a worker, but not inside one of its transactions: that would freeze all of SQLite with it.

        `worker.send(signal.SIGCONT)` lets it go on. The jobs that it has are noted as stalled.
        """
        while True:
            worker.send(signal.SIGSTOP)
            if await self.sql.is_free():
                break
            worker.send(signal.SIGCONT)
            await until(self.sql.is_free, "the worker ends its transaction")
        for write in latest(await audit.read(self.sql, table="job")):
            if write.status == "running" and worker.claimed(write.row_id):
                self.history.stalled[write.row_id] += 1

    async def owner(self, job: Accepted) -> Worker:
        """The worker that has, or had last, a job; waits until one has claimed it."""
        taken: Callable[[], list[tuple[int, Worker]]] = lambda: [  # noqa: E731 - read again and again
            (line["attempt"], worker)
            for worker in self.workers
            for line in worker.events("job.claimed")
            if line["job_id"] == job.job_id
        ]
        return max(await until(taken, f"a worker claims {job}"), key=lambda pair: pair[0])[1]

    async def called(self, job: Accepted, step: str, times: int = 1) -> Call:
        """The n-th call that a job makes for a step, as soon as it has come in."""
        await until(lambda: len(self.model.asked(job.topic, step)) >= times, f"call {times} for {step} of {job}")
        return self.model.asked(job.topic, step)[times - 1]

    async def wrote(self, job: Accepted, table: str, name: str | None = None, **fields: Any) -> Write:
        """The first committed insert, or with `status=…` and the like the first write, that is like this."""
        wanted = fields or {"operation": "insert"}
        if name:
            wanted["name"] = name
        if table == "blob":
            wanted["session_id"] = job.session_id

        async def found() -> list[Write]:
            writes = await audit.read(self.sql, table=table, job_id="" if table == "blob" else job.job_id)
            return [write for write in writes if wanted.items() <= vars(write).items()]

        return (await until(found, f"{table} {wanted} of {job}"))[0]

    async def claimed(self, job: Accepted, attempt: int = 1) -> Write:
        """The write of a job's n-th claim."""
        return await self.wrote(job, "job", status="running", attempt=attempt)

    async def ended(self, within: float = 60.0) -> History:
        """The history, collected when every accepted job has ended, or after `within` seconds: that is then a finding."""
        unfinished = "SELECT id FROM job WHERE status IN ('queued', 'running') LIMIT 1"

        async def idle() -> bool:
            return not await self.sql.rows(unfinished)

        with suppress(AssertionError):
            await until(idle, "every job has ended", within=within, every=0.05)
        return await self.collect()

    async def collect(self) -> History:
        """The history as it is now; also left in the folder as `history.txt`."""
        await record(self.history, self.sql, self.model, self.blobs)
        self.history.write(self._folder / "history.txt")
        return self.history

    def _log(self, module: str) -> Path:
        self._started += 1
        return self._folder / f"{self._started:02}-{module}.log"

    async def _answers(self) -> bool:
        assert self.api is not None
        assert self.api.alive, self.api.log.read_text()
        try:
            return (await self._http.get("/health")).status_code == 200
        except httpx.TransportError:
            return False
