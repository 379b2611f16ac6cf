"""The rules of users, where several are locked at once."""

import asyncio
from uuid import UUID

import pytest
from sqlmodel import col, text, update
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.models import LOCAL_USER_ID, User, UserRole
from shared.services import user as users
from shared.sql.database import Database

WAITS = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


async def lock(db: AsyncSession, user_id: UUID) -> None:
    """As whoever pays does, in the order of the ids."""
    await db.exec(update(User).where(col(User.id) == user_id).values(reserved=User.reserved))


@pytest.mark.parametrize("fields", [{"disabled": True}, {"role": UserRole.USER}])
async def test_whoever_is_disabled_while_others_pay_deadlocks_with_nobody(
    postgres_url: str, fields: dict[str, object]
) -> None:
    database = Database(postgres_url)
    async with database.write() as db:
        older = await users.create(db, username="older", password_hash=None)
        admin = await users.create(db, username="admin", password_hash=None, role=UserRole.ADMIN)
    assert older.id < admin.id

    async def change() -> User:
        async with database.write() as db:
            return await users.change(db, user_id=older.id, fields=dict(fields), by=LOCAL_USER_ID)

    async with database.write() as payer:
        await lock(payer, older.id)
        changing = asyncio.create_task(change())
        async with database.read() as db:
            for _ in range(100):
                if (await db.exec(WAITS)).scalar_one():  # type: ignore[call-overload]  # typed for no text
                    break
                await asyncio.sleep(0.01)
        await lock(payer, admin.id)
    changed = await changing
    assert (changed.disabled, changed.role) == (fields.get("disabled", False), UserRole.USER)
    await database.close()
