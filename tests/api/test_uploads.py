"""Voice notes on their way in: what is taken, what is refused, and what is left behind."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlmodel import select

from shared.models import Blob, BlobStatus
from tests.conftest import SAMPLES
from tests.live import API, Live

MANIFEST = json.loads((SAMPLES / "manifest.json").read_text())["files"]
NOTE = SAMPLES / "en_13.flac"
BOUNDARY = "frontier"


async def everything_stored(live: Live) -> tuple[list[Blob], list[Path]]:
    async with live.resources.database.read() as db:
        rows = list((await db.exec(select(Blob))).all())
    folder = live.resources.settings.data_dir / "blobs"
    return rows, [path for path in folder.rglob("*") if path.is_file()]


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """A multipart body with the parts in this order."""
    body = b""
    for name, filename, data in parts:
        named = f'; filename="{filename}"' if filename else ""
        body += (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + data + b"\r\n"
        )
    return body + f"--{BOUNDARY}--\r\n".encode()


async def post(live: Live, body: bytes | AsyncIterator[bytes], **headers: str) -> httpx.Response:
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", **headers}
    return await live.http.post(f"{API}/message/voice", content=body, headers=headers)


async def test_a_session_that_is_deleted_during_an_upload_is_not_there(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = (await live.session())["id"]
    whole = form(("session_id", None, session.encode()), ("file", "a", NOTE.read_bytes()))

    async def body() -> AsyncIterator[bytes]:
        yield whole[:5_000]
        for _ in range(200):
            if (await everything_stored(live))[0]:
                break
            await asyncio.sleep(0.02)
        assert (await live.http.delete(f"{API}/session/{session}")).status_code == 204
        yield whole[5_000:]

    answer = await post(live, body())
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such session.")
    rows, files = await everything_stored(live)
    assert (rows, files) == ([], [])


@pytest.mark.parametrize("stack", ["embedded"], indirect=True)
@pytest.mark.parametrize("sample", MANIFEST, ids=lambda sample: sample["file"])
async def test_every_sample_gets_its_verdict(parley_without_worker: Live, sample: dict[str, Any]) -> None:
    live = parley_without_worker
    session = await live.session()
    answer = await live.post_voice(session["id"], (SAMPLES / sample["file"]).read_bytes(), sample["file"])
    if sample["expected"] == "accept":
        assert answer.status_code == 202, answer.text
        (message,) = await live.conversation(session["id"])
        assert message["audio"]["duration_s"] == pytest.approx(sample["duration_s"], abs=0.15)
        assert message["audio"]["size"] == sample["bytes"]
    else:
        assert answer.status_code in {415, 422}, answer.text
        assert answer.json()["code"]
        assert await live.conversation(session["id"]) == []
        assert await everything_stored(live) == ([], [])


async def test_the_file_may_come_before_the_session(parley_without_worker: Live) -> None:
    session = await parley_without_worker.session()
    fields = ("session_id", None, session["id"].encode()), ("language", None, b"en"), ("reply_audio", None, b"false")
    answer = await post(parley_without_worker, form(("file", "note.flac", NOTE.read_bytes()), *fields))
    assert answer.status_code == 202, answer.text
    (message,) = await parley_without_worker.conversation(session["id"])
    sound = await parley_without_worker.http.get(message["audio"]["url"])
    assert sound.content == NOTE.read_bytes()


@pytest.mark.parametrize("file_first", [True, False])
async def test_another_session_is_404_and_leaves_nothing(parley_without_worker: Live, *, file_first: bool) -> None:
    parts = [("session_id", None, str(uuid4()).encode()), ("file", "note.flac", NOTE.read_bytes())]
    answer = await post(parley_without_worker, form(*(parts[::-1] if file_first else parts)))
    assert answer.status_code == 404
    assert await everything_stored(parley_without_worker) == ([], [])


async def test_missing_double_and_unknown_fields_are_named(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session_id = (await live.session())["id"].encode()
    note = ("file", "note.flac", NOTE.read_bytes())
    for parts, field in (
        ([("session_id", None, session_id)], "file"),
        ([note], "session_id"),
        ([("session_id", None, b"seven"), note], "session_id"),
        ([("session_id", None, session_id), ("session_id", None, session_id), note], "session_id"),
        ([("session_id", None, session_id), note, note], "file"),
        ([("session_id", None, session_id), ("colour", None, b"red"), note], "colour"),
        ([("session_id", None, session_id), ("language", None, b"english"), note], "language"),
        ([("session_id", None, session_id), ("reply_audio", None, b"perhaps"), note], "reply_audio"),
        ([("session_id", None, session_id), ("language", None, b"x" * 1_001), note], "language"),
    ):
        answer = await post(live, form(*parts))
        assert answer.status_code == 422, (parts[0][:2], answer.text)
        assert answer.json()["errors"][0]["field"] == field
    assert await everything_stored(live) == ([], [])


async def test_what_is_not_a_form_is_refused(parley_without_worker: Live) -> None:
    live = parley_without_worker
    as_json = await live.http.post(f"{API}/message/voice", json={"session_id": "x"})
    assert as_json.status_code == 415
    broken = await post(live, b"no boundary at all")
    assert broken.status_code == 400
    cut = await post(live, form(("session_id", None, b"x"))[:-10])
    assert cut.status_code == 400
    many = await post(live, form(*[(f"f{n}", None, b"x") for n in range(30)]))
    assert many.status_code == 400


async def send_until_answered(live: Live, head: bytes, length: str, limit: int) -> tuple[bytes, int]:
    """Send zeros after `head`, as a browser does: until the answer is there. The answer, and the bytes sent."""
    reader, writer = await asyncio.open_connection(live.http.base_url.host, live.http.base_url.port)
    writer.write(
        f"POST {API}/message/voice HTTP/1.1\r\nHost: x\r\n{length}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
    )
    answer = asyncio.create_task(reader.readuntil(b"}"))
    sent, chunk = 0, head
    while not answer.done() and sent < limit:
        writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" if "chunked" in length else chunk)
        await writer.drain()
        sent += len(chunk)
        chunk = b"\0" * 100_000
        await asyncio.sleep(0)
    try:
        return await asyncio.wait_for(answer, 10), sent
    finally:
        writer.close()


def head_of(session: dict[str, Any]) -> bytes:
    return form(("session_id", None, session["id"].encode()), ("file", "x.wav", b"")).rsplit(b"\r\n--", 1)[0]


async def test_a_declared_size_over_the_limit_is_refused_before_the_body_is_read(parley_without_worker: Live) -> None:
    live = parley_without_worker
    limit = live.resources.settings.max_upload_bytes
    head = head_of(await live.session())
    answer, sent = await send_until_answered(live, head, f"Content-Length: {limit * 2}", limit * 2)
    assert b" 413 " in answer
    assert b"too_large" in answer
    assert sent < limit
    assert await everything_stored(live) == ([], [])


async def test_a_file_over_the_limit_is_refused_without_reading_on(parley_without_worker: Live) -> None:
    live = parley_without_worker
    limit = live.resources.settings.max_upload_bytes
    head = head_of(await live.session())
    answer, sent = await send_until_answered(live, head, "Transfer-Encoding: chunked", limit * 4)
    assert b" 413 " in answer
    assert b"too_large" in answer
    assert limit <= sent < limit * 2
    for _ in range(50):
        if await everything_stored(live) == ([], []):
            break
        await asyncio.sleep(0.05)
    assert await everything_stored(live) == ([], [])


async def test_a_client_that_hangs_up_leaves_nothing(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = await live.session()
    body = form(("session_id", None, session["id"].encode()), ("file", "note.wav", b"\0" * 500_000))
    host, port = live.http.base_url.host, live.http.base_url.port
    _, writer = await asyncio.open_connection(host, port)
    writer.write(
        f"POST {API}/message/voice HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
        + body[:300_000]
    )
    await writer.drain()
    for _ in range(100):
        if (await everything_stored(live))[0]:
            break
        await asyncio.sleep(0.02)
    writer.close()
    for _ in range(100):
        if await everything_stored(live) == ([], []):
            break
        await asyncio.sleep(0.05)
    assert await everything_stored(live) == ([], [])
    assert (await live.http.get("/health")).status_code == 200


async def test_an_accepted_note_is_ready_in_the_store(parley_without_worker: Live) -> None:
    session = await parley_without_worker.session()
    await parley_without_worker.voice(session["id"], NOTE)
    (row,), (path,) = await everything_stored(parley_without_worker)
    assert (row.status, row.mime, row.codec) == (BlobStatus.READY, "audio/flac", "flac")
    assert str(row.session_id) == session["id"]
    assert path.read_bytes() == NOTE.read_bytes()


async def test_whose_session_it_is_is_told_before_the_file_is_sent(parley_without_worker: Live) -> None:
    live = parley_without_worker
    head = head_of({"id": str(uuid4())})
    reader, writer = await asyncio.open_connection(live.http.base_url.host, live.http.base_url.port)
    writer.write(
        f"POST {API}/message/voice HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n".encode()
        + head
    )
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)
    writer.close()
    assert b" 404 " in answer
    assert await everything_stored(live) == ([], [])


async def test_everything_beside_the_file_counts_too(parley_without_worker: Live) -> None:
    live = parley_without_worker
    body = form(("session_id", None, (await live.session())["id"].encode()), ("file", "n.flac", NOTE.read_bytes()))
    limit = live.resources.settings.max_upload_bytes

    async def chunks() -> AsyncIterator[bytes]:
        yield body
        for _ in range(limit // 1_000_000 + 1):
            yield b"\0" * 1_000_000

    answer = await post(live, chunks())
    assert answer.status_code == 413
    assert await everything_stored(live) == ([], [])


async def test_a_misspelt_file_field_is_named(parley_without_worker: Live) -> None:
    session_id = (await parley_without_worker.session())["id"].encode()
    parts = ("session_id", None, session_id), ("FILE", "note.flac", NOTE.read_bytes())
    answer = await post(parley_without_worker, form(*parts))
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "FILE", "message": "Extra inputs are not permitted"}]
    assert "`file`" in answer.json()["detail"]


async def test_what_is_wrong_with_a_form_is_said(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session = ("session_id", None, (await live.session())["id"].encode())
    whole = form(session, ("file", "note.flac", NOTE.read_bytes()))
    for kind, status, code, said in (
        ("multipart/form-data", 400, "malformed", "boundary"),
        ("multipart/form-data; boundary=", 400, "malformed", "boundary"),
        ("Multipart/Form-Data; charset=utf-8", 400, "malformed", "boundary"),
        ("multipart/form-data; boundary=another", 400, "malformed", "broken"),
        ("multipart/mixed; boundary=frontier", 415, "unsupported_media", "multipart/form-data"),
        ("application/x-www-form-urlencoded", 415, "unsupported_media", "multipart/form-data"),
        ("audio/flac", 415, "unsupported_media", "multipart/form-data"),
        ("", 415, "unsupported_media", "multipart/form-data"),
    ):
        answer = await post(live, whole, **{"content-type": kind})
        assert (answer.status_code, answer.json()["code"]) == (status, code), (kind, answer.text)
        assert said in answer.json()["detail"]
    encoded = base64.b64encode(NOTE.read_bytes())
    for data, said in (
        (encoded, "base64"),
        (b"data:audio/flac;base64," + encoded, "base64"),
        (base64.urlsafe_b64encode(NOTE.read_bytes()), "base64"),
        (encoded[:76] + b"\r\n" + encoded[76:], "base64"),
        (b"", ""),
        (b"what is this?", ""),
    ):
        answer = await post(live, form(session, ("file", "note.flac", data)))
        assert answer.status_code in {415, 422}, answer.text
        assert answer.json()["errors"][0]["field"] == "file"
        assert ("base64" in answer.json()["detail"]) == bool(said), answer.text
    assert await everything_stored(live) == ([], [])
