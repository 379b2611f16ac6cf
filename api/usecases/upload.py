"""A voice note's way in: announced, streamed to the store, counted, then looked at. Nothing is believed."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import structlog

from api.usecases.resources import Resources
from shared.audio.probe import probe
from shared.errors import Invalid, TooLarge, Unavailable, Unsupported
from shared.models import Blob, BlobPurpose
from shared.services import blob as blobs
from shared.services import session as sessions

BASE64 = re.compile(rb"(?:data:[\w/+.;=-]*,)?[A-Za-z0-9+/_\r\n-]{40,}={0,2}\s*")
JUDGED_BYTES = 80  # of a file that is no sound: what else it may be
DISCARD_S = 0.25  # how long the answer waits for it: with SQL away it would wait as long as it already has

log = structlog.get_logger(__name__)


class Upload:
    """One voice note on its way into the store; its row still waits to be made ready."""

    def __init__(self, resources: Resources, owner_id: UUID) -> None:
        self._resources = resources
        self._owner_id = owner_id
        self._limit = resources.settings.max_upload_bytes
        self._hash = hashlib.sha256()
        self._size = 0
        self._beginning = b""
        self.blob: Blob | None = None

    async def counted(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Pass the file's bytes on; raises TooLarge."""
        async for chunk in chunks:
            self._beginning += chunk[: JUDGED_BYTES - len(self._beginning)]
            self._size += len(chunk)
            if self._size > self._limit:
                raise self.too_large()
            self._hash.update(chunk)
            yield chunk

    async def store(self, session_id: UUID, chunks: AsyncIterator[bytes]) -> Blob:
        """Store the file, of `counted` bytes; raises NotFound for another's session before anything is saved."""
        async with self._resources.database.read() as db:
            await sessions.get(db, owner_id=self._owner_id, session_id=session_id)
        blob = blobs.new(owner_id=self._owner_id, session_id=session_id, purpose=BlobPurpose.UPLOAD)
        await self._resources.uploads.announce(blob)
        self.blob = blob  # to be discarded if anything fails from here on
        await self._resources.blobs.put(blob.key, chunks)
        return blob

    async def inspect(self, blob: Blob) -> blobs.BlobContent:
        """Decode what was stored; raises Unsupported or Invalid for what is no sound."""
        async with self._resources.blobs.as_file(blob.key) as path:
            try:
                sound = await self._resources.audio.run(probe, str(path), max_s=self._resources.settings.max_audio_s)
            except (Unsupported, Invalid):
                if BASE64.fullmatch(self._beginning):
                    message = "is text in base64: send the bytes that it stands for"
                    raise Invalid(f"file: {message}", errors=[{"field": "file", "message": message}]) from None
                raise
        return blobs.BlobContent(sound.mime, sound.codec, sound.duration_s, self._size, self._hash.hexdigest())

    def too_large(self) -> TooLarge:
        """What is said of a file over the limit."""
        return TooLarge(f"A voice note may have up to {self._resources.settings.max_upload_mb:g} MB.")


@asynccontextmanager
async def uploading(resources: Resources, owner_id: UUID) -> AsyncIterator[Upload]:
    """Around the upload and the transaction that makes it ready: when the block fails nothing of it stays."""
    upload = Upload(resources, owner_id)
    try:
        yield upload
    except BaseException:
        if upload.blob:
            discarding = asyncio.create_task(_discard(resources, upload.blob))
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
