"""A whole Parley in the test's loop: API over a real socket, worker, and a client that knows the journey."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from api.auth import jwt
from api.http.server import bind, serve
from api.main import create_app
from api.opening import open_resources
from api.usecases.resources import Resources
from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.models import User
from shared.redis.queue import Queue, open_redis
from shared.services import login as logins
from worker.main import serve as serve_worker

API = "/api/v1"
ENDED = {"succeeded", "failed", "cancelled", "expired"}


@dataclass
class Live:
    """A running Parley and a client of it."""

    resources: Resources
    http: httpx.AsyncClient

    async def sign_in(self, username: str, **fields: Any) -> dict[str, str]:
        """The headers by which a new user asks; they have no password, which would take its time."""
        async with self.resources.database.write() as db:
            user = User(username=username, **fields)
            db.add(user)
            await db.flush()
            login = await logins.begin(db, owner_id=user.id, seconds=86_400)
        return {"Authorization": f"Bearer {jwt.access_token(self.resources.settings, login)}"}

    async def agent(self, **fields: Any) -> dict[str, Any]:
        return await self._created("agent", {"name": "Concierge", "prompt": "You answer guests.", **fields})

    async def session(self, **fields: Any) -> dict[str, Any]:
        if "agent_id" not in fields:
            fields["agent_id"] = (await self.agent())["id"]
        return await self._created("session", fields)

    async def text(self, session_id: str, text: str = "When is breakfast?", **fields: Any) -> dict[str, Any]:
        headers = fields.pop("headers", {})
        body = {"session_id": session_id, "text": text, **fields}
        answer = await self.http.post(f"{API}/message/text", json=body, headers=headers)
        assert answer.status_code in {200, 202}, answer.text
        return dict(answer.json())

    async def voice(self, session_id: str, path: Path, **fields: Any) -> dict[str, Any]:
        answer = await self.post_voice(session_id, path.read_bytes(), path.name, **fields)  # noqa: ASYNC240
        assert answer.status_code in {200, 202}, answer.text
        return dict(answer.json())

    async def post_voice(self, session_id: str, data: bytes, name: str = "note", **fields: Any) -> httpx.Response:
        headers = fields.pop("headers", {})
        form = {"session_id": session_id, **{key: str(value) for key, value in fields.items()}}
        return await self.http.post(
            f"{API}/message/voice", data=form, files={"file": (name, data)}, headers=headers, timeout=90
        )

    async def done(self, job: dict[str, Any]) -> dict[str, Any]:
        """The job when it has ended."""
        for _ in range(10):
            answer = await self.http.get(job["links"]["self"], headers={"Prefer": "wait=10"}, timeout=20)
            assert answer.status_code == 200, answer.text
            job = answer.json()
            if job["status"] in ENDED:
                return job
        raise AssertionError(f"the job has not ended: {job}")

    async def running(self, job: dict[str, Any]) -> None:
        """Wait until a worker has the job."""
        for _ in range(500):
            if (await self.http.get(job["links"]["self"])).json()["status"] == "running":
                return
            await asyncio.sleep(0.02)
        raise AssertionError("no worker took the job")

    async def conversation(self, session_id: str) -> list[dict[str, Any]]:
        answer = await self.http.get(f"{API}/message/conversation/{session_id}", params={"limit": 100})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    async def _created(self, noun: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.http.post(f"{API}/{noun}", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


@asynccontextmanager
async def live_parley(
    settings: Settings, audio: AudioPool, *, work: bool = True, clean_queue: bool = True
) -> AsyncIterator[Live]:
    """Start it, and stop it as a signal would."""
    stopping = asyncio.Event()
    queue = Queue(open_redis(settings.redis_url.get_secret_value() if settings.redis_url else None))
    if clean_queue:
        await queue.redis.flushdb()
    async with open_resources(settings, queue, audio) as resources:
        listener = bind(settings)
        parts = [
            asyncio.create_task(
                serve(
                    create_app(settings, resources),
                    settings,
                    listener,
                    stopping=stopping,
                    release=resources.events.close,
                )
            )
        ]
        if work:
            work_on = serve_worker(
                settings,
                queue,
                stopping=stopping,
                audio=audio,
                database=resources.database,
                limits=resources.limits,
            )
            parts.append(asyncio.create_task(work_on))
        port = listener.getsockname()[1]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            try:
                yield Live(resources, http)
            finally:
                stopping.set()
                await asyncio.gather(*parts)
    await queue.close()
