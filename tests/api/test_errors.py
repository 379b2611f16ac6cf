"""Every error is a problem, whoever raised it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.http.body_limit import MAX_BODY
from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.live import API, Live, live_parley


async def test_frameworks_own_errors_are_problems(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    for method, path, status, code in (
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", f"{API}/nowhere", 404, "not_found"),
        ("PATCH", f"{API}/job", 405, "method_not_allowed"),
        ("GET", f"{API}/job/not-an-id", 422, "invalid"),
        ("GET", f"{API}/message/text", 422, "invalid"),
    ):
        answer = await http.request(method, path, headers={"X-Request-ID": "req-1"})
        body = answer.json()
        assert (answer.status_code, body["code"]) == (status, code), path
        assert answer.headers["content-type"] == "application/problem+json"
        assert (body["status"], body["instance"], body["request_id"]) == (status, path, "req-1")
        assert {"type", "title", "detail"} <= set(body)
    assert "GET" in (await http.patch(f"{API}/job")).headers["allow"]


async def test_unreadable_json_is_refused(parley_without_worker: Live) -> None:
    http, headers = parley_without_worker.http, {"content-type": "application/json"}
    for body in (b"{", b"", b"\xff\xfe", b"[" * 50_000, b'"text"', b"[1]", b"null"):
        answer = await http.post(f"{API}/agent", content=body, headers=headers)
        assert answer.status_code in {400, 422}, body[:20]
        assert answer.headers["content-type"] == "application/problem+json"


async def test_broken_json_is_told_with_its_place(parley_without_worker: Live) -> None:
    answer = await parley_without_worker.http.post(
        f"{API}/agent", content=b'{"name" "x"}', headers={"content-type": "application/json"}
    )
    assert answer.status_code == 400
    assert answer.json()["code"] == "malformed"
    assert "at character 8" in answer.json()["detail"]


async def test_a_body_that_says_it_is_not_json_is_415(parley_without_worker: Live) -> None:
    for kind, status in (("text/plain", 415), ("multipart/form-data", 415), ("application/merge-patch+json", 201)):
        answer = await parley_without_worker.http.post(
            f"{API}/agent", content=b'{"name": "x"}', headers={"content-type": kind}
        )
        assert answer.status_code == status, kind


async def test_a_body_over_the_limit_is_413(parley_without_worker: Live) -> None:
    body = b'{"name": "' + b"x" * MAX_BODY + b'"}'

    async def chunks() -> AsyncIterator[bytes]:
        yield body

    for content in (body, chunks()):
        answer = await parley_without_worker.http.post(
            f"{API}/agent", content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413
        assert answer.json()["code"] == "too_large"


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
async def test_an_unsafe_request_id_is_made_safe(parley_without_worker: Live) -> None:
    answer = await parley_without_worker.http.get("/health", headers={"X-Request-ID": 'a"b;<c>' + "z" * 500})
    assert answer.headers["x-request-id"].startswith("abcz")
    assert len(answer.headers["x-request-id"]) <= 100


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
async def test_a_database_that_is_away_is_503(settings: Settings, audio_pool: AudioPool, tmp_path: Path) -> None:
    (tmp_path / "parley.db").write_bytes(b"this is no database" * 100)
    async with live_parley(settings, audio_pool, work=False) as live:
        answer = await live.http.get(f"{API}/agent")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert answer.json()["code"] == "unavailable"
        ready = await live.http.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "unready")
