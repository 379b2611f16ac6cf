"""A voice note's way in: read part by part, counted, streamed to the store, then looked at. Nothing is believed."""

import asyncio
import hashlib
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, NamedTuple
from uuid import UUID

import structlog
from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from api.doors.v1.schemas.strict import Flag
from api.http.multipart import PartEnd, PartStart, read_events
from api.usecases.resources import Resources
from shared.audio.probe import probe
from shared.errors import AppError, Invalid, TooLarge, Unavailable, Unsupported
from shared.iso_639 import LanguageCode
from shared.models import Blob, BlobPurpose
from shared.services import blob as blobs
from shared.services import session as sessions

MAX_FIELD = 1_000
MAX_FORM = 65_536  # boundaries and fields around the file
BASE64 = re.compile(rb"(?:data:[\w/+.;=-]*,)?[A-Za-z0-9+/_\r\n-]{40,}={0,2}\s*")
JUDGED_BYTES = 80  # of a file that is no sound: what else it may be
SPOOL_CHUNK = 256 * 1024
DISCARD_S = 0.25  # how long the answer waits for it: with SQL away it would wait as long as it already has

log = structlog.get_logger(__name__)


class VoiceForm(BaseModel):
    """The fields beside the file."""

    model_config = ConfigDict(extra="forbid")

    session_id: UUID
    language: LanguageCode | None = None
    reply_audio: Flag = True


class Upload(NamedTuple):
    """A voice note in the store, looked at and found to be sound; its row still waits to be made ready."""

    form: VoiceForm
    blob: Blob
    content: blobs.BlobContent


@asynccontextmanager
async def receive(request: Request, resources: Resources, owner_id: UUID) -> AsyncIterator[Upload]:
    """Read a multipart request; when the block fails, or the upload is no good, nothing of it stays.

    Raises NotFound for another's session before anything is saved, TooLarge, Unsupported, Invalid, Malformed.
    """
    reader = _Reader(request, resources, owner_id)
    try:
        yield await reader.read()
    except BaseException:
        if reader.blob:
            discarding = asyncio.create_task(_discard(resources, reader.blob))
            resources.discarding.add(discarding)
            discarding.add_done_callback(resources.discarding.discard)
            await asyncio.wait({discarding}, timeout=DISCARD_S)
        raise


async def _discard(resources: Resources, blob: Blob) -> None:
    try:
        if not await resources.uploads.mark_deleted(blob):
            return  # it was committed after all
        await resources.blobs.delete(blob.key)
        await resources.uploads.purge(blob)
    except Unavailable as error:
        log.warning("upload.not_discarded", blob=str(blob.id), code=error.code)  # a reconciler will


class _Reader:
    """One request being read. The session is checked before the file is stored, whichever field comes first."""

    def __init__(self, request: Request, resources: Resources, owner_id: UUID) -> None:
        self._resources = resources
        self._owner_id = owner_id
        self._declared = request.headers.get("content-length", "0")
        self._limit = resources.settings.max_upload_bytes
        self._events = read_events(request, limit=self._limit + MAX_FORM)
        self._fields: dict[str, str] = {}
        self._hash = hashlib.sha256()
        self._size = 0
        self._beginning = b""
        self.blob: Blob | None = None

    async def read(self) -> Upload:
        """Read the fields, store the file, look at it."""
        if self._declared.isdecimal() and int(self._declared) > self._limit + MAX_FORM:
            raise self._too_large()
        seen_file = False
        with tempfile.TemporaryFile() as spool:
            async for event in self._events:
                if not isinstance(event, PartStart):
                    continue
                if event.name != "file":
                    await self._read_field(event)
                elif seen_file:
                    raise _bad_field("file", "send one file")
                elif "session_id" in self._fields:
                    await self._store(self._file_chunks())
                else:
                    async for chunk in self._file_chunks():
                        await asyncio.to_thread(spool.write, chunk)
                seen_file = seen_file or event.name == "file"
            form = self._form(seen_file=seen_file)
            spool.seek(0)
            blob = self.blob or await self._store(_chunks_of(spool))
        return Upload(form, blob, await self._look(blob))

    async def _read_field(self, part: PartStart) -> None:
        name = part.name
        if name not in VoiceForm.model_fields:
            hint = "" if part.filename is None else ". The voice note goes into the field `file`."
            raise _bad_field(name, "Extra inputs are not permitted", hint)
        value = bytearray()
        async for event in self._events:
            if isinstance(event, PartEnd):
                break
            value += event  # type: ignore[arg-type]  # only bytes lie between a start and an end
            if len(value) > MAX_FIELD:
                raise _bad_field(name, f"is over {MAX_FIELD} bytes")
        if name in self._fields:
            raise _bad_field(name, "was sent twice")
        self._fields[name] = value.decode("utf-8", "replace")

    async def _file_chunks(self) -> AsyncIterator[bytes]:
        async for event in self._events:
            if isinstance(event, PartEnd):
                return
            chunk = bytes(event)  # type: ignore[arg-type]  # only bytes lie between a start and an end
            self._beginning += chunk[: JUDGED_BYTES - len(self._beginning)]
            self._size += len(chunk)
            if self._size > self._limit:
                raise self._too_large()
            self._hash.update(chunk)
            yield chunk

    def _form(self, *, seen_file: bool) -> VoiceForm:
        errors = [] if seen_file else [{"field": "file", "message": "Field required"}]
        try:
            form = VoiceForm.model_validate({name: value for name, value in self._fields.items() if value != ""})
        except ValidationError as error:
            errors += [{"field": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
        if errors:
            raise Invalid(f"{errors[0]['field']}: {errors[0]['message']}", errors=errors)
        return form

    async def _store(self, chunks: AsyncIterator[bytes]) -> Blob:
        form = self._form(seen_file=True)
        async with self._resources.database.read() as db:
            await sessions.get(db, owner_id=self._owner_id, session_id=form.session_id)
        blob = blobs.new(owner_id=self._owner_id, session_id=form.session_id, purpose=BlobPurpose.UPLOAD)
        await self._resources.uploads.announce(blob)
        self.blob = blob  # to be discarded if anything fails from here on
        await self._resources.blobs.put(blob.key, chunks)
        return blob

    async def _look(self, blob: Blob) -> blobs.BlobContent:
        async with self._resources.blobs.as_file(blob.key) as path:
            try:
                sound = await self._resources.audio.run(probe, str(path), max_s=self._resources.settings.max_audio_s)
            except (Unsupported, Invalid):
                if BASE64.fullmatch(self._beginning):
                    raise _bad_field("file", "is text in base64: send the bytes that it stands for") from None
                raise
        return blobs.BlobContent(sound.mime, sound.codec, sound.duration_s, self._size, self._hash.hexdigest())

    def _too_large(self) -> TooLarge:
        return TooLarge(f"A voice note may have up to {self._resources.settings.max_upload_mb:g} MB.")


async def _chunks_of(spool: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(spool.read, SPOOL_CHUNK):
        yield chunk


def _bad_field(name: str, message: str, hint: str = "") -> AppError:
    return Invalid(f"{name}: {message}{hint}", errors=[{"field": name, "message": message}])
