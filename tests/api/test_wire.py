# ruff: noqa: RUF001 - letters and digits of other scripts are what is tried
"""HTTP as old, careless and hostile clients speak it, over a bare socket."""

import asyncio
import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest

from tests.api.test_docs import SCHEMA
from tests.live import API, Live

pytestmark = pytest.mark.parametrize("stack", ["embedded"], indirect=True)

ID = "01936b2e-0000-7000-8000-000000000000"
NEW = {"date", "x-request-id"}


class Heard(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> Any:
        assert self.headers["content-type"] == "application/problem+json", self
        return json.loads(self.body)


async def say(live: Live, raw: str | bytes) -> Heard:
    """Send bytes, and read until the server closes."""
    url = live.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(raw.encode() if isinstance(raw, str) else raw)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert len(headers) == len(lines) or "text/event-stream" in headers["content-type"], lines  # none twice
    return Heard(int(status.split()[1]), headers, body)


def request(
    method: str, path: str, body: str | bytes = b"", headers: Iterable[str] = (), version: str = "1.1"
) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *headers]
    lines += [f"Content-Length: {len(data)}"] if data else []
    lines += ["Connection: close"] if version == "1.1" else []
    return "\r\n".join([*lines, "", ""]).encode() + data


async def spoken(live: Live) -> dict[str, Any]:
    return await live.done(await live.text((await live.session())["id"], reply_audio=True))


async def test_http_1_0_gets_bodies_that_end_with_the_connection(parley: Live) -> None:
    job = await spoken(parley)
    links = job["links"]
    for path, headers in (
        ("/health", []),
        ("/", []),
        ("/nowhere", []),
        (f"{API}/openapi.json", []),
        (f"{API}/agent", ["Connection: keep-alive"]),
        (links["audio"], []),
        (links["audio"], ["Range: bytes=5-99"]),
        (f"{links['audio']}?stream=1", []),
        (links["events"], []),
        ("/static/app.js", ["Accept-Encoding: gzip"]),
        ("/static/vendor/wavesurfer.esm.js", ["Accept-Encoding: gzip"]),
    ):
        old = await say(parley, request("GET", path, headers=headers, version="1.0"))
        new = await parley.http.get(path, headers=dict(line.split(": ") for line in headers))
        assert "transfer-encoding" not in old.headers, path
        assert old.headers["connection"] == "close"
        assert old.status == new.status_code
        if "gzip" in old.headers.get("content-encoding", ""):
            assert old.body[:2] == b"\x1f\x8b"
        elif path != "/nowhere":  # whose answer has its request's id
            assert old.body == new.content, path
        if "content-length" in old.headers:
            assert len(old.body) == int(old.headers["content-length"])


async def test_an_idle_connection_outlives_the_clients_own_patience(parley_without_worker: Live) -> None:
    url = parley_without_worker.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    for pause_s in (7, 0):  # httpx, and with it the `openai` library, uses an idle connection again for 5 s
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(30):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(head.split("content-length: ")[1].split()[0]))
        assert " 200 " in head.splitlines()[0]
        await asyncio.sleep(pause_s)
    writer.close()


async def test_http_1_0_may_submit_and_send_no_host(parley: Live) -> None:
    session = (await parley.session())["id"]
    body = json.dumps({"session_id": session, "text": "Hello"})
    head = f"POST {API}/message/text HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    answer = await say(parley, head + body)
    assert (answer.status, answer.headers["connection"]) == (202, "close")
    assert "transfer-encoding" not in answer.headers


async def test_head_is_answered_as_get_without_a_body(parley: Live) -> None:
    job = await spoken(parley)
    known = {"session_id": job["session_id"], "job_id": job["id"], "message_id": job["result"]["message_id"]}
    paths = [path for path, operations in SCHEMA["paths"].items() if "get" in operations]
    paths += ["/", "/static/app.js", "/static/docs/swagger-ui.css", f"{API}/docs", f"{API}/redoc", "/static/docs/x"]
    paths += [f"{API}/openapi.json", "/nowhere", "/static/docs/redoc.standalone.js"]
    assert len(paths) > 25
    for path in paths:
        url = re.sub(r"\{(\w+)\}", lambda word: known.get(word[1], ID), path)
        for headers in ({}, {"Range": "bytes=0-9"}, {"Accept-Encoding": "identity"}):
            get = await parley.http.get(url, headers=headers)
            head = await parley.http.head(url, headers=headers)
            assert (head.status_code, head.content) == (get.status_code, b""), url
            told = [{n: v for n, v in a.headers.items() if n not in NEW} for a in (get, head)]
            told[0].pop("transfer-encoding", None)
            if url.endswith("/health/ready") or get.is_error:  # whose bodies differ a little each time
                told = [{n: v for n, v in one.items() if n != "content-length"} for one in told]
            assert told[0] == told[1], url


async def test_head_of_what_streams_does_not_wait_for_its_end(parley_without_worker: Live) -> None:
    live = parley_without_worker
    job = await live.text((await live.session())["id"])
    for _ in range(3):  # on one connection
        head = await live.http.head(job["links"]["events"])
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"].startswith("text/event-stream")
    assert (await live.http.get("/health")).status_code == 200


async def test_head_where_there_is_no_get_is_405(parley_without_worker: Live) -> None:
    for path, allowed in ((f"{API}/auth/login", "POST"), (f"{API}/job/{ID}/cancel", "POST")):
        for method in ("HEAD", "GET", "OPTIONS"):
            answer = await parley_without_worker.http.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, allowed), path
    answer = await parley_without_worker.http.request("PATCH", "/static/app.js")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_white_space_around_a_headers_value_is_no_part_of_it(parley_without_worker: Live) -> None:
    body, answers = '{"name": "x"}', []
    for blank in ("", " ", "\t", " \t  "):
        headers = [f"Content-Type:{blank}application/json{blank}", f"Idempotency-Key:{blank}abc{blank}"]
        answers.append(await say(parley_without_worker, request("POST", f"{API}/agent", body, headers)))
        assert answers[-1].status == 201, answers[-1].body
    assert {json.loads(answer.body)["id"] for answer in answers} == {json.loads(answers[0].body)["id"]}
    expecting = request("POST", f"{API}/agent", body, ["Content-Type: application/json", "Expect: 100-Continue "])
    assert (await say(parley_without_worker, expecting)).status == 100


@pytest.mark.parametrize(
    "raw",
    [
        "GARBAGE\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "get /health HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost : x\r\n\r\n",
        "GET /health HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
        "GET /h\xe9 HTTP/1.1\r\n\r\n",
        "GET /health HTTP/1.1\r\nX: \x00\r\n\r\n",
        "POST /health HTTP/1.1\r\nContent-Length: ten\r\n\r\n",
        "POST /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /health HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n",
        "POST /health HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "POST /health HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "CONNECT x:443 HTTP/1.1\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00",  # TLS
    ],
)
async def test_what_is_no_http_is_a_problem(parley_without_worker: Live, raw: str) -> None:
    answer = await say(parley_without_worker, raw.encode("latin-1"))
    assert answer.status in {400, 404, 405}
    assert answer.problem["code"] in {"malformed", "not_found", "method_not_allowed"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await parley_without_worker.http.get("/health")).status_code == 200


async def test_json_is_taken_under_every_name_that_says_so(parley_without_worker: Live) -> None:
    for kind, status in (
        ("application/json", 201),
        ("APPLICATION/JSON", 201),
        ("application/json;charset=utf-8", 201),
        ("application/json ; charset=UTF-8", 201),
        ("application/json;", 201),
        ("text/json", 201),
        ("text/json; charset=utf-8", 201),
        ("application/vnd.api+json", 201),
        ("application/ld+json", 201),
        ("", 201),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),  # as curl -d says
        ("application/octet-stream", 415),
        ("multipart/form-data; boundary=x", 415),
        ("json", 415),
        ("application/jsonp", 415),
    ):
        headers = [f"Content-Type: {kind}"] if kind else []
        answer = await say(parley_without_worker, request("POST", f"{API}/agent", '{"name": "x"}', headers))
        assert answer.status == status, (kind, answer.body)
        if status == 415:
            assert answer.problem["code"] == "unsupported_media"
            assert "Content-Type: application/json" in answer.problem["detail"]


async def test_a_page_has_to_say_that_it_sends_json(parley_without_worker: Live) -> None:
    """Browsers ask first before they send another origin a type like JSON's, and not before they send none."""
    body = json.dumps({"name": "x"})
    for origin in ("https://evil.example.com", "null"):
        answer = await say(parley_without_worker, request("POST", f"{API}/agent", body, [f"Origin: {origin}"]))
        assert (answer.status, answer.problem["code"]) == (415, "unsupported_media")


async def test_a_byte_order_mark_before_json_is_passed_over(parley_without_worker: Live) -> None:
    bom, headers = b"\xef\xbb\xbf", {"content-type": "application/json"}
    made = await parley_without_worker.http.post(f"{API}/agent", content=bom + b'{"name": "x"}', headers=headers)
    assert (made.status_code, made.json()["name"]) == (201, "x")
    body = b'{"username": "ann", "password": "correct horse battery"}'
    assert (
        await parley_without_worker.http.post(f"{API}/auth/register", content=bom + body, headers=headers)
    ).is_success
    for path in (f"{API}/auth/login", "/login"):
        assert (await parley_without_worker.http.post(path, content=bom + body, headers=headers)).is_success


async def test_a_body_that_is_not_utf_8_is_told_so(parley_without_worker: Live) -> None:
    headers = {"content-type": "application/json; charset=latin-1"}
    body = '{"name": "café"}'.encode("latin-1")
    answer = await parley_without_worker.http.post(f"{API}/agent", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert "UTF-8" in answer.json()["detail"]


async def test_an_address_that_is_nearly_right_is_told_the_right_one(parley_without_worker: Live) -> None:
    for path, meant in (
        (f"{API}/agent/", f"{API}/agent"),
        (f"/{API}/agent", f"{API}/agent"),
        ("/api//v1///agent", f"{API}/agent"),
        (f"{API}/agent/{ID}/", f"{API}/agent/{ID}"),
        ("/health/", "/health"),
        ("/nowhere/", None),
        ("/nowhere", None),
        ("/" + "x" * 5_000 + "/", None),
    ):
        for method in ("GET", "POST", "DELETE"):
            answer = await say(parley_without_worker, request(method, path))
            assert (answer.status, answer.problem["code"]) == (404, "not_found"), path
            assert ("Did you mean" in answer.problem["detail"]) == (meant is not None)
            assert meant is None or f" {meant}?" in answer.problem["detail"]
    for path in ("/API/V1/Agent", "/Health", f"{API}/agent/{ID}/".upper()):
        assert "lower case" in (await say(parley_without_worker, request("GET", path))).problem["detail"]


async def test_an_id_may_be_spelled_in_every_way_that_uuids_are(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = (await live.session())["id"]
    for spelled in (session.upper(), session.replace("-", ""), f"{{{session}}}", f"urn:uuid:{session}"):
        found = await live.http.get(f"{API}/session/{spelled}")
        assert (found.status_code, found.json()["id"]) == (200, session), spelled
        said = await live.http.post(f"{API}/message/text", json={"session_id": spelled, "text": "Hello"})
        assert (said.status_code, said.json()["session_id"]) == (202, session)
    for wrong in (f"{session} ", f" {session}", session[:-1], f"{session}0", "1", "%00", session.replace("0", "０")):
        answer = await live.http.get(f"{API}/session/{wrong}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "session_id"), wrong
