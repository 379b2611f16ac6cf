"""The rules of agents."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.errors import Invalid, NotFound
from shared.models import Agent, Session
from shared.provider_presets import Role
from shared.services import session as sessions
from shared.services.cost_estimate import PriceBook, check_named
from shared.services.page import PageRequest, newest_first
from shared.services.user import Account
from shared.sql.functions import off_the_loop


async def create(
    db: AsyncSession, *, agent_id: UUID, account: Account, fields: dict[str, Any], tariff: PriceBook
) -> None:
    """Add an agent; raises Invalid when it names a model that is not to be had, or languages that it does not speak."""
    check_named(tariff, account, fields)
    _check_languages(fields)
    db.add(Agent(id=agent_id, owner_id=account.id, **fields))
    await db.flush()


async def get(db: AsyncSession, *, owner_id: UUID, agent_id: UUID, lock: bool = False) -> Agent:
    """The agent, kept with `lock` from changes and new sessions until the commit; or NotFound.

    The lock leaves its key to others: PostgreSQL looks at it when a worker writes to a session for the second time in
    a transaction, and that worker has locked the session.
    """
    statement = select(Agent).where(Agent.id == agent_id, Agent.owner_id == owner_id)
    agent = (await db.exec(statement.with_for_update(key_share=True) if lock else statement)).first()
    if agent is None:
        detail = "There is no such agent."
        raise NotFound(detail)
    return agent


async def list_(db: AsyncSession, *, owner_id: UUID, page: PageRequest) -> tuple[Sequence[Agent], str | None]:
    """One page of the owner's agents."""
    return await newest_first(db, select(Agent).where(Agent.owner_id == owner_id), Agent, page)


async def models(db: AsyncSession) -> set[tuple[Role, str]]:
    """The models that agents name, of everybody."""
    await off_the_loop(db)
    named: set[tuple[Role, str]] = set()
    for role in get_args(Role):
        model = getattr(Agent, f"ai_{role}")
        named |= {(role, ref) for ref in (await db.exec(select(model).where(model.is_not(None)).distinct())).all()}
    return named


async def change(
    db: AsyncSession, *, account: Account, agent_id: UUID, fields: dict[str, Any], tariff: PriceBook
) -> Agent:
    """Set the given fields of an agent; raises Invalid as `create` does."""
    check_named(tariff, account, fields)
    agent = await get(db, owner_id=account.id, agent_id=agent_id, lock=True)
    _check_languages(agent.model_dump() | fields)
    agent.sqlmodel_update(fields)
    await db.flush()
    return agent


async def delete(db: AsyncSession, *, owner_id: UUID, agent_id: UUID) -> None:
    """Delete an agent with its sessions, their messages, jobs and blobs."""
    agent = await get(db, owner_id=owner_id, agent_id=agent_id, lock=True)  # keeps new sessions out meanwhile
    await sessions.clear(db, col(Session.agent_id) == agent_id)
    await db.delete(agent)
    await db.flush()


def _check_languages(fields: Mapping[str, Any]) -> None:
    """Raise Invalid, with a field each, for a language outside of those that the agent speaks."""
    spoken = fields["languages"]
    strange = [("language", fields["language"]), *(("voices", code) for code in fields["voices"])]
    errors = [
        {"field": field, "message": f"{code!r} is not among the agent's languages."}
        for field, code in strange
        if spoken and code and code not in spoken
    ]
    if errors:
        raise Invalid(errors[0]["message"], errors=errors)
