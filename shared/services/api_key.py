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

from sqlalchemy import String, Uuid, bindparam, func, or_
from sqlmodel import col, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.config import Settings
from shared.errors import Forbidden, Invalid, NotFound
from shared.models import ApiKey, Scope, User, table
from shared.services.page import PageRequest, batches, newest_first, padded
from shared.services.user import ACCOUNT, SCOPES, Account, account_of
from shared.sql.effects import AccessChanged, after_commit
from shared.sql.functions import db_now

PREFIX = "parley_"
PREFIX_LENGTH = len(PREFIX) + 8
SECRET_BYTES = 32
FORM = re.compile(rf"{PREFIX}[A-Za-z0-9]{{8}}_[\w-]{{43}}", re.ASCII)

_key, _user = table(ApiKey), table(User)
_is_good = (
    _key.c.revoked_at.is_(None),
    or_(_key.c.expires_at.is_(None), _key.c.expires_at > db_now()),
    ~_user.c.disabled,
)
_ACCOUNT = (
    select(*ACCOUNT, _key.c.id.label("key_id"), _key.c.hash, _key.c.scopes)  # type: ignore[call-overload]  # typed for four at most
    .join(_key, _key.c.owner_id == _user.c.id)
    .where(_key.c.prefix == bindparam("prefix", type_=String()), *_is_good)
)
_SCOPES = (
    select(_key.c.id, _user.c.role, _key.c.scopes)
    .join(_user, _key.c.owner_id == _user.c.id)
    .where(_key.c.id.in_(bindparam("keys", type_=Uuid(), expanding=True)), *_is_good)
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
    return account_of(row, settings, scopes=frozenset(map(Scope, row.scopes)), key_id=row.key_id)


async def scopes(db: AsyncSession, *, key_ids: Sequence[UUID]) -> dict[UUID, frozenset[Scope]]:
    """What each of these keys is good for now; those that have ended are left out."""
    found: dict[UUID, frozenset[Scope]] = {}
    for some in batches(key_ids):
        for key_id, role, own in await db.exec(_SCOPES, params={"keys": padded(some)}):
            found[key_id] = SCOPES[role] & frozenset(map(Scope, own))
    return found


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
    after_commit(db, AccessChanged(owner_id))


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
