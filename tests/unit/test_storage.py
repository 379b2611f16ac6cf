"""Blobs in a folder, in memory and in an S3-compatible bucket."""

import asyncio
import hashlib
import os
import resource
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import NotFound, StorageFull, Unavailable
from shared.storage import Storage
from tests.services import AWS


@pytest.fixture(params=["file", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "s3":
        return Storage(str(request.getfixturevalue("bucket")))
    return Storage((tmp_path / "with space").as_uri() if request.param == "file" else "memory:///")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


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


async def test_what_a_killed_process_had_written_goes_with_the_object(tmp_path: Path) -> None:
    write = (
        "import asyncio, sys, obstore\n"
        "from obstore.store import LocalStore\n"
        "async def chunks():\n"
        "    for _ in range(40):\n"
        "        yield b'x' * 1_000_000\n"
        "        await asyncio.sleep(0.01)\n"
        "    print('written', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "async def main():\n"
        "    await obstore.put_async(LocalStore(sys.argv[1]), 'upload/1', chunks())\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", write, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    await process.stdout.readline()
    process.kill()
    await process.wait()
    left = files(tmp_path)
    assert left, "obstore names its file another way now"
    storage = Storage(tmp_path.as_uri())
    with pytest.raises(NotFound):
        await storage.read("upload/1")
    await storage.delete("upload/1")
    assert files(tmp_path) == []


async def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    storage = Storage(tmp_path.as_uri())
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        for data in (b"x" * 300_000, chunks(*[b"x" * 50_000] * 6)):
            with pytest.raises(StorageFull):
                await storage.put("upload/1", data)
            assert files(tmp_path) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_temporary_folder_is_said_and_the_object_is_not_lost() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    storage = Storage("memory:///")
    await storage.put("upload/1", b"x" * 300_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageFull):
            async with storage.as_file("upload/1"):
                pytest.fail("there was room")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    async with storage.as_file("upload/1") as path:
        assert path.stat().st_size == 300_000


async def test_a_temporary_folder_that_is_gone_is_no_missing_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage("memory:///")
    await storage.put("upload/1", b"x")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(Unavailable):
        async with storage.as_file("upload/1"):
            pytest.fail("there was room")
