"""api and two workers as real processes, on Redis and PostgreSQL, with a model server: both kinds, both languages."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import httpx
import pytest

from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.processes import Process, running, wait_until_healthy
from tests.services import free_port

API = "/api/v1"


class Fleet:
    """The processes and a client."""

    def __init__(self, api: Process, workers: list[Process], http: httpx.Client) -> None:
        self.api = api
        self.workers = workers
        self.http = http

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.http.post(f"{API}/{path}", json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def session(self) -> str:
        return str(self.post("session", agent_id=self.post("agent", name="Guide")["id"])["id"])

    def done(self, job: dict[str, Any]) -> dict[str, Any]:
        answer = self.http.get(job["links"]["self"], headers={"Prefer": "wait=60"}, timeout=70)
        return dict(answer.json())


@pytest.fixture
def fleet(redis: str, postgres_url: str, fake: FakeOpenAI, tmp_path: Path) -> Iterator[Fleet]:
    port = free_port()
    env = {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis.replace("/0", "/3"),
        "BLOB_URL": (tmp_path / "blobs").as_uri(),
        "OPENAI_API_KEY": "sk-canary",
        "OPENAI_BASE_URL": fake.url,
        "PORT": str(port),
        "LEASE_S": "2",
        "ENV": "TEST",
    }
    with ExitStack() as stack:
        api = stack.enter_context(running("-m", "api", log=tmp_path / "api.log", env=env))
        workers = [
            stack.enter_context(running("-m", "worker", log=tmp_path / f"worker{n}.log", env=env)) for n in (1, 2)
        ]
        url = f"http://127.0.0.1:{port}"
        wait_until_healthy(url, api)
        http = stack.enter_context(httpx.Client(base_url=url, timeout=30))
        yield Fleet(api, workers, http)


def seconds_of(mp3: bytes, path: Path) -> float:
    path.write_bytes(mp3)
    with av.open(str(path)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


@pytest.mark.parametrize(
    ("file", "said", "typed", "language"),
    [
        ("en_03_opus.ogg", "Please remind me to call the dentist.", "Thanks a lot.", "en"),
        ("ar_03_opus.ogg", "مرحبا، كيف حالك اليوم؟", "شكرا جزيلا على مساعدتك.", "ar"),
    ],
)
def test_text_and_voice_in_both_languages(
    fleet: Fleet, fake: FakeOpenAI, tmp_path: Path, file: str, said: str, typed: str, language: str
) -> None:
    note = (SAMPLES / file).read_bytes()
    fake.script.hear(note, said)
    session = fleet.session()
    answer = fleet.http.post(f"{API}/message/voice", data={"session_id": session}, files={"file": (file, note)})
    assert answer.status_code == 202, answer.text
    job = fleet.done(answer.json())
    assert job["status"] == "succeeded", job
    assert (job["result"]["transcript"], job["result"]["language"]) == (said, language)
    sound = fleet.http.get(job["result"]["audio"]["url"]).content
    assert seconds_of(sound, tmp_path / "reply.mp3") == pytest.approx(job["result"]["audio"]["duration_s"], abs=0.1)

    text = fleet.done(fleet.post("message/text", session_id=session, text=typed))
    assert (text["status"], text["result"]["language"]) == ("succeeded", language)
    items = fleet.http.get(f"{API}/message/conversation/{session}").json()["items"]
    assert [item["language"] for item in items] == [language] * 4
    for process in (fleet.api, *fleet.workers):
        assert process.stop() == 0
        assert "sk-canary" not in process.log.read_text()


def test_a_worker_killed_between_steps_is_resumed_without_repeating_them(fleet: Fleet, fake: FakeOpenAI) -> None:
    fake.script.always("speech", Answer(delay_s=20))
    job = fleet.post("message/text", session_id=fleet.session(), text="One sentence is enough here.", reply_audio=True)
    while not fake.script.count("speech"):
        fleet.http.get(job["links"]["self"], headers={"Prefer": "wait=1"})
    fake.script.always("speech", None)
    while fleet.http.get(job["links"]["self"]).json()["stage"] != "speak":  # its reply is being saved
        time.sleep(0.05)
    owner = next(worker for worker in fleet.workers if "job.claimed" in worker.log.read_text())
    owner.kill()
    job = fleet.done(job)
    assert (job["status"], job["attempt"]) == ("succeeded", 2), job
    assert fake.script.count("chat") == 1
    assert job["result"]["audio"]


def test_a_worker_told_to_stop_hands_its_job_back_unused(fleet: Fleet, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(delay_s=1.0))
    job = fleet.post("message/text", session_id=fleet.session(), text="Hello")
    while not fake.script.count("chat"):
        fleet.http.get(job["links"]["self"], headers={"Prefer": "wait=1"})
    for worker in fleet.workers:
        worker.send(signal.SIGTERM)
    assert [worker.ended() for worker in fleet.workers] == [0, 0]
    job = fleet.done(job)
    assert (job["status"], job["attempt"]) == ("succeeded", 1)  # it had the grace to finish
    assert fleet.http.get("/health/ready").json()["workers"] == 0


def test_a_second_signal_ends_a_worker_at_once(fleet: Fleet, fake: FakeOpenAI) -> None:
    fake.script.always("chat", Answer(delay_s=60))
    job = fleet.post("message/text", session_id=fleet.session(), text="Hello")
    while not fake.script.count("chat"):
        fleet.http.get(job["links"]["self"], headers={"Prefer": "wait=1"})
    owner = next(worker for worker in fleet.workers if "job.claimed" in worker.log.read_text())
    owner.send(signal.SIGTERM)
    while "worker.draining" not in owner.log.read_text():
        assert owner.alive
    owner.send(signal.SIGTERM)
    assert owner.ended() == 128 + signal.SIGTERM
    fake.script.always("chat", None)
    assert fleet.done(job)["status"] == "succeeded"  # the other worker has it, once the lease ran out


def test_a_waiting_client_is_answered_when_the_api_stops(fleet: Fleet, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(delay_s=30))
    job = fleet.post("message/text", session_id=fleet.session(), text="Hello")
    with fleet.http.stream("GET", job["links"]["events"]) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("event: status")
        assert fleet.api.stop() == 0
        assert not [line for line in lines if line == "event: end"]
