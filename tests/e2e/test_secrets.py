"""Secrets stay where they belong: real processes at their most talkative, and all that comes out of them is searched."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import redis as redis_client

from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.processes import Process, running, wait_until_healthy
from tests.services import RedisServer, free_port, private

API = "/api/v1"
NOTE = SAMPLES / "en_03_opus.ogg"
SECRETS = {
    name: f"canary-{name}-8f3a61c2d97b4e05"
    for name in ("password", "next-password", "wrong-password", "admin-password", "jwt-secret", "provider-key",
                 "other-provider-key", "redis-password", "db-password", "garbage-token", "broken-json")
}  # fmt: skip
SAID = ("canary-said-in-text", "canary-heard-in-voice", "canary-replied")
TOKENS = ("access_token", "refresh_token", "token", "key")


class Recorder:
    """Remembers every answer, and what was given away once."""

    def __init__(self) -> None:
        self.secrets = dict(SECRETS)
        self.answers: list[tuple[str, str, set[str]]] = []

    def __call__(self, answer: httpx.Response) -> None:
        answer.read()
        given = set()
        if answer.is_success and answer.content and answer.headers["content-type"] == "application/json":
            body = answer.json()
            given = {body[name] for name in TOKENS if isinstance(body.get(name), str)}
        for number, secret in enumerate(given):
            what = f"{answer.request.url.path} {len(self.answers)}/{number}"
            self.secrets[what] = secret
            self.secrets[f"{what}, its end"] = secret[-43:]  # the signature, or the secret half of a key
        text = f"{answer.status_code} {answer.headers} {answer.content.decode('latin-1')}"
        path = answer.request.url.path  # a problem's `instance` is what was asked for
        self.answers.append((f"{answer.request.method} {path}", text.replace(path, ""), given))

    def leaks(self) -> Iterator[tuple[str, str]]:
        """Answers with a secret that is not the one they are to give."""
        for where, text, given in self.answers:
            for name, secret in self.secrets.items():
                if secret in text and not any(one.endswith(secret) for one in given):
                    yield where, name

    def found_in(self, text: str) -> list[str]:
        """Names of the secrets in a text."""
        return [name for name, secret in self.secrets.items() if secret in text]


class Deployment:
    """Parley with a password on everything, and a client."""

    def __init__(self, http: httpx.Client, recorder: Recorder, processes: list[Process]) -> None:
        self.http = http
        self.recorder = recorder
        self.processes = processes

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return self.http.post(path if path.startswith("/") else f"{API}/{path}", **arguments)

    def done(self, answer: httpx.Response) -> dict[str, Any]:
        """The job when it has ended."""
        assert answer.status_code == 202, answer.text
        url = answer.json()["links"]["self"]
        while True:
            job = self.http.get(url, headers={"Prefer": "wait=30"}, timeout=40).json()
            if job["finished_at"]:
                return dict(job)


@pytest.fixture
def redis_with_password() -> Iterator[RedisServer]:
    with private(RedisServer) as server:
        with redis_client.Redis(port=server.port) as client:
            client.config_set("requirepass", SECRETS["redis-password"])
        yield server


@pytest.fixture
def deployment(
    redis_with_password: RedisServer, postgres_url: str, fake: FakeOpenAI, tmp_path: Path
) -> Iterator[Deployment]:
    port = free_port()
    env = {
        "ENV": "TEST",
        "LOG_LEVEL": "DEBUG",
        "AUTH": "on",
        "JWT_SECRET": SECRETS["jwt-secret"],
        "ADMIN_USERNAME": "root",
        "ADMIN_PASSWORD": SECRETS["admin-password"],
        "DATABASE_URL": postgres_url.replace("//postgres@", f"//postgres:{SECRETS['db-password']}@"),
        "REDIS_URL": f"redis://:{SECRETS['redis-password']}@127.0.0.1:{redis_with_password.port}/0",
        "BLOB_URL": (tmp_path / "blobs").as_uri(),
        "OPENAI_API_KEY": SECRETS["provider-key"],
        "OPENAI_BASE_URL": fake.url,
        "PROVIDERS__OTHER__BASE_URL": fake.url,
        "PROVIDERS__OTHER__API_KEY": SECRETS["other-provider-key"],
        "USER_TOKENS_PER_DAY": "1000000",
        "USER_AUDIO_MINUTES_PER_DAY": "1000",
        "MAX_ATTEMPTS": "2",
        "PORT": str(port),
    }
    recorder = Recorder()
    with ExitStack() as stack:
        names = ("api", "worker")
        processes = [stack.enter_context(running("-m", n, log=tmp_path / f"{n}.log", env=env)) for n in names]
        url = f"http://127.0.0.1:{port}"
        wait_until_healthy(url, processes[0])
        hooks: dict[str, list[Callable[..., Any]]] = {"response": [recorder]}
        yield Deployment(
            stack.enter_context(httpx.Client(base_url=url, timeout=60, event_hooks=hooks)), recorder, processes
        )


@pytest.fixture
def monitored(redis_with_password: RedisServer) -> Iterator[list[str]]:
    """Every command that Redis gets."""
    seen: list[str] = []
    client = redis_client.Redis(port=redis_with_password.port, password=SECRETS["redis-password"])

    def listen() -> None:
        with suppress(redis_client.RedisError, ValueError, OSError), client.monitor() as monitor:  # type: ignore[no-untyped-call]  # it has no types
            ready.set()
            seen.extend(command["command"] for command in monitor.listen())

    ready = threading.Event()
    threading.Thread(target=listen, daemon=True).start()
    assert ready.wait(10)
    yield seen
    client.close()


def sign_up_and_in(parley: Deployment) -> None:
    """Every way in and out, and the wrong ones."""
    password, wrong = SECRETS["password"], SECRETS["wrong-password"]
    ann = {"username": "ann", "password": password}
    assert parley.post("auth/register", json=ann).status_code == 201
    assert parley.post("auth/register", json=ann).status_code == 409
    for body in (
        {"username": "ann", "password": [password]},
        {"username": "", "password": password},
        {"username": "bob", "password": password * 20},
        {"name": "bob", "password": password},
        [password],
    ):
        for path in ("auth/register", "auth/login", "/login"):
            assert parley.post(path, json=body).status_code == 422
    for broken in ('{"username": "ann", "password": "' + SECRETS["broken-json"], f"password={password}&username=%ff"):
        for path, kind in (("auth/login", "json"), ("auth/login", "x-www-form-urlencoded"), ("auth/register", "json")):
            answer = parley.post(path, content=broken, headers={"content-type": f"application/{kind}"})
            assert answer.status_code in {400, 401, 415, 422}, answer.text
    assert parley.post("auth/login", json={**ann, "password": wrong}).status_code == 401
    assert parley.post("auth/token", data={**ann, "password": wrong}).status_code == 401
    assert parley.post("/login", json=ann).status_code == 200
    assert parley.post("auth/token", data={**ann, "grant_type": "password"}).status_code == 200
    first = parley.post("auth/login", json=ann).json()
    refresh = {"refresh_token": first["refresh_token"]}
    assert parley.post("auth/refresh", json=refresh).status_code == 200
    assert parley.post("auth/refresh", json=refresh).status_code == 401
    assert parley.post("auth/refresh", json={"refresh_token": SECRETS["garbage-token"]}).status_code == 401
    assert parley.post("auth/refresh", json={"refresh": SECRETS["garbage-token"]}).status_code == 422
    for headers in (
        {"Authorization": f"Bearer {SECRETS['garbage-token']}"},
        {"X-API-Key": SECRETS["garbage-token"]},
        {"Authorization": f"Bearer {first['access_token']}"},  # its login has ended
        {"Cookie": f"token={SECRETS['garbage-token']}"},
        {"X-Request-ID": "1", "Authorization": f"Basic {SECRETS['garbage-token']}"},
    ):
        assert parley.http.get(f"{API}/auth/me", headers=headers).status_code == 401
    assert parley.http.get(f"{API}/auth/me?access_token={first['access_token']}").status_code == 401
    second = parley.post("auth/login", json=ann).json()
    parley.http.headers["Authorization"] = f"Bearer {second['access_token']}"
    change = {"current_password": wrong, "new_password": SECRETS["next-password"]}
    assert parley.post("auth/password", json=change).status_code == 401
    third = parley.post("auth/password", json={**change, "current_password": password})
    assert third.status_code == 200, third.text
    parley.http.headers["Authorization"] = f"Bearer {third.json()['access_token']}"
    key = parley.post("auth/key", json={"name": "Front desk"}).json()
    spare = parley.post("auth/key", json={"name": "Back desk", "scopes": ["read"]}).json()
    assert parley.http.delete(f"{API}/auth/key/{spare['id']}").status_code == 204
    for used, status in ((key["key"], 200), (spare["key"], 401), (key["key"][:-1] + "x", 401)):
        assert (
            parley.http.get(f"{API}/auth/key", headers={"Authorization": "", "X-API-Key": used}).status_code == status
        )
    del parley.http.headers["Authorization"]
    parley.http.headers["X-API-Key"] = key["key"]
    for path in ("auth/me", "auth/key", "admin/user", "agent?cursor=" + key["key"], "job/" + key["key"]):
        parley.http.get(f"{API}/{path}")


def talk(parley: Deployment, fake: FakeOpenAI) -> None:
    """Text and voice, followed, cancelled, and with models that fail and tell the key."""
    said, heard, replied = SAID
    fake.script.hear(NOTE.read_bytes(), heard)
    fake.script.always("chat", Answer(text=f"{replied}. And more."))
    agent = parley.post("agent", json={"name": "Guide"}).json()["id"]
    session = parley.post("session", json={"agent_id": agent}).json()["id"]

    def text(**more: Any) -> httpx.Response:
        return parley.post("message/text", json={"session_id": session, "text": said, **more})

    def voice(note: bytes = NOTE.read_bytes()) -> httpx.Response:
        return parley.post("message/voice", data={"session_id": session}, files={"file": ("note", note)})

    assert parley.done(text())["status"] == "succeeded"
    spoken = parley.done(voice())
    assert (spoken["status"], spoken["result"]["transcript"]) == ("succeeded", heard)
    assert parley.http.get(spoken["links"]["audio"], headers={"Range": "bytes=0-99"}).status_code == 206
    followed = text(reply_audio=True).json()
    events = parley.http.get(followed["links"]["events"])
    assert "event: end" in events.text
    assert parley.http.get(followed["links"]["audio"], params={"stream": 1}).status_code == 200
    for endpoint in ("chat", "transcriptions", "speech"):
        for status in (401, 429, 500):
            told = f"Incorrect API key provided: {SECRETS['provider-key']}, {SECRETS['other-provider-key']}."
            fake.script.always(
                endpoint,
                Answer(
                    status=status, error={"message": told, "code": told}, headers={"x-key": SECRETS["provider-key"]}
                ),
            )
            failed = parley.done(voice())
            assert failed["status"] == "failed", failed
            parley.http.get(failed["links"]["events"])
            if status == 500:
                parley.done(parley.post(f"job/{failed['id']}/retry"))
        fake.script.always(endpoint, None)
    fake.script.always("chat", Answer(raw=[SECRETS["provider-key"]], content_type="text/plain"))
    parley.done(text())
    fake.script.always("chat", Answer(hang=True))
    hanging = text().json()
    assert parley.post(hanging["links"]["cancel"]).status_code == 200
    fake.script.always("chat", None)
    assert voice(b"no sound " + SECRETS["garbage-token"].encode()).status_code == 415
    assert parley.post("message/text", json={"session_id": SECRETS["password"], "text": said}).status_code == 422
    for path in ("job", "agent", "session", f"message/conversation/{session}", "openapi.json"):
        assert parley.http.get(f"{API}/{path}").status_code == 200
    assert parley.http.get("/health/ready").status_code == 200


def redis_contents(server: RedisServer) -> str:
    """Every key and what is in it."""
    found = []
    with redis_client.Redis(port=server.port, password=SECRETS["redis-password"]) as client:
        for key in client.scan_iter(count=1_000):
            match client.type(key):
                case b"string":
                    value: object = client.get(key)
                case b"hash":
                    value = client.hgetall(key)
                case b"zset":
                    value = client.zrange(key, 0, -1)
                case b"stream":
                    value = client.xrange(key)
                case kind:
                    assert kind == b"none", kind  # it is gone
                    continue
            found.append(f"{key!r} {value!r}")
    return "\n".join(found)


async def database_contents(url: str) -> dict[str, str]:
    """Every row of every table, as text."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        tables = [
            row[0] for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]
        rows = {name: await connection.fetch(f'SELECT row_to_json(t)::text FROM "{name}" t') for name in tables}  # noqa: S608
    finally:
        await connection.close()
    return {name: "\n".join(row[0] for row in found) for name, found in rows.items()}


async def test_no_secret_gets_out(
    deployment: Deployment,
    monitored: list[str],
    redis_with_password: RedisServer,
    postgres_url: str,
    fake: FakeOpenAI,
    tmp_path: Path,
) -> None:
    sign_up_and_in(deployment)
    talk(deployment, fake)
    recorder = deployment.recorder
    kept = await database_contents(postgres_url)
    in_redis = redis_contents(redis_with_password)
    assert [process.stop() for process in deployment.processes] == [0, 0]
    logs = {process.log.name: process.log.read_text() for process in deployment.processes}

    assert len(recorder.secrets) > len(SECRETS) + 10
    assert list(recorder.leaks()) == []
    assert len(kept) > 10
    assert {name: recorder.found_in(rows) for name, rows in kept.items() if recorder.found_in(rows)} == {}
    assert len(monitored) > 100
    assert recorder.found_in("\n".join(monitored)) == []
    assert recorder.found_in(in_redis) == []
    assert any('"level": "debug"' in text for text in logs.values())
    for name, text in logs.items():
        assert recorder.found_in(text) == [], name
        assert [words for words in SAID if words in text] == [], name
        assert "Traceback" not in text
    for path in (tmp_path / "blobs").rglob("*"):
        assert not path.is_file() or recorder.found_in(path.read_bytes().decode("latin-1")) == []
