"""Private Redis and PostgreSQL servers on free ports, from installed binaries."""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, TypeVar

import boto3
import psutil  # type: ignore[import-untyped] # it has no types
import pytest
from moto.server import ThreadedMotoServer

S = TypeVar("S", bound="RedisServer | PostgresServer")

REQUIRED = os.environ.get("PARLEY_TEST_SERVICES") == "required"


def missing(what: str) -> NoReturn:
    """Skip, with the reason, or fail where services are required."""
    reason = f"{what} is not installed"
    if REQUIRED:
        pytest.fail(f"{reason}, and PARLEY_TEST_SERVICES=required")
    pytest.skip(reason)


def free_port() -> int:
    """A port that nobody has, below those that a kernel gives to connections: it may be bound a while later."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)  # not as others are seeded
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


class Server:
    """A server process of ours on a port that it keeps; it can be stopped, stalled and started again."""

    def __init__(self, command: list[str], port: int, folder: Path, user: str | None = None) -> None:
        self.port = port
        self._command = command
        self.folder = self._folder = folder
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again after a stop, and wait until it answers."""
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(self._command, stdout=quiet, stderr=quiet, user=self._user, cwd=self._folder)
        wait_for_port(self.port, self._process)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait until it has ended; SIGKILL leaves it no time to save anything."""
        if self._process:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait()

    def stall(self) -> None:
        """Freeze it: its connections stay open and nothing is answered."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process, "it was not started"
        self._process.send_signal(number)


class RedisServer(Server):
    """A Redis that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            missing("redis-server")
        port = free_port()
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
        super().__init__(command, port, folder)
        self.url = f"redis://127.0.0.1:{port}/0"


class PostgresServer(Server):
    """A PostgreSQL with trust authentication; `url` is without a database."""

    def __init__(self, folder: Path) -> None:
        folder_of_programs = _postgres_folder()
        if folder_of_programs is None:
            missing("PostgreSQL")
        initdb, postgres, pg_isready = [str(folder_of_programs / name) for name in ("initdb", "postgres", "pg_isready")]
        user = "postgres" if hasattr(os, "geteuid") and os.geteuid() == 0 else None  # it refuses to run as root
        port = free_port()
        data = folder / "data"
        if user:
            shutil.chown(folder, user)
        subprocess.run(
            [initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=user,
            cwd=folder,
        )
        command = [
            postgres, "-D", str(data), "-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1",
            "-c", "fsync=off", "-c", "max_connections=200", "-c", "log_min_messages=panic",
            "-c", "log_min_error_statement=panic",
        ]  # fmt: skip
        super().__init__(command, port, folder, user)
        self._is_ready = [pg_isready, "-h", "127.0.0.1", "-p", str(port), "-q"]
        self.url = f"postgresql+asyncpg://postgres@127.0.0.1:{port}"

    def start(self) -> None:
        super().start()
        while subprocess.run(self._is_ready, check=False).returncode:
            time.sleep(0.05)

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """End it, and the transactions under way with it: SIGTERM would wait for its clients to go."""
        if self._process and self._process.poll() is None:
            self.resume()
        super().stop(number)

    def stall(self) -> None:
        """Freeze all of its processes; the first one first, so that no more are born."""
        super().stall()
        for process in self._children():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """Let all of them go on."""
        for process in self._children():
            with suppress(psutil.NoSuchProcess):  # some come and go by themselves
                process.resume()
        super().resume()

    def _children(self) -> list[psutil.Process]:
        assert self._process, "it was not started"
        children: list[psutil.Process] = psutil.Process(self._process.pid).children(recursive=True)
        return children


def _postgres_folder() -> Path | None:
    """Where PostgreSQL's own programs are; Debian keeps them off the PATH."""
    on_path = shutil.which("postgres")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders += [Path(on_path).resolve().parent] if on_path else []
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@contextmanager
def private(kind: type[S]) -> Iterator[S]:
    """A started server of one's own, in a folder that goes with it."""
    with tempfile.TemporaryDirectory() as folder:
        server = kind(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis that keeps nothing; its URL."""
    with private(RedisServer) as server:
        yield server.url


@contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL with trust authentication; its URL without a database."""
    with private(PostgresServer) as server:
        yield server.url


AWS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
}


@contextmanager
def s3_bucket() -> Iterator[str]:
    """A bucket of an S3-compatible server; its URL. The credentials are in the environment meanwhile."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    before = dict(os.environ)
    os.environ.update(AWS, AWS_ENDPOINT=endpoint)
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="parley")
    try:
        yield "s3://parley/some/prefix"
    finally:
        os.environ.clear()
        os.environ.update(before)
        server.stop()
