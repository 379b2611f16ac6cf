"""The multipart form of a voice note, read part by part: fields beside the file, in any order."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, NamedTuple
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel, ConfigDict, ValidationError

from api.doors.v1.schemas.strict import Flag
from api.http.multipart import PartEnd, PartStart, read_events
from api.usecases.resources import Resources
from api.usecases.upload import Upload, uploading
from shared.errors import AppError, Invalid
from shared.iso_639 import LanguageCode
from shared.models import Blob
from shared.services.blob import BlobContent

MAX_FIELD = 1_000
MAX_FORM = 65_536  # boundaries and fields around the file
SPOOL_CHUNK = 256 * 1024


class VoiceForm(BaseModel):
    """The fields beside the file."""

    model_config = ConfigDict(extra="forbid")

    session_id: UUID
    language: LanguageCode | None = None
    reply_audio: Flag = True


class VoiceNote(NamedTuple):
    """A form that was read; its file is in the store and is sound."""

    form: VoiceForm
    blob: Blob
    content: BlobContent


@asynccontextmanager
async def receive(request: Request, resources: Resources, owner_id: UUID) -> AsyncIterator[VoiceNote]:
    """Read a multipart request; when the block fails, or the upload is no good, nothing of it stays.

    Raises NotFound for another's session before anything is saved, TooLarge, Unsupported, Invalid, Malformed.
    """
    async with uploading(resources, owner_id) as upload:
        yield await _Reader(request, upload, resources.settings.max_upload_bytes).read()


class _Reader:
    """One request being read. The session is checked before the file is stored, whichever field comes first."""

    def __init__(self, request: Request, upload: Upload, limit: int) -> None:
        self._upload = upload
        self._declared = request.headers.get("content-length", "0")
        self._most = limit + MAX_FORM
        self._events = read_events(request, limit=self._most)
        self._fields: dict[str, str] = {}

    async def read(self) -> VoiceNote:
        """Read the fields, store the file, look at it."""
        if self._declared.isdecimal() and int(self._declared) > self._most:
            raise self._upload.too_large()
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
            blob = self._upload.blob or await self._store(_chunks_of(spool))
        return VoiceNote(form, blob, await self._upload.inspect(blob))

    async def _store(self, chunks: AsyncIterator[bytes]) -> Blob:
        return await self._upload.store(self._form(seen_file=True).session_id, chunks)

    async def _read_field(self, part: PartStart) -> None:
        name = part.name
        if name not in VoiceForm.model_fields:
            hint = "" if part.filename is None else ". The voice note goes into the field `file`."
            raise _bad_field(name, "Extra inputs are not permitted", hint)
        value = bytearray()
        async for chunk in self._part_chunks():
            value += chunk
            if len(value) > MAX_FIELD:
                raise _bad_field(name, f"is over {MAX_FIELD} bytes")
        if name in self._fields:
            raise _bad_field(name, "was sent twice")
        self._fields[name] = value.decode("utf-8", "replace")

    def _file_chunks(self) -> AsyncIterator[bytes]:
        return self._upload.counted(self._part_chunks())

    async def _part_chunks(self) -> AsyncIterator[bytes]:
        async for event in self._events:
            if isinstance(event, PartEnd):
                return
            yield bytes(event)  # type: ignore[arg-type]  # only bytes lie between a start and an end

    def _form(self, *, seen_file: bool) -> VoiceForm:
        errors = [] if seen_file else [{"field": "file", "message": "Field required"}]
        try:
            form = VoiceForm.model_validate({name: value for name, value in self._fields.items() if value != ""})
        except ValidationError as error:
            errors += [{"field": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
        if errors:
            raise Invalid(f"{errors[0]['field']}: {errors[0]['message']}", errors=errors)
        return form


async def _chunks_of(spool: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(spool.read, SPOOL_CHUNK):
        yield chunk


def _bad_field(name: str, message: str, hint: str = "") -> AppError:
    return Invalid(f"{name}: {message}{hint}", errors=[{"field": name, "message": message}])
