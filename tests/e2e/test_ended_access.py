"""Two APIs on one Redis and one PostgreSQL: what ends a credential at one ends what is open at the other."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.processes import ROOT, Process, running, wait_until_healthy
from tests.services import RedisServer, free_port, private

API = "/api/v1"
PASSWORD = "correct horse battery"
SOON_S = 30  # and nothing here would end by itself within a minute


class Pair:
    """Two APIs, a worker, and a Redis of their own."""

    def __init__(self, env: dict[str, str], here: httpx.Client, there: httpx.Client, redis: RedisServer) -> None:
        self.env = env
        self.here = here
        self.there = there
        self.redis = redis

    def login(self, name: str, password: str = PASSWORD) -> dict[str, str]:
        answer = self.here.post(f"{API}/auth/login", json={"username": name, "password": password})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def job(self, who: dict[str, str]) -> dict[str, Any]:
        """One that runs for long."""

        def made(noun: str, **body: Any) -> dict[str, Any]:
            answer = self.here.post(f"{API}/{noun}", json=body, headers=who)
            assert answer.is_success, answer.text
            return dict(answer.json())

        session = made("session", agent_id=made("agent", name="Guide")["id"])
        return made("message/text", session_id=session["id"], text="Hello")


@pytest.fixture
def pair(postgres_url: str, fake: FakeOpenAI, tmp_path: Path) -> Iterator[Pair]:
    fake.script.always("chat", Answer(delay_s=90))
    with ExitStack() as stack:
        redis = stack.enter_context(private(RedisServer))
        env = {
            "DATABASE_URL": postgres_url, "REDIS_URL": redis.url, "BLOB_URL": (tmp_path / "blobs").as_uri(),
            "OPENAI_API_KEY": "sk-canary", "OPENAI_BASE_URL": fake.url, "ENV": "TEST", "AUTH": "on",
            "JWT_SECRET": "0123456789abcdef0123456789abcdef", "DATA_DIR": str(tmp_path), "LEASE_S": "3",
            "ADMIN_USERNAME": "root", "ADMIN_PASSWORD": PASSWORD,
        }  # fmt: skip
        clients = []
        for number in (1, 2):
            port = free_port()
            log = tmp_path / f"api{number}.log"
            process: Process = stack.enter_context(running("-m", "api", log=log, env={**env, "PORT": str(port)}))
            wait_until_healthy(f"http://127.0.0.1:{port}", process)
            clients.append(stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=SOON_S)))
        stack.enter_context(running("-m", "worker", log=tmp_path / "worker.log", env=env))
        yield Pair(env, clients[0], clients[1], redis)


@pytest.mark.parametrize("redis_is", ["there", "away"])
def test_what_is_open_at_one_ends_with_the_login_at_the_other(pair: Pair, redis_is: str) -> None:
    assert pair.here.post(f"{API}/auth/register", json={"username": "ann", "password": PASSWORD}).is_success
    who = pair.login("ann")
    job = pair.job(who)
    if redis_is == "away":
        pair.redis.stop()
    with ThreadPoolExecutor() as pool, pair.there.stream("GET", job["links"]["events"], headers=who) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: status"
        waits = pool.submit(pair.there.get, job["links"]["self"], headers={**who, "Prefer": "wait=60"})
        time.sleep(1)  # so that it has begun
        assert pair.here.post(f"{API}/auth/logout", headers=who).status_code == 204
        assert "event: end" not in list(lines)
        answer = waits.result()
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert pair.there.get(job["links"]["events"], headers=who).status_code == 401


def test_a_user_who_is_disabled_is_cut_off_everywhere_and_their_jobs_stop(pair: Pair) -> None:
    user = pair.here.post(f"{API}/auth/register", json={"username": "ann", "password": PASSWORD}).json()
    who, root = pair.login("ann"), pair.login("root")
    jobs = [pair.job(who) for _ in range(3)]
    while pair.there.get(jobs[0]["links"]["self"], headers=who).json()["status"] != "running":
        pass
    with pair.there.stream("GET", jobs[0]["links"]["events"], headers=who) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: status"
        answer = pair.here.patch(f"{API}/admin/user/{user['id']}", headers=root, json={"disabled": True})
        assert answer.status_code == 200, answer.text
        list(lines)
    for job in jobs:
        url = f"{API}/admin/job/{job['id']}"
        while (now := pair.there.get(url, headers=root).json())["status"] in {"running", "cancelling"}:
            pass
        assert now["status"] == "cancelled", json.dumps(now)


def test_a_command_that_sets_a_password_ends_what_is_open(pair: Pair) -> None:
    assert pair.here.post(f"{API}/auth/register", json={"username": "ann", "password": PASSWORD}).is_success
    who = pair.login("ann")
    with pair.there.stream("GET", pair.job(who)["links"]["events"], headers=who) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: status"
        command = [sys.executable, "-m", "api", "create-admin", "ann"]
        env = {"PATH": os.environ["PATH"], **pair.env}
        subprocess.run(command, check=True, cwd=ROOT, env=env, input=b"another horse battery\n")
        assert "event: end" not in list(lines)
