"""Who may ask, with `AUTH=on`."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from pydantic import SecretStr

from api.auth import ALGORITHM, AUDIENCE, ISSUER, make_token
from api.main import create_app
from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.models import User
from tests.conftest import SAMPLES
from tests.live import API, Live, live_parley

ROUTES = [
    (method.upper(), path)
    for path, methods in create_app(Settings(_env_file=None)).openapi()["paths"].items()
    for method in methods
    if path.startswith(API)
]


@pytest.fixture
async def guarded(settings: Settings, audio_pool: AudioPool) -> AsyncIterator[Live]:
    secret = "0123456789abcdef0123456789abcdef"
    settings = settings.model_copy(update={"auth": "on", "jwt_secret": SecretStr(secret)})
    async with live_parley(settings, audio_pool) as live:
        yield live


async def sign_in(live: Live, name: str) -> dict[str, str]:
    async with live.stores.database.write() as db:
        user = User(username=name)
        db.add(user)
    return {"Authorization": f"Bearer {make_token(live.stores.settings, user.id, days=1)}"}


def forged(live: Live, **changes: Any) -> str:
    now = datetime.now(UTC)
    claims = {"sub": str(uuid4()), "iss": ISSUER, "aud": AUDIENCE, "exp": now + timedelta(days=1)} | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, live.stores.settings.signing_key, algorithm=ALGORITHM)


async def test_no_route_answers_without_a_good_token(guarded: Live) -> None:
    stranger = forged(guarded)
    bad = {
        "none": {},
        "garbage": {"Authorization": "Bearer garbage"},
        "basic": {"Authorization": "Basic eDp5"},
        "unknown user": {"Authorization": f"Bearer {stranger}"},
        "expired": {"Authorization": f"Bearer {forged(guarded, exp=datetime.now(UTC) - timedelta(seconds=5))}"},
        "for ever": {"Authorization": f"Bearer {forged(guarded, exp=None)}"},
        "other audience": {"Authorization": f"Bearer {forged(guarded, aud='other')}"},
        "unsigned": {"Authorization": f"Bearer {jwt.encode({'sub': str(uuid4())}, '', algorithm='none')}"},
        "other key": {"Authorization": f"Bearer {jwt.encode({'sub': str(uuid4())}, 'k' * 32, algorithm=ALGORITHM)}"},
    }
    assert len(ROUTES) > 20
    for method, path in ROUTES:
        for name, headers in bad.items():
            answer = await guarded.http.request(method, path.replace("{", "").replace("}", ""), headers=headers)
            assert answer.status_code == 401, (method, path, name)
            assert answer.json()["code"] == "unauthorized"
            assert answer.headers["www-authenticate"] == "Bearer"
    assert (await guarded.http.get("/health")).status_code == 200
    assert (await guarded.http.get(f"{API}/openapi.json")).status_code == 200


async def test_who_asks_is_checked_before_the_body_is_read(guarded: Live) -> None:
    reader, writer = await asyncio.open_connection(guarded.http.base_url.host, guarded.http.base_url.port)
    writer.write(
        f"POST {API}/message/voice HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode()
    )
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)  # not one byte of the body was sent
    writer.close()
    assert b" 401 " in answer


async def test_anothers_things_are_not_there(guarded: Live) -> None:
    ann, bob = await sign_in(guarded, "ann"), await sign_in(guarded, "bob")
    guarded.http.headers.update(ann)
    session = await guarded.session()
    job = await guarded.done(await guarded.voice(session["id"], SAMPLES / "en_13.flac"))
    assert job["status"] == "succeeded"
    etag = (await guarded.http.get(job["links"]["self"])).headers["etag"]
    guarded.http.headers.update(bob)
    ids = {"agent_id": session["agent_id"], "session_id": session["id"], "job_id": job["id"],
           "message_id": job["message_id"]}  # fmt: skip
    tried = 0
    for method, path in ROUTES:
        if "{" not in path:
            continue
        body = {"PUT": {"name": "x", "agent_id": ids["agent_id"]}, "PATCH": {}}.get(method)
        if body and "/agent/" in path:
            body.pop("agent_id")
        answer = await guarded.http.request(method, path.format(**ids), json=body)
        missing = await guarded.http.request(method, path.format(**dict.fromkeys(ids, uuid4())), json=body)
        assert answer.status_code == missing.status_code == 404, (method, path)
        ours, theirs = answer.json(), missing.json()
        assert {k: ours[k] for k in ("title", "detail", "code")} == {k: theirs[k] for k in ("title", "detail", "code")}
        tried += 1
    assert tried > 14
    for named in ("*", etag):
        assert (await guarded.http.get(job["links"]["self"], headers={"If-None-Match": named})).status_code == 404
    for path in ("agent", "session", "job"):
        assert (await guarded.http.get(f"{API}/{path}")).json()["items"] == []
    text = {"session_id": session["id"], "text": "Let me in"}
    assert (await guarded.http.post(f"{API}/message/text", json=text)).status_code == 404
    note = await guarded.post_voice(session["id"], (SAMPLES / "en_13.flac").read_bytes())
    assert note.status_code == 404
    assert (await guarded.http.post(f"{API}/session", json={"agent_id": ids["agent_id"]})).status_code == 404
    guarded.http.headers.update(ann)
    assert (await guarded.http.get(job["links"]["audio"])).status_code == 200
