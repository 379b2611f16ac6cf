"""Sessions."""

from uuid import UUID

from fastapi import APIRouter, Response

from api.doors.v1.deps import CurrentUser, Db, DbRead, Page
from api.doors.v1.idempotency_key import IdempotencyKey, replayed
from api.doors.v1.schemas.headers import CREATED
from api.doors.v1.schemas.page import PageOf
from api.doors.v1.schemas.problem import PROBLEMS
from api.doors.v1.schemas.session import SessionPatch, SessionRead, SessionWrite
from shared.models import Session
from shared.services import idempotency as keys
from shared.services import session as sessions

router = APIRouter(prefix="/session", tags=["session"], responses=PROBLEMS)


@router.post("", status_code=201, response_model=SessionRead, responses={201: {"headers": CREATED}})
async def create_session(
    body: SessionWrite, user_id: CurrentUser, db: Db, key: IdempotencyKey, response: Response
) -> Session:
    """Open a conversation with an agent."""
    with replayed(response) as session:
        request = keys.fingerprint("session", body.model_dump_json())
        session.id = await keys.new_id(db, owner_id=user_id, key=key, request=request)
        await sessions.create(db, session_id=session.id, owner_id=user_id, fields=body.model_dump())
    response.headers["Location"] = f"/api/v1/session/{session.id}"
    return await sessions.get(db, owner_id=user_id, session_id=session.id)


@router.get("", response_model=PageOf[SessionRead])
async def list_sessions(user_id: CurrentUser, db: DbRead, page: Page, agent_id: UUID | None = None) -> PageOf[Session]:
    """List your sessions, newest first; of one agent with `agent_id`."""
    items, next_cursor = await sessions.list_(db, owner_id=user_id, agent_id=agent_id, page=page)
    return PageOf(items=items, next_cursor=next_cursor)


@router.get("/{session_id}", response_model=SessionRead)
async def get_session(session_id: UUID, user_id: CurrentUser, db: DbRead) -> Session:
    """Get one session."""
    return await sessions.get(db, owner_id=user_id, session_id=session_id)


@router.put("/{session_id}", response_model=SessionRead)
async def replace_session(session_id: UUID, body: SessionWrite, user_id: CurrentUser, db: Db) -> Session:
    """Replace a session's settings: fields left out take their defaults. Its messages stay."""
    return await sessions.change(db, owner_id=user_id, session_id=session_id, fields=body.model_dump())


@router.patch("/{session_id}", response_model=SessionRead)
async def change_session(session_id: UUID, body: SessionPatch, user_id: CurrentUser, db: Db) -> Session:
    """Change some fields of a session."""
    fields = body.model_dump(exclude_unset=True)
    return await sessions.change(db, owner_id=user_id, session_id=session_id, fields=fields)


@router.delete("/{session_id}", status_code=204)
async def delete_session(session_id: UUID, user_id: CurrentUser, db: Db) -> None:
    """Delete a session with its messages, jobs and sound; what runs is stopped."""
    await sessions.delete(db, owner_id=user_id, session_id=session_id)
