"""A client that notes in the history what it asked for and what it was told."""

import asyncio
import random
import string
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx

from tests.faults.history import Accepted, History
from tests.faults.model import Model, note, prompt, reply_to

API = "/api/v1"
PATIENCE = 10
Post = Callable[..., Awaitable[httpx.Response]]
ENDED = {"succeeded", "failed", "cancelled", "expired"}


class Client:
    """The journey of a client: sessions, messages, jobs. What is not noted here goes over `http`."""

    def __init__(self, http: httpx.AsyncClient, history: History, model: Model) -> None:
        self.http = http
        self._history = history
        self._model = model

    async def session(self, agent_id: str | None = None, **fields: Any) -> str:
        """A new session's id, with a new agent unless one is named."""
        agent_id = agent_id or await self.agent()
        return str((await self._created("session", {"agent_id": agent_id, **fields}))["id"])

    async def agent(self, **fields: Any) -> str:
        """A new agent's id."""
        return str((await self._created("agent", {"name": "Guide", "language": "en", **fields}))["id"])

    async def text(self, session_id: str, **fields: Any) -> Accepted:
        """Submit a text until it is accepted, as clients do: with a key, and again after a 503; see `post_text`."""
        return await self._until_accepted(self.post_text, session_id, fields)

    async def voice(self, session_id: str, **fields: Any) -> Accepted:
        """Submit a voice note until it is accepted, as `text` does; see `post_voice`."""
        return await self._until_accepted(self.post_voice, session_id, fields)

    async def post_text(
        self, session_id: str, *, topic: str, sentences: int = 2, reply_audio: bool = False, **headers: str
    ) -> httpx.Response:
        """Submit a text, whatever the answer is; `headers` are named with underscores."""
        said = prompt(topic, sentences)
        self._history.asked.add(topic)
        body = {"session_id": session_id, "text": said, "reply_audio": reply_audio}
        answer = await self.http.post(f"{API}/message/text", json=body, headers=_named(headers))
        return self._note(answer, Accepted("", session_id, topic, reply_to(said), reply_audio))

    async def post_voice(
        self, session_id: str, *, topic: str, sentences: int = 2, reply_audio: bool = True, **headers: str
    ) -> httpx.Response:
        """Submit a voice note, whatever the answer is; `headers` are named with underscores."""
        said, sound = prompt(topic, sentences), note(topic)
        self._history.asked.add(topic)
        self._model.expect_note(sound, said)
        answer = await self.http.post(
            f"{API}/message/voice",
            data={"session_id": session_id, "reply_audio": str(reply_audio).lower()},
            files={"file": ("note.wav", sound)},
            headers=_named(headers),
        )
        return self._note(answer, Accepted("", session_id, topic, reply_to(said), reply_audio))

    async def job(self, job_id: str) -> dict[str, Any]:
        """The job as a poll shows it."""
        answer = await self.http.get(f"{API}/job/{job_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def done(self, job_id: str) -> dict[str, Any]:
        """The job when it has ended."""
        for _ in range(10):
            answer = await self.http.get(f"{API}/job/{job_id}", headers={"Prefer": "wait=10"})
            assert answer.status_code == 200, answer.text
            if answer.json()["status"] in ENDED:
                return dict(answer.json())
        raise AssertionError(f"the job has not ended: {answer.json()}")

    async def cancel(self, job_id: str) -> httpx.Response:
        """Ask for the end of a job."""
        return await self.http.post(f"{API}/job/{job_id}/cancel")

    async def retry(self, job_id: str) -> httpx.Response:
        """Ask for a failed job to be run again."""
        answer = await self.http.post(f"{API}/job/{job_id}/retry")
        if answer.status_code == 202:
            self._history.retried[job_id] += 1
        return answer

    async def delete_session(self, session_id: str) -> httpx.Response:
        """Delete a session."""
        self._history.deleted.add(session_id)  # before it is told: what was asked may happen
        return await self.http.delete(f"{API}/session/{session_id}")

    async def delete_agent(self, agent_id: str, session_ids: list[str]) -> httpx.Response:
        """Delete an agent, which has these sessions."""
        self._history.deleted.update(session_ids)
        return await self.http.delete(f"{API}/agent/{agent_id}")

    def _note(self, answer: httpx.Response, asked: Accepted) -> httpx.Response:
        if answer.status_code in {200, 202}:
            job = answer.json()
            self._history.accept(replace(asked, job_id=job["id"]))
        return answer

    async def _until_accepted(self, post: Post, session_id: str, fields: dict[str, Any]) -> Accepted:
        topic = fields.setdefault("topic", new_topic())
        answer = await patiently(lambda: post(session_id, Idempotency_Key=topic, **fields))
        assert answer.status_code == 202, answer.text
        return self._history.accepted[answer.json()["id"]]

    async def _created(self, noun: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await patiently(lambda: self.http.post(f"{API}/{noun}", json=body))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


async def patiently(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Ask again when a 503 says so: a machine may be slow without anything being broken."""
    for _ in range(PATIENCE):
        answer = await ask()
        if answer.status_code != 503:
            break
        await asyncio.sleep(float(answer.headers["Retry-After"]))
    return answer


def new_topic() -> str:
    """A word that no other message of any run has."""
    return "topic" + "".join(random.SystemRandom().choices(string.ascii_lowercase, k=12))


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
