"""The rules of logins: what a user's tokens hang on, from the password to the logout."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from sqlalchemy import Uuid, bindparam
from sqlmodel import col, delete, select, update
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.config import Settings
from shared.models import Login, Scope, User, table
from shared.services.page import batches, padded
from shared.services.user import ACCOUNT, SCOPES, Account, account_of
from shared.sql.effects import AccessChanged, after_commit
from shared.sql.functions import db_now

MOST = 100  # logins of one user at a time

_login, _user = table(Login), table(User)
_is_good = (_login.c.expires_at > db_now(), ~_user.c.disabled)
_ACCOUNT = (
    select(*ACCOUNT)
    .join(_login, _login.c.owner_id == _user.c.id)
    .where(
        _login.c.id == bindparam("login", type_=Uuid()),
        _login.c.owner_id == bindparam("owner", type_=Uuid()),
        *_is_good,
    )
)
_SCOPES = (
    select(_login.c.id, _user.c.role)
    .join(_user, _login.c.owner_id == _user.c.id)
    .where(_login.c.id.in_(bindparam("logins", type_=Uuid(), expanding=True)), *_is_good)
)


async def account(db: AsyncSession, *, owner_id: UUID, login_id: UUID, settings: Settings) -> Account | None:
    """Who has this login, while it lasts: one query, for every request."""
    row = (await db.exec(_ACCOUNT, params={"login": login_id, "owner": owner_id})).first()
    return account_of(row, settings, login_id=login_id) if row else None


async def scopes(db: AsyncSession, *, login_ids: Sequence[UUID]) -> dict[UUID, frozenset[Scope]]:
    """What each of these logins is good for now; those that have ended are left out."""
    found: dict[UUID, frozenset[Scope]] = {}
    for some in batches(login_ids):
        found |= {one: SCOPES[role] for one, role in await db.exec(_SCOPES, params={"logins": padded(some)})}
    return found


async def begin(db: AsyncSession, *, owner_id: UUID, seconds: float) -> Login:
    """Sign a user in, for as long; whoever has `MOST` logins loses the one that would end first."""
    longest_first = (col(Login.expires_at).desc(), col(Login.id).desc())
    surplus = select(Login.id).where(Login.owner_id == owner_id).order_by(*longest_first).offset(MOST - 1)
    if (await db.exec(delete(Login).where(col(Login.id).in_(surplus)))).rowcount:
        after_commit(db, AccessChanged(owner_id))
    login = Login(owner_id=owner_id, refresh_id=uuid4(), expires_at=db_now(seconds))  # type: ignore[arg-type]  # the database's moment
    db.add(login)
    await db.flush()
    return login


async def renew(db: AsyncSession, *, owner_id: UUID, login_id: UUID, refresh_id: UUID, seconds: float) -> Login | None:
    """Give a login its next refresh token. None when it has ended, or ends by this: one that had been used was sent."""
    enabled = select(User.id).where(User.id == owner_id, ~col(User.disabled)).exists()
    this = (col(Login.id) == login_id, col(Login.owner_id) == owner_id)
    statement = (
        update(Login)
        .where(*this, col(Login.refresh_id) == refresh_id, col(Login.expires_at) > db_now(), enabled)
        .values(refresh_id=uuid4(), expires_at=db_now(seconds))
        .returning(Login)
    )
    login: Login | None = (await db.exec(statement)).scalar_one_or_none()
    if login is None and (await db.exec(delete(Login).where(*this))).rowcount:
        after_commit(db, AccessChanged(owner_id))
    return login


async def end(db: AsyncSession, *, owner_id: UUID, login_id: UUID) -> None:
    """Sign out."""
    await db.exec(delete(Login).where(col(Login.id) == login_id))
    after_commit(db, AccessChanged(owner_id))


async def forget_expired(db: AsyncSession) -> int:
    """Drop the logins that are over; their number."""
    now = select(db_now()).scalar_subquery()  # asked once: a clock that runs on enters no index of PostgreSQL
    return (await db.exec(delete(Login).where(col(Login.expires_at) < now))).rowcount
