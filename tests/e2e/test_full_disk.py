"""No room left: what is refused, what stays, and that it goes on when there is room."""

import wave
from pathlib import Path

import httpx
import pytest

from tests.conftest import SAMPLES
from tests.processes import ROOT, running, wait_until_healthy
from tests.services import free_port

API = "/api/v1"
LIMIT = 8_000_000  # bytes that any file may have: a disk that is full, as far as the process can tell
FULL = f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT},) * 2); runpy.run_path('standalone.py', run_name='__main__')"


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
    with running("-c", FULL, log=tmp_path / "parley.log", env=env, cwd=ROOT) as process:
        wait_until_healthy(url, process)
        with httpx.Client(base_url=url, timeout=60) as http:
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
