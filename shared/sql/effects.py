"""What follows a commit. Services leave it on their `db` session; the one committer runs it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession


@dataclass(frozen=True)
class Dispatch:
    """After the commit: put the job on the queue."""

    job_id: UUID
    dispatch_no: int


@dataclass(frozen=True)
class JobChanged:
    """After the commit: tell whoever follows the job to look again; when it has `ended`, whoever waits for it too."""

    job_id: UUID
    ended: bool = False


@dataclass(frozen=True)
class AccessChanged:
    """After the commit: have what a user may do, and by which credentials, looked at again for their open requests."""

    user_id: UUID


Effect = Dispatch | JobChanged | AccessChanged
Effects = Callable[[list[Effect]], Awaitable[None]]


def after_commit(db: AsyncSession, effect: Effect) -> None:
    """Leave what must follow the commit of `db`; nothing of it happens when the transaction fails."""
    db.info.setdefault("after_commit", []).append(effect)


def before_commit(db: AsyncSession, do: Callable[[AsyncSession], Awaitable[None]]) -> None:
    """Leave what must be the last thing that the transaction of `db` does."""
    db.info.setdefault("before_commit", []).append(do)
