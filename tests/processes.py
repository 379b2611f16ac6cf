"""Parley's real processes, started as an operator starts them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
PATIENCE_S = 30


class Process:
    """One of our processes; its output goes to a file."""

    def __init__(self, *command: str, log: Path, env: dict[str, str], cwd: Path = ROOT) -> None:
        self.log = log
        clean = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        with log.open("wb") as output:
            self._popen = subprocess.Popen(
                [sys.executable, *command],
                env={**clean, "HOME": str(log.parent), "PYTHONPATH": str(ROOT), **env},
                cwd=cwd,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop; its exit code."""
        if self.alive:
            self.send(number)
        return self.ended()

    def ended(self) -> int:
        """Its exit code, once it has ended by itself."""
        return self._popen.wait(PATIENCE_S)

    def kill(self) -> None:
        self._popen.kill()
        self._popen.wait()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def alive(self) -> bool:
        return self._popen.poll() is None


@contextmanager
def running(*command: str, log: Path, env: dict[str, str], cwd: Path = ROOT) -> Iterator[Process]:
    """A process that does not outlive the block."""
    process = Process(*command, log=log, env=env, cwd=cwd)
    try:
        yield process
    finally:
        process.kill()


def wait_until_healthy(url: str, process: Process) -> float:
    """Seconds until /health answered."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE_S:
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return time.monotonic() - began
        except httpx.TransportError:
            time.sleep(0.05)
        assert process.alive, process.log.read_text()
    raise AssertionError(process.log.read_text())
