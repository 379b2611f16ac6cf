"""Listening to a reply while it is being made, sentence after sentence."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from uuid import UUID

from api.usecases.resources import Resources
from api.usecases.wait import POLL_S, watch_job
from shared.audio import mp3
from shared.errors import Conflict, NotFound
from shared.services.job import turn as turns
from shared.services.job.view import JobView

FIRST_SOUND_S = 60.0
AHEAD = 32  # sentences that are looked for at once


class StreamBrokenError(Exception):
    """What was sent is not how the reply begins any more: never end the answer as if it were whole."""


async def listen(resources: Resources, *, owner_id: UUID, job_id: UUID) -> AsyncGenerator[bytes]:
    """Yield the spoken reply, sentence by sentence as it is made.

    Raises Conflict (not_ready) when nothing is spoken within a minute, NotFound without sound, and StreamBrokenError
    or Unavailable when what was yielded can't be continued.
    """
    sound = _sound(resources, owner_id=owner_id, job_id=job_id)
    try:
        async with asyncio.timeout(FIRST_SOUND_S):
            first = await anext(sound)
    except TimeoutError:
        raise _not_ready() from None
    yield first
    async for chunk in sound:
        yield chunk


async def _sound(resources: Resources, *, owner_id: UUID, job_id: UUID) -> AsyncGenerator[bytes]:
    sent = _Sent()
    views = watch_job(resources, owner_id=owner_id, job_id=job_id)
    async for view in views:
        if not view.job.reply_audio:
            raise _no_sound()
        if view.ended:
            yield await _rest(resources, view, sent)
            return
        keys: list[str] | None = None
        while keys is None or len(keys) == AHEAD:
            async with resources.database.read() as db:
                spoken = await turns.spoken(db, job_id=job_id, numbers=sent.to_read(view.job.attempt))
            keys = sent.next_keys(spoken)
            for key in keys:
                yield sent.add(await resources.blobs.read(key))
    if not sent.size:
        raise _not_ready()
    raise StreamBrokenError


async def _rest(resources: Resources, view: JobView, sent: "_Sent") -> bytes:
    if view.audio is None:
        if sent.size:
            raise StreamBrokenError
        raise _no_sound()
    frames = mp3.without_info(await resources.blobs.read(view.audio.key))
    if hashlib.sha256(frames[: sent.size]).digest() != sent.digest:
        raise StreamBrokenError
    return frames[sent.size :]


def _not_ready() -> Conflict:
    return Conflict("The reply is not ready.", code="not_ready", retry_after=POLL_S)


def _no_sound() -> NotFound:
    return NotFound("There is no sound to fetch.", code="no_audio")


class _Sent:
    """What one listener has got: which sentences, how many bytes, and their hash."""

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._blob_ids: list[UUID] = []
        self._first = b""

    @property
    def digest(self) -> bytes:
        """The SHA-256 of all of it."""
        return self._hash.digest()

    def to_read(self, attempt: int) -> range:
        """The numbers of the next sentences, and in a later attempt of those that were sent: it may speak them anew."""
        next_ = len(self._blob_ids) + 1
        return range(1 if attempt > 1 else next_, next_ + AHEAD)

    def next_keys(self, spoken: dict[str, tuple[UUID, str]]) -> list[str]:
        """Keys of the sentences that follow what was sent, as far as there is no gap."""
        for index, blob_id in enumerate(self._blob_ids, start=1):
            if spoken.get(f"{turns.SPEAK}{index}", (blob_id,))[0] != blob_id:
                raise StreamBrokenError
        keys = []
        while found := spoken.get(f"{turns.SPEAK}{len(self._blob_ids) + 1}"):
            self._blob_ids.append(found[0])
            keys.append(found[1])
        return keys

    def add(self, sound: bytes) -> bytes:
        """The next sentence as it is heard, with the pause before it."""
        chunk = mp3.gap(self._first) + sound if self._first else sound
        self._first = self._first or sound
        self._hash.update(chunk)
        self.size += len(chunk)
        return chunk
