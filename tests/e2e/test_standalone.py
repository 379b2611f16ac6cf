"""`python -m standalone` as a newcomer has it: no key, no services, nothing but Python."""

import signal
from pathlib import Path

import httpx

from tests.conftest import SAMPLES
from tests.processes import Process, running, wait_until_healthy
from tests.services import free_port

API = "/api/v1"


def newcomer(tmp_path: Path, **env: str) -> tuple[str, dict[str, str]]:
    """An address, and an environment that finds no program but Python."""
    port = free_port()
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    return f"http://127.0.0.1:{port}", {"PATH": str(folder), "PORT": str(port), "DATA_DIR": str(tmp_path / "d"), **env}


def talk(url: str, file: str, **fields: str) -> tuple[dict[str, object], bytes]:
    with httpx.Client(base_url=url, timeout=60) as http:
        agent = http.post(f"{API}/agent", json={"name": "Guide"}).json()
        session = http.post(f"{API}/session", json={"agent_id": agent["id"]}).json()
        job = http.post(
            f"{API}/message/voice",
            data={"session_id": session["id"], **fields},
            files={"file": (file, (SAMPLES / file).read_bytes())},
            headers={"Prefer": "wait=60"},
        ).json()
        assert job["status"] == "succeeded", job
        return job["result"], http.get(job["links"]["audio"]).content


def test_a_voice_note_goes_in_and_an_mp3_comes_out(tmp_path: Path) -> None:
    url, env = newcomer(tmp_path)
    with running("-m", "standalone", log=tmp_path / "log", env=env) as parley:
        wait_until_healthy(url, parley)
        english, sound = talk(url, "en_03_opus.ogg")
        assert english["language"] == "en"
        assert "dentist" in str(english["transcript"])
        assert len(sound) > 10_000
        arabic, sound = talk(url, "ar_03_opus.ogg", language="ar")
        assert arabic["language"] == "ar"
        assert arabic["transcript"] == ""  # it says that it can't hear Arabic; it does not invent words
        assert len(sound) > 10_000
        for page in ("/", f"{API}/docs", f"{API}/redoc"):
            assert httpx.get(url + page).status_code == 200
        assert parley.stop(signal.SIGINT) == 0
        said = parley.log.read_text()
    for told in (f"{url}/", f"{url}{API}/docs", str(tmp_path / "d"), "no key is set", "OPENAI_API_KEY"):
        assert told in said
    assert "Traceback" not in said


def test_what_was_said_is_there_after_a_restart(tmp_path: Path) -> None:
    url, env = newcomer(tmp_path)
    with running("-m", "standalone", log=tmp_path / "log1", env=env) as first:
        wait_until_healthy(url, first)
        agent = httpx.post(f"{url}{API}/agent", json={"name": "Guide"}).json()
        session = httpx.post(f"{url}{API}/session", json={"agent_id": agent["id"]}).json()
        for n in range(3):
            httpx.post(f"{url}{API}/message/text", json={"session_id": session["id"], "text": f"Number {n}"})
        first.kill()  # no time to say goodbye
    with running("-m", "standalone", log=tmp_path / "log2", env={**env, "LEASE_S": "1"}) as second:
        wait_until_healthy(url, second)
        with httpx.Client(base_url=url, timeout=90) as http:
            for job in http.get(f"{API}/job").json()["items"]:
                ended = http.get(job["links"]["self"], headers={"Prefer": "wait=60"}).json()
                assert ended["status"] == "succeeded", ended
            items = http.get(f"{API}/message/conversation/{session['id']}").json()["items"]
        assert [item["seq"] for item in items] == [1, 2, 3, 4, 5, 6]
        assert second.stop() == 0


def test_a_taken_port_and_missing_servers_are_told_in_one_line(tmp_path: Path) -> None:
    url, env = newcomer(tmp_path)
    with running("-m", "standalone", log=tmp_path / "log", env=env) as parley:
        wait_until_healthy(url, parley)
        second = Process("-m", "standalone", log=tmp_path / "second", env=env)
        assert second.ended() == 1
        assert "PORT" in second.log.read_text()
        assert "Traceback" not in second.log.read_text()
    for module in ("api", "worker"):
        alone = Process("-m", module, log=tmp_path / module, env=env)
        assert alone.ended() != 0
        assert "make run" in alone.log.read_text()
