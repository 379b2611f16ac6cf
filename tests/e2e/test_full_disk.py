"""No room left: what is refused, what stays, and that it goes on when there is room."""

import os
import resource
import time
import wave
from pathlib import Path

import httpx
import pytest

from tests.conftest import SAMPLES
from tests.fakes.openai_server import FakeOpenAI
from tests.processes import running, wait_until_healthy
from tests.services import AWS, free_port

API = "/api/v1"
LIMIT = 8_000_000  # bytes that any file may have: a disk that is full, as far as the process can tell


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Two minutes of something that is not silence."""
    path = tmp_path / "large.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(bytes(range(256)) * 45_000)
    assert path.stat().st_size > LIMIT
    return path


def test_an_upload_without_room_is_a_507_that_leaves_nothing(tmp_path: Path, large: Path) -> None:
    port, data = free_port(), tmp_path / "data"
    env = {"PORT": str(port), "DATA_DIR": str(data), "ENV": "TEST"}
    url = f"http://127.0.0.1:{port}"
    with running("-m", "standalone", log=tmp_path / "parley.log", env=env) as process:
        wait_until_healthy(url, process)
        with httpx.Client(base_url=url, timeout=60) as http:
            while not http.get("/health/ready").json()[
                "workers"
            ]:  # it has unpacked its language model, which is larger
                time.sleep(0.05)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
            agent = http.post(f"{API}/agent", json={"name": "Guide"}).json()["id"]
            session = http.post(f"{API}/session", json={"agent_id": agent}).json()["id"]

            def send(path: Path) -> httpx.Response:
                form = {"session_id": session, "reply_audio": "false"}
                return http.post(f"{API}/message/voice", data=form, files={"file": (path.name, path.read_bytes())})

            answer = send(large)
            assert (answer.status_code, answer.json()["code"]) == (507, "storage_full"), answer.text
            assert answer.headers["retry-after"]
            assert http.get(f"{API}/message/conversation/{session}").json()["items"] == []
            assert http.get(f"{API}/job").json()["items"] == []
            assert [path for path in (data / "blobs").rglob("*") if path.is_file()] == []

            small = send(SAMPLES / "en_13.flac")
            assert small.status_code == 202, small.text
            sound = http.get(f"{API}/message/{small.json()['message_id']}/audio").content
            assert sound == (SAMPLES / "en_13.flac").read_bytes()
        assert process.stop() == 0


def test_a_full_temporary_folder_loses_no_job(
    redis: str, postgres_url: str, bucket: str, fake: FakeOpenAI, tmp_path: Path
) -> None:
    """With a bucket, the API and the worker look at a voice note in a copy of it."""
    note = (SAMPLES / "en_13.flac").read_bytes()
    fake.script.hear(note, "Please remind me to call the dentist.")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        "PORT": str(port), "ENV": "TEST", "DATABASE_URL": postgres_url, "REDIS_URL": redis.replace("/0", "/5"), **AWS,
        "BLOB_URL": bucket, "AWS_ENDPOINT": os.environ["AWS_ENDPOINT"], "OPENAI_API_KEY": "sk", "OPENAI_BASE_URL": fake.url,
    }  # fmt: skip
    with (
        running("-m", "api", log=tmp_path / "api.log", env=env) as api,
        running("-m", "worker", log=tmp_path / "worker.log", env=env) as worker,
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        wait_until_healthy(url, api)
        while "worker.started" not in worker.log.read_text():
            assert worker.alive, worker.log.read_text()
            time.sleep(0.05)
        agent = http.post(f"{API}/agent", json={"name": "Guide"}).json()["id"]
        session = http.post(f"{API}/session", json={"agent_id": agent}).json()["id"]

        def send() -> httpx.Response:
            form = {"session_id": session, "reply_audio": "false"}
            return http.post(f"{API}/message/voice", data=form, files={"file": ("note.flac", note)})

        resource.prlimit(api.pid, resource.RLIMIT_FSIZE, (10_000, 10_000_000))
        refused = send()
        assert (refused.status_code, refused.json()["code"]) == (507, "storage_full"), refused.text
        resource.prlimit(api.pid, resource.RLIMIT_FSIZE, (10_000_000, 10_000_000))

        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (10_000, 10_000_000))
        job = send().json()
        while '"code": "storage_full"' not in worker.log.read_text():
            time.sleep(0.1)
        job = http.get(job["links"]["self"]).json()
        assert (job["status"], job["error"]) == ("queued", None), job
        assert "job.broke" not in worker.log.read_text()
