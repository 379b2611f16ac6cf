"""Private Redis and PostgreSQL servers on free ports, from installed binaries."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import boto3
import pytest
from moto.server import ThreadedMotoServer

REQUIRED = os.environ.get("PARLEY_TEST_SERVICES") == "required"


def missing(what: str) -> NoReturn:
    """Skip, with the reason, or fail where services are required."""
    reason = f"{what} is not installed"
    if REQUIRED:
        pytest.fail(f"{reason}, and PARLEY_TEST_SERVICES=required")
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis that keeps nothing; its URL."""
    binary = shutil.which("redis-server")
    if binary is None:
        missing("redis-server")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_for_port(port, process)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait()


def _postgres_folder() -> Path | None:
    """Where PostgreSQL's own programs are; Debian keeps them off the PATH."""
    on_path = shutil.which("postgres")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders += [Path(on_path).resolve().parent] if on_path else []
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL with trust authentication; its URL without a database."""
    folder_of_programs = _postgres_folder()
    if folder_of_programs is None:
        missing("PostgreSQL")
    initdb, postgres, pg_isready = [str(folder_of_programs / name) for name in ("initdb", "postgres", "pg_isready")]
    user = "postgres" if hasattr(os, "geteuid") and os.geteuid() == 0 else None  # it refuses to run as root
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        if user:
            shutil.chown(folder, user)
        subprocess.run(
            [initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=user,
            cwd=folder,
        )
        process = subprocess.Popen(
            [postgres, "-D", str(data), "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1",
             "-c", "fsync=off", "-c", "max_connections=200", "-c", "log_min_messages=panic",
             "-c", "log_min_error_statement=panic"],
            stderr=subprocess.DEVNULL, user=user, cwd=folder,
        )  # fmt: skip
        try:
            wait_for_port(port, process)
            ready = [pg_isready, "-h", "127.0.0.1", "-p", str(port), "-q"]
            while subprocess.run(ready, check=False).returncode:
                time.sleep(0.05)
            yield f"postgresql+asyncpg://postgres@127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


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
