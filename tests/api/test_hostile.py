"""Requests made to hurt: each gets a clear 4xx, and costs little."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from api.http.body_limit import MAX_DEPTH, is_deep
from api.http.header_limit import MAX_HEAD, MAX_HEADERS
from api.main import create_app
from shared.config import Settings
from tests.live import API, Live

JSON = {"content-type": "application/json"}
SCHEMA = create_app(Settings(_env_file=None)).openapi()
embedded = pytest.mark.parametrize("stack", ["embedded"], indirect=True)


def json_routes() -> Iterator[tuple[str, str]]:
    for path, operations in SCHEMA["paths"].items():
        for method, operation in operations.items():
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                yield method.upper(), re.sub(r"\{\w+\}", str(uuid4()), path)


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


UNREADABLE: dict[str, str | bytes] = {
    "many opened": "[" * 100_000,
    "many opened and closed": nested(100_000),
    "a little too deep": f'{{"name": {nested(MAX_DEPTH)}}}',
    "objects too deep": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "both in turn": '[{"a":' * 50_000 + "1" + "}]" * 50_000,
    "a number of 100,000 digits": '{"name": ' + "9" * 100_000 + "}",
    "broken UTF-8": b'{"name": "\xff\xfe"}',
    "two documents": '{"name": "x"} {"name": "y"}',
    "a control character": '{"name": "a\x01b"}',
}
WRONG: dict[str, str | bytes] = {
    "a number of 401 digits": '{"name": 1' + "0" * 400 + "}",
    "a number beyond all": '{"name": 1e400}',
    "not a number": '{"name": NaN}',
    "without end": '{"name": -Infinity}',
    "half a surrogate in UTF-8": b'{"name": "\xed\xa0\x80"}',
    "half a surrogate": '{"name": "\\ud800"}',
    "as deep as can be": f'{{"name": {nested(MAX_DEPTH - 1)}}}',
    "a hundred thousand empty lists": '{"name": [' + ",".join(["[]"] * 100_000) + "]}",
    "a long name": json.dumps({"n" * 500_000: 1}),
    "fifty thousand names": json.dumps({f"n{n}": n for n in range(50_000)}),
}


@embedded
async def test_what_no_parser_should_read_is_malformed_on_every_json_route(parley_without_worker: Live) -> None:
    assert len(list(json_routes())) >= 6
    for method, path in json_routes():
        for name, body in UNREADABLE.items():
            answer = await parley_without_worker.http.request(method, path, content=body, headers=JSON)
            assert (answer.status_code, answer.json()["code"]) == (400, "malformed"), (method, path, name)


async def test_what_can_be_read_and_makes_no_sense_is_refused(parley_without_worker: Live) -> None:
    for method, path in json_routes():
        for name, body in WRONG.items():
            answer = await parley_without_worker.http.request(method, path, content=body, headers=JSON)
            assert answer.status_code in {400, 403, 422}, (
                method,
                path,
                name,
                answer.text,
            )  # 403: a login is needed first
            assert len(answer.content) < 10_000, name


async def test_values_that_a_database_might_choke_on(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = await live.session()
    for text in ("\x00", "a\x00b", "\ufffe", "\U0010ffff", "'; DROP TABLE user; --"):
        for method, path, body in (
            ("POST", "agent", {"name": text}),
            ("PATCH", f"session/{session['id']}", {"name": text}),
            ("POST", "message/text", {"session_id": session["id"], "text": text}),
        ):
            answer = await live.http.request(method, f"{API}/{path}", json=body)
            assert answer.status_code in {200, 201, 202, 422}, (path, text, answer.text)
    for query in (
        "cursor=%00",
        "cursor=%ff%fe",
        "limit=1" + "0" * 400,
        "limit=NaN",
        "agent_id=%00",
        "cursor=" + "x" * 199,
    ):
        for noun in ("agent", "session", "job"):
            answer = await live.http.get(f"{API}/{noun}?{query}")
            assert answer.status_code in {200, 422}, (noun, query, answer.text)


@embedded
async def test_the_last_of_two_equal_names_counts(parley_without_worker: Live) -> None:
    answer = await parley_without_worker.http.post(f"{API}/agent", content='{"name": "x", "name": "y"}', headers=JSON)
    assert (answer.status_code, answer.json()["name"]) == (201, "y")


def test_brackets_in_texts_nest_nothing() -> None:
    text = json.dumps({"prompt": nested(500) + '"\\' + "{[" * 500})
    assert not is_deep(text.encode())
    assert not is_deep(json.dumps([{"a": [text, text]}] * 500).encode())
    assert not is_deep(nested(MAX_DEPTH).encode())
    for deep in (
        nested(MAX_DEPTH + 1),
        f'["{text[:9]}", {nested(MAX_DEPTH)}]',
        "[]" * 9 + nested(MAX_DEPTH + 1, "{", "}"),
    ):
        assert is_deep(deep.encode()), deep
    for unfinished in ('"', '"\\', '"\\"', '"' + '\\"' * 9):
        assert is_deep(("[" * MAX_DEPTH + "[" + unfinished).encode())


@embedded
async def test_a_long_head_is_refused(parley_without_worker: Live) -> None:
    http = parley_without_worker.http
    for url, headers in (
        ("/health", {"x-long": "x" * MAX_HEAD}),
        ("/health", {f"x-{n}": "x" for n in range(MAX_HEADERS)}),
        ("/health?" + "x" * MAX_HEAD, {}),
        ("/" + "x" * MAX_HEAD, {}),
        (f"{API}/agent?cursor=" + "x" * MAX_HEAD, {}),
    ):
        answer = await http.get(url, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (431, "too_large"), url[:20]
        assert len(answer.content) < 1_000
    assert (await http.get(f"{API}/agent?cursor=" + "x" * 20_000)).status_code == 422


@embedded
@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (b"GET /health HTTP/1.1\r\nX-Long: ", b"x" * 1_000),
        (b"GET /health HTTP/1.1\r\n", b"X-Short: x\r\n" * 100),
        (b"GET /", b"x" * 1_000),
        (b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Long: ", b"x" * 1_000),
        (b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Short: x\r\n" * 100),
        (b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;x=", b"x" * 1_000),
    ],
)
async def test_a_head_that_never_ends_is_cut_off(parley_without_worker: Live, begun: bytes, more: bytes) -> None:
    url = parley_without_worker.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(begun)
    sent = 0
    try:
        while not reader.at_eof() and sent < 100 * MAX_HEAD:
            writer.write(more)
            await writer.drain()
            sent += len(more)
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    finally:
        writer.close()
    assert sent < 100 * MAX_HEAD
    assert (await parley_without_worker.http.get("/health")).status_code == 200


@embedded
async def test_a_body_in_small_chunks_is_no_head(parley_without_worker: Live) -> None:
    async def chunks() -> Any:
        yield b'{"name": "'
        for _ in range(200):
            yield b"x"
        yield b'"}'
        for _ in range(20_000):
            yield b" "

    answer = await parley_without_worker.http.post(f"{API}/agent", content=chunks(), headers=JSON)
    assert answer.status_code == 201, answer.text
