"""While a process starts: a signal ends it at once, and what it can't do without is said in one line."""

import ast
import re
import signal
import time
from pathlib import Path

import pytest

from tests.processes import ROOT, Process, running

MAINS = ("api/__main__.py", "worker/__main__.py", "standalone.py", "migrations/env.py")
COMMANDS = ("standalone", "api", "worker")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LIMIT = 8_000_000  # bytes that any file may have: less than the unpacked language model


def caught(process: Process, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal."""
    found = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    assert found
    return bool(int(found[1], 16) >> (number - 1) & 1)


def settings(tmp_path: Path, redis: str, database_url: str) -> dict[str, str]:
    return {
        "DATA_DIR": str(tmp_path / "data"), "PORT": "0", "ENV": "TEST", "REDIS_URL": redis, "DATABASE_URL": database_url,
        "BLOB_URL": "memory://",
    }  # fmt: skip


def limited(module: str) -> str:
    """A module on a disk that is almost full, as far as the process can tell."""
    return (
        f"import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT},) * 2); "
        f"runpy.run_module('{module}', run_name='__main__')"
    )


@pytest.mark.parametrize("main", MAINS)
def test_signals_are_handled_before_anything_else_is_imported(main: str) -> None:
    imports = [
        node for node in ast.parse((ROOT / main).read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert ast.unparse(imports[0]) == "import shared.process.start_signals"
    heard = (ROOT / "shared/process/start_signals.py").read_text()
    assert {line.split()[1] for line in heard.splitlines() if line.startswith(("import", "from"))} <= {
        "os", "signal", "sys", "types",
    }  # fmt: skip


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_signal_ends_what_is_only_starting(
    tmp_path: Path, redis: str, sqlite_url: str, command: str, number: signal.Signals
) -> None:
    env = settings(tmp_path, redis, sqlite_url)
    with running("-m", command, log=tmp_path / "log", env=env) as process:
        while not caught(process, number) or (number == signal.SIGINT and not caught(process, signal.SIGHUP)):
            assert process.alive
            time.sleep(0.001)
        assert process.stop(number) == 128 + number
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_nohup_keeps_a_process_when_the_terminal_goes(tmp_path: Path) -> None:
    ignore = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "import asyncio, shared.process.start_signals\n"
        "from shared.process.stop_signals import stop_on_signals\n"
        "async def main():\n"
        "    stopping = stop_on_signals()\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    await asyncio.sleep(0.2)\n"
        "    print(stopping.is_set())\n"
        "asyncio.run(main())\n"
    )
    with running("-c", ignore, log=tmp_path / "log", env={}) as process:
        assert process.ended() == 0
    assert (tmp_path / "log").read_text() == "False\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_stops_a_worker_in_good_order(
    tmp_path: Path, redis: str, sqlite_url: str, number: signal.Signals
) -> None:
    log = tmp_path / "log"
    with running("-m", "worker", log=log, env=settings(tmp_path, redis, sqlite_url)) as process:
        while "worker.started" not in log.read_text():
            assert process.alive, log.read_text()
            time.sleep(0.02)
        assert process.stop(number) == 0
    assert "worker.stopped" in log.read_text()


@pytest.mark.parametrize("module", ["worker", "standalone"])
def test_without_room_for_the_language_model_nothing_starts(
    tmp_path: Path, redis: str, sqlite_url: str, module: str
) -> None:
    env = settings(tmp_path, redis, sqlite_url)
    with running("-c", limited(module), log=tmp_path / "log", env=env, cwd=ROOT) as process:
        assert process.ended() == 1
    *_, line = (tmp_path / "log").read_text().splitlines()
    assert line.startswith("Parley can't unpack its language model: File too large. A worker needs 70 MB")
    assert "TMPDIR" in line
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("module", COMMANDS)
def test_without_a_temporary_folder_nothing_starts(tmp_path: Path, redis: str, sqlite_url: str, module: str) -> None:
    none = (
        "import runpy, tempfile; tempfile._candidate_tempdir_list = lambda: ['/nothing']; "
        f"runpy.run_module('{module}', run_name='__main__')"
    )
    env = settings(tmp_path, redis, sqlite_url)
    with running("-c", none, log=tmp_path / "log", env=env, cwd=ROOT) as process:
        assert process.ended() == 1
    *_, line = (tmp_path / "log").read_text().splitlines()
    assert line == "Parley needs a temporary folder that it can write to: /tmp, or the one that TMPDIR names."
    assert "Traceback" not in (tmp_path / "log").read_text()
