"""The rules of API keys."""

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import String, bindparam, func, or_
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.config import Settings
from shared.db import db_now
from shared.errors import Forbidden, Invalid, NotFound
from shared.models import ApiKey, Scope, User, table
from shared.services.page import PageRequest, newest_first
from shared.services.user import ACCOUNT, Account, account_of

PREFIX = "parley_"
PREFIX_LENGTH = len(PREFIX) + 8
SECRET_BYTES = 32
FORM = re.compile(rf"{PREFIX}[A-Za-z0-9]{{8}}_[\w-]{{43}}", re.ASCII)

_key, _user = table(ApiKey), table(User)
_ACCOUNT = (
    select(*ACCOUNT, _key.c.hash, _key.c.scopes)  # type: ignore[call-overload]  # typed for four at most
    .join(_key, _key.c.owner_id == _user.c.id)
    .where(
        _key.c.prefix == bindparam("prefix", type_=String()),
        _key.c.revoked_at.is_(None),
        or_(_key.c.expires_at.is_(None), _key.c.expires_at > db_now()),
        ~_user.c.disabled,
    )
)


class NewKey(NamedTuple):
    """A key that was just made; `key` is in no store, and can't be shown again."""

    row: ApiKey
    key: str


async def account(db: AsyncSession, *, key: str, settings: Settings) -> Account | None:
    """Who has this key, while it is good: one query, for every request."""
    if not FORM.fullmatch(key):
        return None
    row = (await db.exec(_ACCOUNT, params={"prefix": key[:PREFIX_LENGTH]})).first()
    if row is None or not hmac.compare_digest(row.hash, _hash(key)):
        return None
    return account_of(row, settings, scopes=frozenset(map(Scope, row.scopes)))


async def create(
    db: AsyncSession, *, maker: Account, name: str, scopes: Iterable[Scope], expires_at: datetime | None
) -> NewKey:
    """Make a key; Forbidden when it would have a scope that its maker has not, Invalid when it is over already."""
    if beyond := set(scopes) - maker.scopes:
        detail = f"You can't give what you don't have: {', '.join(sorted(beyond))}."
        raise Forbidden(detail, code="insufficient_scope")
    prefix = PREFIX + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(8))
    key = f"{prefix}_{secrets.token_urlsafe(SECRET_BYTES)}"
    row = ApiKey(
        owner_id=maker.id, name=name, prefix=prefix, hash=_hash(key), scopes=sorted(set(scopes)), expires_at=expires_at
    )
    db.add(row)
    await db.flush()
    if expires_at and expires_at <= row.created_at:
        detail = "It lies in the past."
        raise Invalid(f"expires_at: {detail}", errors=[{"field": "expires_at", "message": detail}])
    return NewKey(row, key)


async def list_(db: AsyncSession, *, owner_id: UUID, page: PageRequest) -> tuple[Sequence[ApiKey], str | None]:
    """One page of the owner's keys, newest first, with those that are revoked."""
    return await newest_first(db, select(ApiKey).where(ApiKey.owner_id == owner_id), ApiKey, page)


async def revoke(db: AsyncSession, *, owner_id: UUID, key_id: UUID) -> None:
    """End a key, or leave it ended; NotFound for another's."""
    statement = update(ApiKey).where(col(ApiKey.id) == key_id, col(ApiKey.owner_id) == owner_id)
    revoked = statement.values(revoked_at=func.coalesce(col(ApiKey.revoked_at), db_now()))
    if not (await db.exec(revoked)).rowcount:
        detail = "There is no such key."
        raise NotFound(detail)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
