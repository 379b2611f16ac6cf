"""The rules of agents."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.config import ModelRef
from shared.errors import Invalid, NotFound
from shared.models import Agent, Session
from shared.services import session as sessions
from shared.services.page import PageRequest, newest_first


async def create(
    db: AsyncSession, *, agent_id: UUID, owner_id: UUID, fields: dict[str, Any], providers: Collection[str]
) -> None:
    """Add an agent; raises Invalid when it names a provider that is not configured."""
    _check_providers(fields, providers)
    db.add(Agent(id=agent_id, owner_id=owner_id, **fields))
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


async def change(
    db: AsyncSession, *, owner_id: UUID, agent_id: UUID, fields: dict[str, Any], providers: Collection[str]
) -> Agent:
    """Set the given fields of an agent."""
    _check_providers(fields, providers)
    agent = await get(db, owner_id=owner_id, agent_id=agent_id, lock=True)
    agent.sqlmodel_update(fields)
    await db.flush()
    return agent


async def delete(db: AsyncSession, *, owner_id: UUID, agent_id: UUID) -> None:
    """Delete an agent with its sessions, their messages, jobs and blobs."""
    agent = await get(db, owner_id=owner_id, agent_id=agent_id, lock=True)  # keeps new sessions out meanwhile
    await sessions.clear(db, col(Session.agent_id) == agent_id)
    await db.delete(agent)
    await db.flush()


def _check_providers(fields: dict[str, Any], providers: Collection[str]) -> None:
    errors = [
        {"field": field, "message": f"The provider {ModelRef.parse(fields[field]).provider!r} is not configured."}
        for field in ("ai_chat", "ai_stt", "ai_tts")
        if fields.get(field) and ModelRef.parse(fields[field]).provider not in providers
    ]
    if errors:
        raise Invalid(errors[0]["message"], errors=errors)
