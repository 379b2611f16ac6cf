"""The rules of users."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Table, and_, or_
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession
from uuid_utils.compat import uuid7

from shared.config import Settings
from shared.errors import Conflict, NotFound, Unauthorized
from shared.models import LOCAL_USER_ID, Login, Scope, User, UserRole, table
from shared.money import ZERO
from shared.services.page import PageRequest, newest_ids_first
from shared.sql.effects import AccessChanged, after_commit
from shared.sql.functions import upsert


@dataclass(frozen=True)
class Account:
    """Who asks, as far as what they may do depends on it; read once for each request.

    A limit that is None is none. Who came with a token has a `login_id`, with an API key a `key_id`.
    """

    id: UUID
    role: UserRole = UserRole.USER
    scopes: frozenset[Scope] = frozenset(Scope)
    login_id: UUID | None = None
    key_id: UUID | None = None
    balance: Decimal | None = None
    reserved: Decimal = ZERO
    allowed_models: frozenset[str] | None = None
    requests_per_minute: int | None = None
    jobs_at_a_time: int | None = None
    audio_minutes_per_day: int | None = None
    tokens_per_day: int | None = None

    @property
    def is_metered(self) -> bool:
        """Whether a job of theirs must be known before it is taken: what it may cost, and by which models."""
        return self.balance is not None or self.allowed_models is not None


LOCAL = Account(LOCAL_USER_ID, UserRole.ADMIN)
"""Everybody, while `AUTH=off`."""

SCOPES = {UserRole.USER: frozenset({Scope.READ, Scope.WRITE}), UserRole.ADMIN: frozenset(Scope)}
"""What each role allows."""

LIMITS = ("requests_per_minute", "jobs_at_a_time", "audio_minutes_per_day", "tokens_per_day")
_user = table(User)
ACCOUNT = tuple(_user.c[name] for name in ("id", "role", "balance", "reserved", "allowed_models", *LIMITS))
"""The columns that an account is read from."""


def account_of(
    row: Row[Any],
    settings: Settings,
    *,
    scopes: frozenset[Scope] = frozenset(Scope),
    login_id: UUID | None = None,
    key_id: UUID | None = None,
) -> Account:
    """The account in a row of `ACCOUNT`; it has those of the scopes that its role allows."""
    limits = {name: getattr(row, name) for name in LIMITS}
    return Account(
        id=row.id,
        role=row.role,
        scopes=SCOPES[row.role] & scopes,
        login_id=login_id,
        key_id=key_id,
        balance=row.balance,
        reserved=row.reserved,
        allowed_models=None if row.allowed_models is None else frozenset(row.allowed_models),
        **{name: getattr(settings, f"user_{name}") if own is None else own for name, own in limits.items()},
    )


async def create(
    db: AsyncSession,
    *,
    username: str,
    password_hash: str | None,
    role: UserRole = UserRole.USER,
    balance: Decimal | None = None,
) -> User:
    """Add a user; Conflict when the name is taken."""
    values = {"username": username, "password_hash": password_hash, "role": role, "balance": balance}
    insert = upsert(db, User).values(id=uuid7(), disabled=False, reserved=ZERO, **values).on_conflict_do_nothing()
    user_id = (await db.exec(insert.returning(col(User.id)))).scalar_one_or_none()
    if user_id is None:
        detail = "There is a user of that name."
        raise Conflict(detail, code="username_taken")
    return await get(db, user_id=user_id)


async def get(db: AsyncSession, *, user_id: UUID) -> User:
    """The user as this transaction leaves it, or NotFound."""
    statement = select(User).where(User.id == user_id).execution_options(populate_existing=True)
    user = (await db.exec(statement)).first()
    if user is None:
        detail = "There is no such user."
        raise NotFound(detail)
    return user


async def account(db: AsyncSession, *, user_id: UUID, settings: Settings) -> Account:
    """The account of a user for whom somebody else acts."""
    row = (await db.exec(select(*ACCOUNT).where(_user.c.id == user_id))).one()
    return account_of(row, settings)


async def find(db: AsyncSession, *, username: str) -> User | None:
    """The user of that name, if there is one."""
    return (await db.exec(select(User).where(User.username == username))).first()


async def list_(db: AsyncSession, *, username: str | None, page: PageRequest) -> tuple[Sequence[User], str | None]:
    """One page of everybody, newest first; or of the one of that name."""
    statement = select(User)
    if username is not None:
        statement = statement.where(User.username == username)
    return await newest_ids_first(db, statement, User, page)


async def change(db: AsyncSession, *, user_id: UUID, fields: dict[str, Any], by: UUID) -> User:
    """Set the given fields of a user; whom it disables, or gives another password, is signed out.

    Conflict when the new balance is below what is reserved of it, when nobody would be left to administer, or for a
    password of the built-in user.
    """
    if user_id == LOCAL_USER_ID and "password_hash" in fields:
        detail = "That is the built-in user, who can't sign in."
        raise Conflict(detail, code="built_in")
    if fields.get("disabled") or fields.get("role") == UserRole.USER:
        await _lock_with_admins(db, user_id=user_id, by=by)
    statement = update(User).where(col(User.id) == user_id)
    if fields.get("balance") is not None:
        statement = statement.where(col(User.reserved) <= fields["balance"])
    if fields and not (await db.exec(statement.values(**fields))).rowcount:
        user = await get(db, user_id=user_id)
        detail = f"Jobs under way have reserved {user.reserved:f} of the balance: it can't be less."
        raise Conflict(detail, code="reserved")
    if fields.get("disabled") or "password_hash" in fields:
        await end_logins(db, user_id=user_id)
    if "role" in fields:
        after_commit(db, AccessChanged(user_id))
    return await get(db, user_id=user_id)


def is_enabled(owned: Table) -> ColumnElement[bool]:
    """Whether the owner of a row of this table is enabled; the row is locked in a way that `await_begun` waits for."""
    enabled = or_(~_user.c.disabled, _user.c.id == LOCAL_USER_ID)
    owner = select(_user.c.id).where(_user.c.id == owned.c.owner_id, enabled)
    return owner.with_for_update(read=True, key_share=True).correlate(owned).exists()


async def await_begun(db: AsyncSession, *, user_id: UUID) -> None:
    """Wait for the submits that found this user enabled before the change: after it all of their jobs are seen."""
    await db.exec(select(_user.c.id).where(_user.c.id == user_id).with_for_update())


async def hold_verified(db: AsyncSession, *, user_id: UUID, password_hash: str) -> None:
    """Keep a user from changing until the commit; Unauthorized when this is no longer how they sign in."""
    known = (User.id == user_id, User.password_hash == password_hash, ~col(User.disabled))
    if (await db.exec(select(User.id).where(*known).with_for_update(read=True))).first() is None:
        raise bad_credentials()


async def set_password(db: AsyncSession, *, user_id: UUID, password_hash: str, instead_of: str) -> None:
    """Keep another hash of a password; Unauthorized when it has been changed meanwhile."""
    known = (col(User.id) == user_id, col(User.password_hash) == instead_of, ~col(User.disabled))
    if not (await db.exec(update(User).where(*known).values(password_hash=password_hash))).rowcount:
        raise bad_credentials()


async def make_admin(db: AsyncSession, *, username: str, password_hash: str) -> None:
    """Make a user, or the one there is, an enabled administrator with this password; older logins end."""
    user = await find(db, username=username)
    if user is None:
        await create(db, username=username, password_hash=password_hash, role=UserRole.ADMIN)
        return
    values = {"role": UserRole.ADMIN, "disabled": False, "password_hash": password_hash}
    await db.exec(update(User).where(col(User.id) == user.id).values(**values))
    await end_logins(db, user_id=user.id)


async def end_logins(db: AsyncSession, *, user_id: UUID) -> None:
    """Sign a user out everywhere."""
    await db.exec(delete(Login).where(col(Login.owner_id) == user_id))
    after_commit(db, AccessChanged(user_id))


def bad_credentials() -> Unauthorized:
    """What whoever can't sign in is told, and no more."""
    return Unauthorized("The username or the password is wrong.", code="bad_credentials")


async def _lock_with_admins(db: AsyncSession, *, user_id: UUID, by: UUID) -> None:
    """Conflict when nobody but this user could administer; two who ask at once, of each other, wait here in turn.

    All are locked in the order of their ids, as whoever else locks several does: so nobody deadlocks.
    """
    is_admin = and_(_user.c.role == UserRole.ADMIN, ~_user.c.disabled, _user.c.id != LOCAL_USER_ID)
    statement = select(_user.c.id, is_admin).where(or_(is_admin, _user.c.id == user_id))
    locked = (await db.exec(statement.order_by(_user.c.id).with_for_update(key_share=True))).all()
    if [found for found, admin in locked if admin] == [user_id] and by != LOCAL_USER_ID:
        detail = "There would be no administrator left."
        raise Conflict(detail, code="last_admin")
