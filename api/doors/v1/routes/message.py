"""Messages: submitting them, and the conversation they make."""

from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from uuid_utils.compat import uuid7

from api.doors.v1.deps import CurrentAccount, CurrentUser, DbRead, Deps, Page
from api.doors.v1.idempotency_key import IdempotencyKey, replayed
from api.doors.v1.prefer import Wait, headers_of
from api.doors.v1.schemas import headers
from api.doors.v1.schemas.job import JobRead
from api.doors.v1.schemas.message import MessageRead, TextSubmit
from api.doors.v1.schemas.page import PageOf
from api.doors.v1.schemas.problem import PROBLEM_416, PROBLEMS, Responses
from api.doors.v1.schemas.sound import AUDIO, BINARY
from api.doors.v1.voice_form import receive
from api.http.ranges import Conditional, Conditions, serve
from api.usecases import submit
from api.usecases.resources import Resources
from api.usecases.submit import Once
from api.usecases.wait import wait_for_job
from shared.services import idempotency as keys
from shared.services import message as messages
from shared.services.job.view import JobView
from shared.services.message import Submission

router = APIRouter(prefix="/message", tags=["message"], responses=PROBLEMS)

Order = Annotated[
    Literal["oldest", "newest"], Query(description="Which message is the first. A cursor is good for its own order.")
]
ACCEPTED: Responses = {
    200: {
        "model": JobRead,
        "description": "`Prefer: wait` was given and the job ended in time.",
        "headers": headers.ACCEPTED,
    },
    202: {
        "model": JobRead,
        "description": "Accepted. Poll `Location` until the job has ended.",
        "headers": headers.ACCEPTED,
    },
}
CARRIED = ("location", "preference-applied", "idempotent-replayed")  # also when the answer is the sound itself
VOICE_FORM = {
    "type": "object",
    "required": ["session_id", "file"],
    "additionalProperties": False,
    "properties": {
        "session_id": {
            "type": "string",
            "format": "uuid",
            "description": "Send it before the file.",
            "examples": ["01936b2e-0000-7000-8000-000000000000"],
        },
        "file": {"type": "string", "format": "binary", "description": "The voice note: any common audio format."},
        "language": {
            "type": "string",
            "pattern": "^([a-z]{2})?$",
            "description": "The ISO 639-1 code of what is spoken; empty if you don't know.",
            "examples": [""],  # Swagger sends it as it is, and would make one up from the pattern
        },
        "reply_audio": {"type": "boolean", "default": True, "description": "Speak the reply too."},
    },
    "examples": [{"session_id": "01936b2e-0000-7000-8000-000000000000", "language": "en", "reply_audio": True}],
}


@router.post("/text", status_code=202, responses=ACCEPTED)
async def submit_text(
    body: TextSubmit, account: CurrentAccount, resources: Deps, wait: Wait, key: IdempotencyKey, response: Response
) -> JobRead:
    """Say something in text. The job that answers it comes back at once."""
    once = Once(key, keys.fingerprint("message/text", body.model_dump_json()))
    view = None
    with replayed(response) as job:
        view = await submit.submit_text(resources, account, once, **body.model_dump())
        job.id = view.job.id
    return await _accepted(resources, account.id, job.id, wait, response, view)


@router.post(
    "/voice",
    status_code=202,
    response_model=JobRead,
    responses={
        **ACCEPTED,
        200: {**ACCEPTED[200], "content": {"audio/mpeg": BINARY}},
    },
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": VOICE_FORM}}}},
)
async def submit_voice(
    request: Request, account: CurrentAccount, resources: Deps, wait: Wait, key: IdempotencyKey, response: Response
) -> Any:
    """Say something in a voice note. The job that answers it comes back at once.

    With `Prefer: wait=N` and `Accept: audio/mpeg` a reply that is ready in time is the mp3 itself.
    """
    used_up = await submit.check_voice(resources, account, key)
    view = None
    with replayed(response) as job:
        async with receive(request, resources, account.id) as (form, blob, content):
            said = Submission(
                job_id=uuid7(),
                account=account,
                session_id=form.session_id,
                blob_id=blob.id,
                audio_s=content.duration_s,
                language_hint=form.language,
                reply_audio=form.reply_audio,
            )
            once = Once(key, keys.fingerprint("message/voice", form.model_dump_json(), content.sha256))
            view = await submit.submit_voice(resources, said, once, blob, content, used_up)
            job.id = view.job.id
    accepted = await _accepted(resources, account.id, job.id, wait, response, view)
    if request.headers.get("accept", "").startswith("audio/") and accepted.result and accepted.result.audio:
        async with resources.database.read() as db:
            reply = await messages.get(db, owner_id=account.id, message_id=accepted.result.message_id)  # type: ignore[arg-type]  # it has audio
        sound = await serve(resources.blobs, reply.blob, Conditions())
        sound.headers.update({name: response.headers[name] for name in CARRIED if name in response.headers})
        return sound
    return accepted


async def _accepted(
    resources: Resources, user_id: UUID, job_id: UUID, wait: int, response: Response, submitted: JobView | None
) -> JobRead:
    if submitted and not wait:
        view = submitted
    else:
        view = await wait_for_job(resources, owner_id=user_id, job_id=job_id, seconds=wait)
    response.headers.update(headers_of(view.state, wait))
    response.headers["Location"] = f"/api/v1/job/{job_id}"
    response.status_code = HTTPStatus.OK if wait and view.ended else HTTPStatus.ACCEPTED
    return JobRead.of(view)


@router.get("/conversation/{session_id}")
async def get_conversation(
    session_id: UUID, user_id: CurrentUser, db: DbRead, page: Page, order: Order = "oldest"
) -> PageOf[MessageRead]:
    """Read a conversation, oldest message first; from its end backwards with `order=newest`."""
    views, next_cursor = await messages.conversation(
        db, owner_id=user_id, session_id=session_id, page=page, newest_first=order == "newest"
    )
    return PageOf(items=[MessageRead.of(view) for view in views], next_cursor=next_cursor)


router.add_api_route(
    "/conversion/{session_id}",
    get_conversation,
    response_model=PageOf[MessageRead],
    operation_id="get_conversion",
    summary="Get Conversation (older spelling)",
    deprecated=True,
)


@router.get("/{message_id}")
async def get_message(message_id: UUID, user_id: CurrentUser, db: DbRead) -> MessageRead:
    """Get one message."""
    return MessageRead.of(await messages.get(db, owner_id=user_id, message_id=message_id))


@router.get("/{message_id}/audio", response_class=Response, responses={**AUDIO, **PROBLEM_416})
async def get_message_audio(
    message_id: UUID, user_id: CurrentUser, db: DbRead, resources: Deps, conditions: Conditional
) -> Response:
    """Fetch the sound of a message, the user's or the reply's; takes a Range."""
    view = await messages.get(db, owner_id=user_id, message_id=message_id)
    return await serve(resources.blobs, view.blob, conditions)
