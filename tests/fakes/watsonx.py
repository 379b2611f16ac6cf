"""watsonx.ai and IBM Cloud's IAM on one real socket, that do what they are told.

`with FakeWatsonx() as fake: fake.script.add("iam", Answer(expires_in=1))`. Chat takes the tokens that its IAM gave
and that are still good; a call with another one is counted as "refused", and answered with a 401.
"""

import hashlib
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.fakes.openai_replies import TOOL_CALL, USAGE, Body, as_scripted, json_of, pieces_of
from tests.fakes.openai_script import Answer, Call, Script, call_of
from tests.fakes.openai_server import FakeRoutes, FakeServer, Handler

GRANT = "urn:ibm:params:oauth:grant-type:apikey"
_CODES = {
    400: "invalid_request_entity",
    401: "authentication_token_not_valid",
    403: "user_authorization_failed",
    404: "model_not_supported",
    429: "rate_limit_reached_requests",
    500: "downstream_request_failed",
}


class WatsonxRoutes(FakeRoutes):
    """Both servers' endpoints."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self._good_until: dict[str, float] = {}  # by token
        self._given = 0

    def posts(self) -> dict[str, Handler]:
        return {"/identity/token": self.iam, "/ml/v1/text/chat_stream": self.chat}

    def gets(self) -> dict[str, Handler]:
        return {}

    def revoke(self) -> None:
        """Let no token that was given be good any longer."""
        self._good_until.clear()

    async def iam(self, request: Request) -> Response:
        """`POST /identity/token`."""
        async with request.form() as form:
            grant, key = form.get("grant_type"), str(form.get("apikey", ""))
        if grant != GRANT or not key or "authorization" in request.headers:
            return JSONResponse({"errorCode": "BXNIM0109E", "errorMessage": "A property is wrong."}, 400)
        digest = hashlib.sha256(key.encode()).hexdigest()
        return await self._serve(request, call_of("iam", request.headers, text=key[-4:], sha256=digest))

    async def chat(self, request: Request) -> Response:
        """`POST /ml/v1/text/chat_stream`."""
        asked = await request.json()
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        call = call_of("chat", request.headers, model=asked["model_id"], messages=asked["messages"], stream=True)
        call.max_tokens, call.wishes = asked.get("max_tokens"), {"project_id": asked["project_id"]}
        call.wishes |= request.query_params
        call.text = str(call.messages[-1]["content"])
        if self._good_until.get(token, 0) > time.monotonic():
            return await self._serve(request, call)
        call.endpoint = "refused"
        self._script.begin(call)
        self._script.end(call)
        return JSONResponse(errors_of("authentication_token_expired", 401, f"The token {token} has expired."), 401)

    def body(self, request: Request, call: Call, answer: Answer, *, wants_usage: bool) -> Body:  # noqa: ARG002
        if call.endpoint == "iam":
            return as_scripted(self._iam(call, answer), answer)
        if answer.status == 200:
            return as_scripted(_stream(call, answer), answer)
        said = f"It failed: {request.headers.get('authorization')}"
        told = errors_of(answer.error or _CODES.get(answer.status, "unknown"), answer.status, said)
        return as_scripted(Body("application/json", [json_of(told)], []), answer)

    def _iam(self, call: Call, answer: Answer) -> Body:
        if answer.status != 200:
            told = {"errorCode": answer.error or "BXNIM0415E", "errorMessage": f"Key …{call.text} could not be found."}
            return Body("application/json", [json_of(told)], [])
        self._given += 1
        token = f"eyJ-verysecret-{self._given:04d}-ghij"
        self._good_until[token] = time.monotonic() + answer.expires_in
        times = {"expires_in": answer.expires_in, "expiration": int(time.time() + answer.expires_in)}
        whole = {"access_token": token, "refresh_token": "not_supported", "token_type": "Bearer", **times}
        return Body("application/json", [b" "], [json_of(whole)])


def errors_of(code: str, status: int, message: str = "It failed.") -> dict[str, Any]:
    """An error as watsonx.ai tells it, as a body or within a stream."""
    return {"errors": [{"code": code, "message": message}], "trace": "0123456789abcdef", "status_code": status}


def event_of(told: object, name: str = "message") -> str:
    """A server-sent event, for `Answer.raw`."""
    return f"id: 1\nevent: {name}\ndata: {json_of(told).decode()}\n\n"


def chunk_of(call: Call, choices: list[dict[str, Any]], **more: Any) -> bytes:
    """One piece of a reply."""
    return event_of({"id": "chat-1", "model_id": call.model, "created": 1, "choices": choices, **more}).encode()


def _stream(call: Call, answer: Answer) -> Body:
    def said(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return chunk_of(call, [{"index": 0, "finish_reason": finish, "delta": delta}])

    head = [said({"role": "assistant", "content": ""})]
    head += [said({"content": piece}) for piece in pieces_of(call, answer)]
    tail = [said({"tool_calls": [TOOL_CALL]})] if answer.tool_call else []
    if answer.finish is not None:
        tail.append(said({"content": ""}, "tool_calls" if answer.tool_call else answer.finish))
    if answer.usage:
        tail.append(chunk_of(call, [], usage=USAGE))
    return Body("text/event-stream", head, tail)


class FakeWatsonx(FakeServer):
    """The server; `url` is watsonx.ai's, `iam_url` IAM's."""

    def __init__(self) -> None:
        script = Script()
        self.routes = WatsonxRoutes(script)
        super().__init__(script, self.routes, "")

    @property
    def iam_url(self) -> str:
        """Where tokens are."""
        return f"{self.url}/identity/token"
