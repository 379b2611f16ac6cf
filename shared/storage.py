"""Blobs: one store from `BLOB_URL`, a local folder, an S3-compatible bucket or memory. Only this file knows which."""

import asyncio
import errno
import os
import re
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, MemoryStore, S3Store

if TYPE_CHECKING:  # these are types only
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

from shared.errors import FULL, ROOM_S, NotFound, StartupError, StorageFull, Unavailable, no_room
from shared.process.outage import Outage, first_line
from shared.store_urls import address

CHUNK = 256 * 1024
STAGED = "#1"  # how obstore names the file it writes before it renames it
READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
MARK = ".parley-store"  # a folder, or an empty object
PROBE_BYTES = 64 * 1024


class Storage:
    """Objects under keys of ours; each key is written once.

    S3 takes its credentials, region and endpoint from the usual `AWS_*` variables. Every method raises
    Unavailable when the store can't be reached, StorageFull when it has no room, and NotFound for a key that is
    not there. A mark in the store tells it from the empty folder that a mount leaves behind when it is lost.
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
        self._is_marked = False
        self._outage = Outage("blobs", address(url))
        if urlparse(url).scheme == "file":
            self._folder = Path(unquote(urlparse(url).path))
            self._is_marked = (self._folder / MARK).is_dir()
        try:
            self._store = LocalStore(self._folder, mkdir=True) if self._folder else _open_remote(url)
        except (BaseError, OSError, ValueError) as error:
            raise self._unavailable(error, is_lasting=True) from error

    async def put(self, key: str, data: bytes | AsyncIterable[bytes]) -> None:
        """Write an object; it appears whole or not at all, and what `data` raises comes through."""
        with self._translated(write=True):
            if self._folder:
                await asyncio.to_thread(self._find_mark, self._folder)
            await obstore.put_async(self._store, key, data)
            if self._folder:
                await asyncio.to_thread(_flush_to_disk, self._folder / key)

    async def read(self, key: str) -> bytes:
        """Read a whole object."""
        with self._translated():
            return bytes(await (await obstore.get_async(self._store, key)).bytes_async())

    async def stream(self, key: str, *, start: int, end: int) -> AsyncIterator[bytes]:
        """Open an object; the chunks from `start` up to, and without, `end`. Once it is open, it will be there."""
        with self._translated():
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
            with self._translated():
                async for chunk in (await obstore.get_async(self._store, key)).stream(min_chunk_size=CHUNK):
                    await asyncio.to_thread(file.write, bytes(chunk))
                file.flush()
            yield Path(file.name)

    async def delete(self, key: str) -> None:
        """Remove an object, and what a process that was killed had written of it; one not there is no error."""
        if self._folder:
            with self._translated():
                (self._folder / f"{key}{STAGED}").unlink(missing_ok=True)
        try:
            with self._translated():
                await obstore.delete_async(self._store, key)
        except NotFound:
            return

    async def check(self, known: Callable[[], Awaitable[Sequence[str] | None]] | None = None) -> None:
        """Do what a write needs, and leave nothing behind but the mark. Raises Unavailable.

        `known` tells some keys that should be there, unless it can't: a store without a mark that has none of them is
        not ours.
        """
        with self._translated(write=True):
            if self._folder:
                await asyncio.to_thread(self._find_mark, self._folder)
                await asyncio.to_thread(_try_to_write, self._folder)
            if not self._is_marked:
                keys = await known() if known else ()
                if keys is not None:
                    await self._mark(keys)
            elif not self._folder:
                await self._put_mark()

    def _find_mark(self, folder: Path) -> None:
        """Note that the folder has its mark; once it had, nothing is written without it."""
        if (folder / MARK).is_dir():
            self._is_marked = True
        elif self._is_marked:
            raise _Lost(f"the folder {folder} is not the one that it was: was its mount lost?")

    async def _mark(self, known: Sequence[str]) -> None:
        """Mark a store that is new, or was used by a Parley that made no marks."""
        if known and not any(await asyncio.gather(*map(self._has, known))):
            hint = f"; if they are gone for good, make the folder {self._folder / MARK}" if self._folder else ""
            raise _Lost(f"the store has none of the blobs that the database knows: was another one meant?{hint}")
        if self._folder:
            await asyncio.to_thread((self._folder / MARK).mkdir, exist_ok=True)
        else:
            await self._put_mark()
        self._is_marked = True

    async def _has(self, key: str) -> bool:
        try:
            await obstore.head_async(self._store, key)
        except (FileNotFoundError, NotFoundError):
            return False
        return True

    async def _put_mark(self) -> None:
        """Create what is there already: refused, but only to who may write."""
        with suppress(AlreadyExistsError):
            await obstore.put_async(self._store, MARK, b"", mode="create")

    @contextmanager
    def _translated(self, *, write: bool = False) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotFoundError) as error:
            if write or (self._folder and not self._folder.is_dir()):
                raise self._unavailable(error) from error
            raise NotFound(_MISSING) from None
        except (BaseError, OSError) as error:
            raise self._unavailable(error) from error
        else:
            self._outage.worked(write=write)

    def _unavailable(self, error: BaseError | OSError | ValueError, *, is_lasting: bool = False) -> Unavailable:
        number = _errno(error)
        state = _state(error, number)
        if self._folder and not self._folder.is_dir():
            state = "a file, not a folder" if self._folder.exists() else "missing"
        why = os.strerror(number) if number else _told(error)
        self._outage.failed(why, only_writes=state != "away")
        if state == "full":
            return StorageFull("There is no room left to store it.", retry_after=ROOM_S).because(state, why)
        is_lasting = is_lasting or state in {"read-only", "missing", "a file, not a folder"}
        return Unavailable("The blob store can't be reached.").because(state, why, is_lasting=is_lasting)


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


class _Lost(OSError):
    """Another store is where ours was."""


def _state(error: BaseError | OSError | ValueError, number: int | None) -> str:
    """What the store is, in a word or two."""
    if isinstance(error, _Lost):
        return "not the ones that were here"
    if number in FULL or _S3_FULL.search(str(error)):
        return "full"
    if number in READ_ONLY or isinstance(error, PermissionError | PermissionDeniedError | UnauthenticatedError):
        return "read-only"
    return "missing" if isinstance(error, FileNotFoundError | NotFoundError) else "away"


_S3_CODE = re.compile(r"<Code>(\w+)</Code>")
_S3_FULL = re.compile(r"<Code>(XMinioStorageFull|\w*QuotaExceeded|InsufficientStorage)</Code>")


def _told(error: BaseException) -> str:
    """An error in one line; of an answer in XML its code only."""
    code = _S3_CODE.search(str(error))
    return first_line(error).partition(": <?xml")[0] + (f" ({code[1]})" if code else "")


def _errno(error: BaseError | OSError | ValueError) -> int | None:
    """The system's number of an error; obstore has it in its words only."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def _try_to_write(folder: Path) -> None:
    """Write a file that has no name, so that nothing can be left of it."""
    with tempfile.TemporaryFile(dir=folder, prefix=".parley-") as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()


def _flush_to_disk(path: Path) -> None:
    for place, flags in ((path, os.O_RDONLY), (path.parent, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))):
        descriptor = os.open(place, flags)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
