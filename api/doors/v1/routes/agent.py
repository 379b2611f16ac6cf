"""Agents."""

from uuid import UUID

from fastapi import APIRouter, Response

from api.doors.v1.deps import CurrentAccount, CurrentUser, Db, DbRead, Deps, Page
from api.doors.v1.idempotency_key import IdempotencyKey, replayed
from api.doors.v1.schemas.agent import AgentPatch, AgentRead, AgentWrite
from api.doors.v1.schemas.headers import CREATED
from api.doors.v1.schemas.page import PageOf
from api.doors.v1.schemas.problem import PROBLEMS
from shared.models import Agent
from shared.services import agent as agents
from shared.services import idempotency as keys

router = APIRouter(prefix="/agent", tags=["agent"], responses=PROBLEMS)


@router.post("", status_code=201, response_model=AgentRead, responses={201: {"headers": CREATED}})
async def create_agent(
    body: AgentWrite, account: CurrentAccount, db: Db, resources: Deps, key: IdempotencyKey, response: Response
) -> Agent:
    """Create an agent."""
    with replayed(response) as agent:
        request = keys.fingerprint("agent", body.model_dump_json())
        agent.id = await keys.new_id(db, owner_id=account.id, key=key, request=request)
        tariff = resources.budget.tariff
        await agents.create(db, agent_id=agent.id, account=account, fields=body.model_dump(), tariff=tariff)
    response.headers["Location"] = f"/api/v1/agent/{agent.id}"
    return await agents.get(db, owner_id=account.id, agent_id=agent.id)


@router.get("", response_model=PageOf[AgentRead])
async def list_agents(user_id: CurrentUser, db: DbRead, page: Page) -> PageOf[Agent]:
    """List your agents, newest first."""
    items, next_cursor = await agents.list_(db, owner_id=user_id, page=page)
    return PageOf(items=items, next_cursor=next_cursor)


@router.get("/{agent_id}", response_model=AgentRead)
async def get_agent(agent_id: UUID, user_id: CurrentUser, db: DbRead) -> Agent:
    """Get one agent."""
    return await agents.get(db, owner_id=user_id, agent_id=agent_id)


@router.put("/{agent_id}", response_model=AgentRead)
async def replace_agent(agent_id: UUID, body: AgentWrite, account: CurrentAccount, db: Db, resources: Deps) -> Agent:
    """Replace an agent: fields left out take their defaults."""
    fields, tariff = body.model_dump(), resources.budget.tariff
    return await agents.change(db, account=account, agent_id=agent_id, fields=fields, tariff=tariff)


@router.patch("/{agent_id}", response_model=AgentRead)
async def change_agent(agent_id: UUID, body: AgentPatch, account: CurrentAccount, db: Db, resources: Deps) -> Agent:
    """Change some fields of an agent."""
    fields, tariff = body.model_dump(exclude_unset=True), resources.budget.tariff
    return await agents.change(db, account=account, agent_id=agent_id, fields=fields, tariff=tariff)


@router.delete("/{agent_id}", status_code=204)
async def delete_agent(agent_id: UUID, user_id: CurrentUser, db: Db) -> None:
    """Delete an agent with its sessions, messages, jobs and sound; what runs is stopped."""
    await agents.delete(db, owner_id=user_id, agent_id=agent_id)
