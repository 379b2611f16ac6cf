"""Another API is a folder of mappings: this one takes thirty lines."""

from typing import Any
from uuid import UUID

import httpx
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from api.doors.v1.deps import CurrentAccount, Deps
from api.main import create_app
from api.usecases.submit import Once, submit_text
from api.usecases.wait import wait_for_job
from shared.errors import AppError
from tests.api.test_closed import served
from tests.live import Live

# --- the door -----------------------------------------------------------------
router = APIRouter(prefix="/toy")


class Question(BaseModel):
    to: UUID
    ask: str


@router.post("/question")
async def question(body: Question, account: CurrentAccount, resources: Deps) -> dict[str, Any]:
    once = Once(None, "")
    job = await submit_text(resources, account, once, session_id=body.to, text=body.ask, reply_audio=False)
    view = await wait_for_job(resources, owner_id=account.id, job_id=job.job.id, seconds=60)
    return {"said": view.reply and view.reply.text, "in": view.language, "as": view.status}


def in_its_own_shape(_: Request, error: AppError) -> JSONResponse:
    return JSONResponse({"oops": error.code}, 418)


def install(app: FastAPI) -> None:
    door = FastAPI(exception_handlers={AppError: in_its_own_shape})  # type: ignore[dict-item]  # narrower than any Exception
    door.include_router(router)
    door.state = app.state
    app.mount("/door", door)


# ------------------------------------------------------------------------------


async def test_a_toy_door_submits_waits_and_renders_its_own_shape(parley: Live) -> None:
    app = create_app(parley.resources.settings, parley.resources)
    install(app)
    async with served(app, parley) as address, httpx.AsyncClient(base_url=f"http://{address}/door", timeout=60) as http:
        session = await parley.session(language="en")
        answer = await http.post("/toy/question", json={"to": session["id"], "ask": "When is breakfast?"})
        assert (answer.status_code, answer.json()["as"], answer.json()["in"]) == (200, "succeeded", "en")
        said = (await parley.conversation(session["id"]))[-1]
        assert answer.json()["said"] == said["text"]
        nobody = await http.post("/toy/question", json={"to": said["id"], "ask": "Hello?"})
        assert (nobody.status_code, nobody.json()) == (418, {"oops": "not_found"})
