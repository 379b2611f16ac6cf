"""newman, headless, over a Parley that is started for it as a process of its own."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx

from shared.config import Settings
from tests.postman.collection import COLLECTION, ENVIRONMENT, FOLDER, load, requests
from tests.services import free_port

ROOT = FOLDER.parent
NEWMAN = ("npx", "--yes", "newman@6.2.2")
START_S = 60
STOP_S = 30
FETCH_S = 120
RUN_S = 240  # newman's own timeout does not stop a request that repeats itself
REQUEST_MS = 75_000  # over the longest `Prefer: wait`

BROKEN = {"PROVIDERS__BROKEN__BASE_URL": "http://127.0.0.1:1/v1", "MAX_ATTEMPTS": "2"}  # nothing listens there

PRICES = """
[[model]]
id = "offline/offline"
kind = "chat"
per_million_input_tokens = 0.1
per_million_output_tokens = 0.5
"""
"""The offline engine is free: with these, what a balance does not cover is refused."""

Auth = Literal["on", "off"]
Role = Literal["admin", "user"]


class CollectionFailedError(Exception):
    """The run did not end well; newman's own words were printed before."""


def newman_missing() -> str | None:
    """What has to be installed before newman can run, if anything."""
    if shutil.which("npx") is None:
        return "npx, which comes with Node.js,"
    try:
        fetched = subprocess.run([*NEWMAN, "--version"], check=False, capture_output=True, timeout=FETCH_S)
    except subprocess.TimeoutExpired:
        return f"{NEWMAN[-1]}, which npx could not fetch in {FETCH_S} s,"
    return f"{NEWMAN[-1]}, which npx could not fetch," if fetched.returncode else None


def run_collection(*, auth: Auth = "off", role: Role = "admin") -> None:
    """Run every request once; raises CollectionFailedError when one fails or is left out, or the server's exit does.

    It signs in as an administrator who is there already, or as the user whom it registers: what is shipped, as it is.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prices = folder / "prices.toml"
        prices.write_text(PRICES)
        environment = _clean_environment(
            DATA_DIR=str(folder / "data"), PORT=str(free_port()), AUTH=auth, MODEL_CATALOGUE=str(prices), **BROKEN
        )
        with _server(folder, environment) as url:
            account = _make_admin(folder, environment) if role == "admin" else {}
            run = _newman(
                _environment(folder, base_url=url, broken_model="broken/model", **account), folder / "report.json"
            )
            _check_whole(run, role)


def _clean_environment(**settings: str) -> dict[str, str]:
    """The environment of this process without any setting of Parley's but the ones given."""
    ours = {field.upper() for field in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper().split("__")[0] not in ours}
    return kept | {"PYTHONPATH": str(ROOT)} | settings


@contextmanager
def _server(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """`standalone.py` away from any `.env`; its URL. It is stopped as Ctrl-C would, and has to end well."""
    url = f"http://127.0.0.1:{environment['PORT']}"
    log = folder / "server.log"
    with log.open("wb") as output:
        # A session of its own: a Ctrl-C in the terminal is ours to pass on, once.
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "standalone.py")],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(url, process, log)
        yield url
    finally:
        status = _interrupt(process)
    if status != 0:
        raise CollectionFailedError(f"The server did not end well after SIGINT: {status}\n{_tail(log)}")


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    with httpx.Client(trust_env=False) as http:
        while time.monotonic() < until and process.poll() is None:
            try:
                if http.get(f"{url}/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
    raise CollectionFailedError(f"The server does not answer /health.\n{_tail(log)}")


def _interrupt(process: subprocess.Popen[bytes]) -> int | str:
    """Its exit status, or that it had to be killed."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return f"killed after {STOP_S} s"


def _make_admin(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    """Their name and password."""
    username, password = "chief", secrets.token_hex()
    subprocess.run(
        [sys.executable, "-m", "api", "create-admin", username],
        check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL, text=True, input=password,
    )  # fmt: skip
    return {"username": username, "password": password}


def _environment(folder: Path, **values: str) -> Path:
    """The Postman environment with some other values: in a file, because a command line is there for all to read."""
    made = load(ENVIRONMENT)
    for item in made["values"]:
        item["value"] = values.get(item["key"], item["value"])
    path = folder / ENVIRONMENT.name
    path.write_text(json.dumps(made))
    return path


def _newman(environment: Path, report: Path) -> dict[str, Any]:
    """What its report says of the run."""
    command = [
        *NEWMAN, "run", str(COLLECTION), "--environment", str(environment), "--working-dir", str(FOLDER),
        "--timeout-request", str(REQUEST_MS), "--reporters", "cli,json", "--reporter-json-export", str(report),
    ]  # fmt: skip
    direct = ",".join(filter(None, ["127.0.0.1", os.environ.get("NO_PROXY") or os.environ.get("no_proxy")]))
    try:
        ended = subprocess.run(
            command, check=False, cwd=FOLDER, env=os.environ | {"NO_PROXY": direct, "no_proxy": direct}, timeout=RUN_S
        )
    except subprocess.TimeoutExpired:
        raise CollectionFailedError(f"newman did not end within {RUN_S} s.") from None
    if ended.returncode:
        raise CollectionFailedError(f"newman ended with {ended.returncode}.")
    return dict(json.loads(report.read_bytes())["run"])


def _check_whole(run: dict[str, Any], role: Role) -> None:
    """Whether everything was sent, and no test skipped by an administrator, who may do what all of them need."""
    executions = run["executions"]
    sent = {execution["item"]["name"] for execution in executions}
    if left_out := [entry["name"] for entry in requests() if entry["name"] not in sent]:
        raise CollectionFailedError(f"These requests were not sent: {', '.join(left_out)}")
    skipped = [test["assertion"] for execution in executions for test in execution["assertions"] if test["skipped"]]
    if skipped and role == "admin":
        raise CollectionFailedError(f"These tests were skipped: {', '.join(skipped)}")


def _tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
