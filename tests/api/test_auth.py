"""Who may ask, with `AUTH=on`."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt

from api.auth import OPEN_PATHS
from api.main import create_app
from api.tokens import ACCESS, ALGORITHM, CLAIMS, REFRESH
from shared.config import Settings
from tests.conftest import SAMPLES
from tests.live import API, Live

ROUTES = [
    (method.upper(), path)
    for path, methods in create_app(Settings(_env_file=None)).openapi()["paths"].items()
    for method in methods
    if path.startswith(API) and path not in OPEN_PATHS
]


def forged(live: Live, like: dict[str, str], key: str | None = None, **changes: Any) -> dict[str, str]:
    """Headers with a token like a good one, but for some claims; None leaves one out."""
    claims = jwt.decode(like["Authorization"].split()[1], options={"verify_signature": False}) | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    token = jwt.encode(claims, key or live.stores.settings.signing_key, algorithm=ALGORITHM)
    return {"Authorization": f"Bearer {token}"}


async def test_no_route_answers_without_a_good_token(guarded: Live) -> None:
    good = await guarded.sign_in("ann", role="admin")
    past, later = datetime.now(UTC) - timedelta(seconds=5), datetime.now(UTC) + timedelta(hours=9)
    claims = jwt.decode(good["Authorization"].split()[1], options={"verify_signature": False})
    unsigned = jwt.encode(claims, "", algorithm="none")
    bad = {
        "none": {},
        "garbage": {"Authorization": "Bearer garbage"},
        "empty": {"Authorization": "Bearer"},
        "basic": {"Authorization": "Basic eDp5"},
        "unknown user": forged(guarded, good, sub=str(uuid4())),
        "unknown login": forged(guarded, good, sid=str(uuid4())),
        "no id": forged(guarded, good, sid="1"),
        "expired": forged(guarded, good, exp=past),
        "not yet": forged(guarded, good, nbf=later),
        "to refresh": forged(guarded, good, aud=REFRESH),
        "other audience": forged(guarded, good, aud="other"),
        "other issuer": forged(guarded, good, iss="other"),
        "unsigned": {"Authorization": f"Bearer {unsigned}"},
        "other key": forged(guarded, good, "k" * 32),
        "unknown key": {"Authorization": f"Bearer parley_AAAAAAAA_{'x' * 43}"},
        "unknown key by its header": {"X-API-Key": f"parley_AAAAAAAA_{'x' * 43}"},
        "no key": {"X-API-Key": "parley_"},
        **{f"without {name}": forged(guarded, good, **{name: None}) for name in CLAIMS},
    }
    assert len(ROUTES) > 30
    for method, path in ROUTES:
        for name, headers in bad.items():
            answer = await guarded.http.request(method, path.replace("{", "").replace("}", ""), headers=headers)
            assert answer.status_code == 401, (method, path, name)
            assert answer.json()["code"] == "unauthorized"
            assert answer.headers["www-authenticate"] == "Bearer"
    assert (await guarded.http.get("/health")).status_code == 200
    assert (await guarded.http.get(f"{API}/openapi.json")).status_code == 200
    for headers in (good, forged(guarded, good), forged(guarded, good, iat=later, aud=[ACCESS, "other"])):
        assert (await guarded.http.get(f"{API}/auth/me", headers=headers)).status_code == 200


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
    ann, bob = await guarded.sign_in("ann"), await guarded.sign_in("bob")
    guarded.http.headers.update(ann)
    session = await guarded.session()
    job = await guarded.done(await guarded.voice(session["id"], SAMPLES / "en_13.flac"))
    assert job["status"] == "succeeded"
    etag = (await guarded.http.get(job["links"]["self"])).headers["etag"]
    key = await guarded.http.post(f"{API}/auth/key", json={"name": "Front desk"})
    guarded.http.headers.update(bob)
    ids = {"agent_id": session["agent_id"], "session_id": session["id"], "job_id": job["id"],
           "message_id": job["message_id"], "key_id": key.json()["id"]}  # fmt: skip
    tried = 0
    for method, path in ROUTES:
        if "{" not in path or "/admin/" in path:
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
    for path in ("agent", "session", "job", "auth/key"):
        assert (await guarded.http.get(f"{API}/{path}")).json()["items"] == []
    text = {"session_id": session["id"], "text": "Let me in"}
    assert (await guarded.http.post(f"{API}/message/text", json=text)).status_code == 404
    note = await guarded.post_voice(session["id"], (SAMPLES / "en_13.flac").read_bytes())
    assert note.status_code == 404
    assert (await guarded.http.post(f"{API}/session", json={"agent_id": ids["agent_id"]})).status_code == 404
    guarded.http.headers.update(ann)
    assert (await guarded.http.get(job["links"]["audio"])).status_code == 200
