"""A whole Parley as a process, stocked with things to ask for: what random requests are aimed at."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.conftest import ROOT, SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, ENDED
from tests.services import free_port, wait_for_port

FAILS = "The model refuses this one."
NOTES = ("en_03_opus.ogg", "en_20_video_note.mp4")


@dataclass
class Target:
    """The process, and what is in it: ids by the name of the field that takes them, and what its answers gave."""

    http: httpx.Client
    process: subprocess.Popen[bytes]
    log: Path
    ids: dict[str, list[str]] = field(default_factory=dict)
    etags: list[str] = field(default_factory=list)
    cursors: list[str] = field(default_factory=list)
    login: dict[str, str] = field(default_factory=dict)  # headers, for what takes nobody without one
    asked: int = 0

    @property
    def url(self) -> str:
        return str(self.http.base_url)

    def fresh(self, field_name: str) -> str:
        """The id of something new that may be deleted, cancelled or followed."""
        if field_name == "agent_id":
            return str(self._post("agent", {"name": "Throw-away"})["id"])
        if field_name == "key_id":
            return str(self._post("auth/key", {"name": "Throw-away"}, headers=self.login)["id"])
        session = self._post("session", {"agent_id": self.ids["agent_id"][0]})["id"]
        if field_name == "session_id":
            return str(session)
        job = self._post("message/text", {"session_id": session, "text": "When is breakfast?"})
        return str(job["id" if field_name == "job_id" else "message_id"])

    def unfinished(self, seconds: float) -> int:
        """How many jobs have not ended when all have, or after `seconds`."""
        until = time.monotonic() + seconds
        while True:
            jobs = [
                *self.http.get(f"{API}/job", params={"status": "queued"}).json()["items"],
                *self.http.get(f"{API}/job", params={"status": "running"}).json()["items"],
            ]
            if not jobs or time.monotonic() > until:
                return len(jobs)
            time.sleep(0.2)

    def stock(self) -> None:
        """Fill it: two agents, three sessions, jobs that ended well, badly and not at all, and their messages."""
        agents = [self._post("agent", {"name": f"Agent {n}", "language": "en"})["id"] for n in range(2)]
        sessions = [self._post("session", {"agent_id": agents[0], "name": f"Room {n}"})["id"] for n in range(3)]
        jobs = [self._said(sessions[0], "When is breakfast?", reply_audio=True), self._said(sessions[0], FAILS)]
        jobs += [self._spoken(sessions[n], SAMPLES / note) for n, note in enumerate(NOTES)]
        self._post(f"job/{self._said(sessions[2], 'Never mind.', headers={})['id']}/cancel", {}, ok={200, 409})
        messages = [
            message["id"]
            for session in sessions
            for message in self.http.get(f"{API}/message/conversation/{session}").json()["items"]
        ]
        self.ids = {"agent_id": agents, "session_id": sessions, "message_id": messages}
        ann, bob = (  # a database may have had another target before
            {"username": f"{name}-{uuid4().hex[:8]}", "password": "correct horse"} for name in ("ann", "bob")
        )
        self.ids["user_id"] = [self._post("auth/register", ann)["id"]]
        self._post("auth/register", bob)
        self.login = {"Authorization": f"Bearer {self._post('auth/login', bob)['access_token']}"}
        self.ids["key_id"] = [self._post("auth/key", {"name": "Front desk"}, headers=self.login)["id"]]
        self.ids["job_id"] = [job["id"] for job in self.http.get(f"{API}/job").json()["items"]]
        answers = [self.http.get(f"{API}/job/{job['id']}{part}") for job in jobs for part in ("", "/audio")]
        self.etags = [answer.headers["etag"] for answer in answers if "etag" in answer.headers]
        lists = ("agent", "session", "job", f"message/conversation/{sessions[0]}")
        pages = [self.http.get(f"{API}/{list_}", params={"limit": 1}).json() for list_ in lists]
        self.cursors = [page["next_cursor"] for page in pages]
        assert [job["status"] for job in jobs] == ["succeeded", "failed", "succeeded", "succeeded"]

    def _post(self, path: str, body: dict[str, Any], ok: set[int] | None = None, **more: Any) -> dict[str, Any]:
        answer = self.http.post(f"{API}/{path}", json=body, **more)
        assert answer.status_code in (ok or {200, 201, 202}), answer.text
        return dict(answer.json())

    def _said(self, session_id: str, text: str, *, reply_audio: bool = False, **more: Any) -> dict[str, Any]:
        more = {"headers": {"Prefer": "wait=30"}} | more
        return self._post("message/text", {"session_id": session_id, "text": text, "reply_audio": reply_audio}, **more)

    def _spoken(self, session_id: str, note: Path) -> dict[str, Any]:
        answer = self.http.post(
            f"{API}/message/voice",
            data={"session_id": session_id},
            files={"file": note.read_bytes()},
            headers={"Prefer": "wait=30"},
        )
        assert answer.json()["status"] in ENDED, answer.text
        return dict(answer.json())


@contextmanager
def running_target(folder: Path, **settings: str) -> Iterator[Target]:
    """`python standalone.py` in `folder`, asking a scripted model server; stopped as by Ctrl-C."""
    port, log = free_port(), folder / "parley.log"
    with FakeOpenAI() as fake, log.open("wb") as output:
        fake.script.always("chat", Answer(status=400, when=FAILS))
        environment = {
            "PATH": os.environ["PATH"],
            "ENV": "TEST",
            "LOG_LEVEL": "WARNING",
            "PORT": str(port),
            "DATA_DIR": str(folder),
            "OPENAI_API_KEY": "sk-test-canary",
            "OPENAI_BASE_URL": fake.url,
            **settings,
        }
        command = [sys.executable, str(ROOT / "standalone.py")]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        try:
            wait_for_port(port, process)
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
                target = Target(http, process, log)
                target.stock()
                yield target
        finally:
            process.terminate()
            process.wait(30)
