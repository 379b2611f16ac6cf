"""AssemblyAI's REST API on a real socket, that does what it is told.

`with FakeAssemblyAI() as fake: fake.script.add("transcript", Answer(state="processing"), Answer(text="Hello."))`:
"upload" and "transcripts" are posted to, "transcript" is polled.
"""

import hashlib
import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.fakes.openai_replies import HEARD, Body, as_scripted, json_of
from tests.fakes.openai_script import Answer, Call, Script, call_of
from tests.fakes.openai_server import FakeRoutes, FakeServer, Handler

_REASONS = {401: "Authentication error, API token missing/invalid"}
_BARE = re.compile(r"[^\s]+")


class AssemblyAIRoutes(FakeRoutes):
    """The server's endpoints."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self._orders: list[Call] = []

    def posts(self) -> dict[str, Handler]:
        return {"/v2/upload": self.upload, "/v2/transcript": self.order}

    def gets(self) -> dict[str, Handler]:
        return {"/v2/transcript/{number}": self.poll}

    async def upload(self, request: Request) -> Response:
        """`POST /v2/upload`."""
        data = await request.body()
        digest = hashlib.sha256(data).hexdigest()
        return await self._known(request, call_of("upload", request.headers, size=len(data), sha256=digest))

    async def order(self, request: Request) -> Response:
        """`POST /v2/transcript`."""
        asked = await request.json()
        call = call_of("transcripts", request.headers, model=",".join(asked.pop("speech_models")), wishes=asked)
        call.sha256 = str(asked.pop("audio_url")).rpartition("/")[2]
        self._orders.append(call)
        call.text = str(len(self._orders))
        return await self._known(request, call)

    async def poll(self, request: Request) -> Response:
        """`GET /v2/transcript/{id}`."""
        ordered = self._orders[int(request.path_params["number"]) - 1]
        return await self._known(
            request, call_of("transcript", request.headers, model=ordered.model, sha256=ordered.sha256)
        )

    async def _known(self, request: Request, call: Call) -> Response:
        """The key is sent bare."""
        if not _BARE.fullmatch(request.headers.get("authorization", "")):
            return JSONResponse({"error": _REASONS[401]}, 401)
        return await self._serve(request, call)

    def body(self, request: Request, call: Call, answer: Answer, *, wants_usage: bool) -> Body:  # noqa: ARG002
        told = self._told(request, call, answer)
        if answer.status != 200:
            said = f"It failed: {request.headers.get('authorization')}"
            told = {"error": answer.error or _REASONS.get(answer.status, said)}
        return as_scripted(Body("application/json", [b" "], [json_of(told)]), answer)

    def _told(self, request: Request, call: Call, answer: Answer) -> dict[str, object]:
        if call.endpoint == "upload":
            return {"upload_url": f"{request.base_url}upload/{call.sha256}"}
        if call.endpoint == "transcripts":
            return {"id": call.text, "status": "queued", "text": None}
        if answer.state == "error":
            return {"status": "error", "error": answer.error, "text": None}
        if answer.state != "completed":
            return {"status": answer.state, "text": None}
        language = answer.language or (answer.languages or ["en_us"])[0]
        return {"status": "completed", "text": HEARD if answer.text is None else answer.text, "language_code": language}


class FakeAssemblyAI(FakeServer):
    """The server; `url` is the base URL to configure."""

    def __init__(self) -> None:
        script = Script()
        super().__init__(script, AssemblyAIRoutes(script), "/v2")
