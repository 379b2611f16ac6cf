"""The image's health check: what it says of a real worker, and that asking costs nothing."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.processes import ROOT, running
from worker import health


def is_well(folder: Path) -> bool:
    """What `python -m worker.health` says where the temporary folder is `folder`."""
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(folder)}
    asked = subprocess.run([sys.executable, "-m", "worker.health"], cwd=ROOT, env=env, check=False, capture_output=True)
    assert (asked.stdout, asked.stderr) == (b"", b"")
    return asked.returncode == 0


def test_it_imports_nothing_of_parley() -> None:
    show = "import sys; before = set(sys.modules); import worker.health; print(*sorted(set(sys.modules) - before))"
    shown = subprocess.run([sys.executable, "-c", show], cwd=ROOT, check=True, capture_output=True, text=True)
    imported = {name.partition(".")[0] for name in shown.stdout.split()}
    assert imported & {"shared", "api", "asyncio", "sqlalchemy", "pydantic", "uvloop"} == set()
    assert [name for name in shown.stdout.split() if name.startswith("worker")] == ["worker", "worker.health"]


def test_a_host_without_a_worker_is_not_well(tmp_path: Path) -> None:
    assert not is_well(tmp_path)


@pytest.mark.parametrize(("age_s", "well"), [(0, True), (10, True), (20, False), (-10, True), (-3_600, False)])
def test_it_goes_by_the_age_of_the_last_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age_s: float, *, well: bool
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    health.beat()
    (file,) = tmp_path.iterdir()
    os.utime(file, (time.time() - age_s,) * 2)
    assert is_well(tmp_path) is well


def test_a_worker_is_well_until_it_is_stuck(tmp_path: Path, redis: str, sqlite_url: str) -> None:
    env = {
        "REDIS_URL": redis,
        "DATABASE_URL": sqlite_url,
        "BLOB_URL": "memory://",
        "TMPDIR": str(tmp_path),
        "ENV": "TEST",
    }
    with running("-m", "worker", log=tmp_path / "log", env=env) as process:
        while not is_well(tmp_path):
            assert process.alive, process.log.read_text()
            time.sleep(0.1)
        process.send(signal.SIGSTOP)
        while is_well(tmp_path):
            time.sleep(0.5)
        process.send(signal.SIGCONT)
        while not is_well(tmp_path):
            time.sleep(0.1)


def test_a_worker_that_can_not_claim_is_not_well(tmp_path: Path, redis: str, sqlite_url: str) -> None:
    env = {"REDIS_URL": redis, "DATABASE_URL": sqlite_url, "BLOB_URL": "memory://", "TMPDIR": str(tmp_path), "ENV": "TEST"}
    with running("-m", "worker", log=tmp_path / "log", env=env) as process:
        while not is_well(tmp_path):
            assert process.alive, process.log.read_text()
            time.sleep(0.1)
        with closing(sqlite3.connect(sqlite_url.partition("///")[2])) as connection:
            connection.execute("ALTER TABLE job RENAME TO lost")
        while is_well(tmp_path):
            assert process.alive, process.log.read_text()
            time.sleep(0.5)
