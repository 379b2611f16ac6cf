"""Blobs: one store from `BLOB_URL`, a local folder, an S3-compatible bucket or memory. Only this file knows which."""

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, MemoryStore, S3Store

if TYPE_CHECKING:  # these are types only
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

from shared.errors import FULL, ROOM_S, NotFound, StartupError, StorageFull, Unavailable, no_room

CHUNK = 256 * 1024
STAGED = "#1"  # how obstore names the file it writes before it renames it


class Storage:
    """Objects under keys of ours; each key is written once.

    S3 takes its credentials, region and endpoint from the usual `AWS_*` variables. Every method raises
    Unavailable when the store can't be reached, StorageFull when it has no room, and NotFound for a key that is
    not there.
    """

    def __init__(self, url: str) -> None:
        try:
            tempfile.gettempdir()  # the copies of `as_file` go there
        except OSError:
            raise StartupError(
                "Parley needs a temporary folder that it can write to: /tmp, or the one that TMPDIR names."
            ) from None
        self._folder: Path | None = None
        self._store: ObjectStore
        if urlparse(url).scheme == "file":
            self._folder = _writable(Path(unquote(urlparse(url).path)))
            self._store = LocalStore(self._folder, mkdir=True)
        else:
            self._store = _open_remote(url)

    async def put(self, key: str, data: bytes | AsyncIterable[bytes]) -> None:
        """Write an object; it appears whole or not at all, and what `data` raises comes through."""
        with _translated():
            await obstore.put_async(self._store, key, data)
        if self._folder:
            await asyncio.to_thread(_flush_to_disk, self._folder / key)

    async def read(self, key: str) -> bytes:
        """Read a whole object."""
        with _translated():
            return bytes(await (await obstore.get_async(self._store, key)).bytes_async())

    async def stream(self, key: str, *, start: int, end: int) -> AsyncIterator[bytes]:
        """Open an object; the chunks from `start` up to, and without, `end`. Once it is open, it will be there."""
        with _translated():
            found = await obstore.get_async(self._store, key, options={"range": (start, end)})

        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in found.stream(min_chunk_size=CHUNK):
                yield bytes(chunk)

        return chunks()

    @asynccontextmanager
    async def as_file(self, key: str) -> AsyncIterator[Path]:
        """Lend the object as a local file, to be read only: the file itself where the store is a folder."""
        if self._folder:
            path = self._folder / key
            if not path.exists():
                raise NotFound(_MISSING)
            yield path
            return
        with _temporary() as file:
            with _translated():
                async for chunk in (await obstore.get_async(self._store, key)).stream(min_chunk_size=CHUNK):
                    await asyncio.to_thread(file.write, bytes(chunk))
                file.flush()
            yield Path(file.name)

    async def delete(self, key: str) -> None:
        """Remove an object, and what a process that was killed had written of it; one not there is no error."""
        if self._folder:
            with _translated():
                (self._folder / f"{key}{STAGED}").unlink(missing_ok=True)
        try:
            with _translated():
                await obstore.delete_async(self._store, key)
        except NotFound:
            return

    async def check(self) -> None:
        """Ask the store for anything; raises Unavailable."""
        if self._folder:
            if not os.access(self._folder, os.W_OK):
                detail = "The blob folder can't be written."
                raise Unavailable(detail)
            return
        try:
            with _translated():
                await obstore.head_async(self._store, "parley-health")
        except NotFound:
            return


def _writable(folder: Path) -> Path:
    """Make the folder of the blobs; raises StartupError with what to do when this user may not write to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        why = "" if os.access(folder, os.W_OK | os.X_OK) else "Permission denied"
    except OSError as error:
        why = error.strerror or type(error).__name__
    if why:
        user = os.getuid()
        raise StartupError(
            f"Parley runs as user {user} and can't write to {folder}: {why}. "
            f"Give that user the folder, for one that is mounted on its host (chown -R {user} …), or set BLOB_URL."
        )
    return folder


def _temporary() -> "tempfile._TemporaryFileWrapper[bytes]":
    try:
        return tempfile.NamedTemporaryFile(prefix="parley-")
    except OSError as error:
        raise no_room(error) or Unavailable("The temporary folder can't be written.") from error


def _open_remote(url: str) -> "ObjectStore":
    if urlparse(url).scheme == "memory":
        return MemoryStore()
    client: ClientConfig = {"connect_timeout": "5s", "timeout": "60s", "allow_http": True}
    retry: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
    return S3Store.from_url(url, client_options=client, retry_config=retry)


_MISSING = "These bytes are not in the store."


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotFoundError):
        raise NotFound(_MISSING) from None
    except (BaseError, OSError) as error:
        if _errno(error) in FULL:
            raise StorageFull("There is no room left to store it.", retry_after=ROOM_S) from error
        detail = "The blob store can't be reached."
        raise Unavailable(detail) from error


def _errno(error: BaseError | OSError) -> int | None:
    """The system's number of an error; obstore has it in its words only."""
    if isinstance(error, OSError):
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def _flush_to_disk(path: Path) -> None:
    for place, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))):
        descriptor = os.open(place, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
