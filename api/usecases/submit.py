"""Submitting a message: account limits, then idempotency, then admission, then saving; the commit dispatches the job.

A replay wins over every limit: the limits are looked at first, and refuse only when the key is not known.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from api.usecases.resources import Resources
from shared.errors import TooMany
from shared.models import Blob
from shared.services import blob as blobs
from shared.services import idempotency as keys
from shared.services import message as messages
from shared.services.job.view import JobView
from shared.services.message import Submission
from shared.services.user import Account
from shared.user_limits import refuse


class Once(NamedTuple):
    """A client's idempotency key, if it gave one, and the fingerprint of its request."""

    key: str | None
    request: str


async def submit_text(
    resources: Resources, account: Account, once: Once, *, session_id: UUID, text: str, reply_audio: bool
) -> JobView:
    """Submit a text; the job that answers it.

    Raises ReplayError for a known key, NotFound, Invalid, TooMany, PaymentRequired, Unavailable.
    """
    used_up = await resources.user_limits.tokens(account)
    said = Submission(uuid7(), account, session_id, reply_audio, text=text)
    if once.key is None:
        refuse(used_up)
        return await resources.submits.add(said)
    return await _save(resources, said, once, used_up)


async def check_voice(resources: Resources, account: Account, key: str | None) -> TooMany | None:
    """Refuse a voice note before its bytes are read, unless it may be a replay; else what its account's limits say."""
    used_up = await resources.user_limits.tokens(account)
    if key is None:
        refuse(used_up)
        async with resources.database.read() as db:
            await resources.admission.check(db)
    return used_up


async def submit_voice(
    resources: Resources, said: Submission, once: Once, blob: Blob, content: blobs.BlobContent, used_up: TooMany | None
) -> JobView:
    """Submit a voice note that is in the store, and make its blob ready. Raises what `submit_text` raises.

    `used_up` is what `check_voice` returned.
    """

    async def make_ready(db: AsyncSession) -> None:
        await blobs.ready(db, blob_id=blob.id, session_id=said.session_id, content=content)

    async with resources.user_limits.audio(said.account, said.audio_s) as too_much:
        return await _save(resources, said, once, used_up or too_much, also=make_ready)


async def _save(
    resources: Resources,
    said: Submission,
    once: Once,
    refused: TooMany | None,
    *,
    also: Callable[[AsyncSession], Awaitable[None]] | None = None,
) -> JobView:
    async with resources.admission.slot() as slot, resources.database.write() as db:
        job_id = await keys.new_id(db, owner_id=said.owner_id, key=once.key, request=once.request)
        refuse(refused)
        await slot.acquire(db)
        view = await messages.submit(db, replace(said, job_id=job_id), resources.budget)
        if also:
            await also(db)
    return view
