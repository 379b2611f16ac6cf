"""Two users: one who has everything, and one who would like to see it."""

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import jwt

from api.auth.jwt import ALGORITHM
from tests.conftest import SAMPLES
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live

NOTE = (SAMPLES / "en_03_opus.ogg").read_bytes()
NOT_COMPARED = {"date", "x-request-id"}

Headers = dict[str, str]


@dataclass(frozen=True)
class World:
    """`known` is what stands for the words in braces of the matrix; `marks` are what only the owner may see."""

    live: Live
    owner: Headers
    intruder: Headers
    known: dict[str, str]
    own: dict[str, str]
    marks: tuple[str, ...]

    async def ask(self, method: str, url: str, who: Headers, **arguments: Any) -> httpx.Response:
        arguments["headers"] = {**who, **arguments.get("headers", {})}
        return await self.live.http.request(method, url, **arguments)

    def assert_no_leak(self, answer: httpx.Response, what: object) -> None:
        """Nothing of the owner's is in an answer, but for what was asked with."""
        sent = str(answer.request.url) + str(answer.request.headers)
        with suppress(httpx.RequestNotRead):  # a form
            sent += answer.request.content.decode()
        got = answer.text + str(answer.headers)
        assert not [mark for mark in self.marks if mark in got and mark not in sent], what


def same(answer: httpx.Response) -> tuple[Any, ...]:
    """What must not differ between what is another's and what is not there."""
    body = {name: value for name, value in answer.json().items() if name not in {"instance", "request_id"}}
    headers = {name: value for name, value in answer.headers.items() if name not in NOT_COMPARED}
    return answer.status_code, json.dumps(body), headers


def missing(known: dict[str, str]) -> dict[str, str]:
    """The same words, with ids that nobody has."""
    return {name: str(uuid4()) if name.endswith("_id") else value for name, value in known.items()}


def claims_of(headers: Headers) -> dict[str, Any]:
    """What a token says."""
    return dict(jwt.decode(headers["Authorization"].split()[1], options={"verify_signature": False}))


def forged(headers: Headers, key: str, changes: dict[str, Any], *, algorithm: str = ALGORITHM) -> Headers:
    """Headers with a token like a good one, but for some claims; None leaves one out."""
    claims = {name: value for name, value in (claims_of(headers) | changes).items() if value is not None}
    return {"Authorization": f"Bearer {jwt.encode(claims, key, algorithm=algorithm)}"}


async def make_world(live: Live, fake: FakeOpenAI) -> World:
    """Ann's agent, sessions, messages of both kinds, sound, jobs that went well and not, key; and some of Bob's own."""
    owner, intruder = [await live.sign_in(name, requests_per_minute=1_000_000) for name in ("ann-whispers", "bob")]
    fake.script.hear(NOTE, "ann-says-by-voice")
    fake.script.always("chat", Answer(text="ann-is-answered"))
    live.http.headers.update(owner)
    agent = await live.agent(name="anns-agent", prompt="anns-prompt")
    await live.agent(name="anns-other-agent")
    session = await live.session(agent_id=agent["id"], name="anns-session")
    await live.session(agent_id=agent["id"], name="anns-other-session")
    key = {"Idempotency-Key": "anns-idempotency"}
    said = await live.text(session["id"], "ann-says-in-text", headers=key)
    job = await live.done(await live.voice(session["id"], SAMPLES / "en_03_opus.ogg"))
    assert job["status"] == "succeeded", job
    fake.script.add("chat", Answer(status=400, error={"message": "ann-is-refused"}))
    failed = await live.done(await live.text(session["id"], "ann-says-in-vain"))
    assert failed["status"] == "failed", failed
    access_key = (await live.http.post(f"{API}/auth/key", json={"name": "anns-key"})).json()
    message_id = job["result"]["message_id"]
    known = {
        "agent_id": agent["id"],
        "session_id": session["id"],
        "job_id": job["id"],
        "message_id": message_id,
        "key_id": access_key["id"],
        "user_id": (await live.http.get(f"{API}/auth/me")).json()["id"],
        "username": "ann-whispers",
        "key": key["Idempotency-Key"],
        "etag": (await live.http.get(job["links"]["self"])).headers["etag"],
        "sound_etag": (await live.http.get(f"{API}/message/{message_id}/audio")).headers["etag"],
        "cursor": (await live.http.get(f"{API}/job", params={"limit": 1})).json()["next_cursor"],
    }
    ids = [known[name] for name in known if name.endswith("_id")]
    marks = [
        *ids,
        said["id"],
        said["message_id"],
        failed["id"],
        access_key["key"],
        access_key["prefix"],
        "anns-",
        "ann-",
    ]
    live.http.headers.update(intruder)
    fake.script.always("chat", Answer(text="Good morning."))
    own_session = await live.session(agent_id=(await live.agent(name="own"))["id"])
    own_job = await live.done(await live.text(own_session["id"]))
    own = known | {
        "agent_id": own_session["agent_id"],
        "session_id": own_session["id"],
        "job_id": own_job["id"],
        "message_id": own_job["message_id"],
    }
    del live.http.headers["Authorization"]
    return World(live, owner, intruder, known, own, tuple(marks))
