"""Blobs in a folder, in memory and in an S3-compatible bucket."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import NotFound, Unavailable
from shared.storage import Storage
from tests.services import AWS


@pytest.fixture(params=["file", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "s3":
        return Storage(str(request.getfixturevalue("bucket")))
    return Storage((tmp_path / "with space").as_uri() if request.param == "file" else "memory:///")


async def chunks(*data: bytes) -> AsyncIterator[bytes]:
    for chunk in data:
        yield chunk


async def test_what_is_written_is_read_whole_and_in_ranges_and_as_a_file(storage: Storage) -> None:
    await storage.put("upload/ab/1", b"0123456789")
    assert await storage.read("upload/ab/1") == b"0123456789"
    assert b"".join([c async for c in await storage.stream("upload/ab/1", start=2, end=5)]) == b"234"
    async with storage.as_file("upload/ab/1") as path:
        assert path.read_bytes() == b"0123456789"


async def test_a_stream_of_many_megabytes_arrives_whole(storage: Storage) -> None:
    data = [os.urandom(1_000_000) for _ in range(12)]
    await storage.put("big", chunks(*data))
    digest = hashlib.sha256()
    async for chunk in await storage.stream("big", start=0, end=12_000_000):
        digest.update(chunk)
    assert digest.hexdigest() == hashlib.sha256(b"".join(data)).hexdigest()


async def test_a_stream_that_breaks_leaves_no_object(storage: Storage) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 7_000_000
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await storage.put("broken", broken())
    with pytest.raises(NotFound):
        await storage.read("broken")


async def test_what_is_not_there_is_not_found_and_deleting_it_is_no_error(storage: Storage) -> None:
    with pytest.raises(NotFound):
        await storage.read("nothing")
    with pytest.raises(NotFound):
        async with storage.as_file("nothing"):
            pass
    await storage.delete("nothing")
    await storage.put("some", b"x")
    await storage.delete("some")
    with pytest.raises(NotFound):
        await storage.read("some")
    await storage.check()


async def test_a_bucket_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**AWS, "AWS_ENDPOINT": "http://127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unavailable):
        await Storage("s3://parley").check()
