"""How many statements and transactions each route costs, however much there is."""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from api.main import create_app
from api.usecases.admission import COUNT_S
from shared.audio.pool import AudioPool
from shared.config import Settings
from shared.errors import AppError
from shared.models import BlobPurpose
from shared.services.blob import BlobContent
from shared.services.job import lease as leases
from shared.services.job import step as steps
from shared.services.job import transitions as jobs
from shared.services.job import turn as turns
from shared.services.job.turn import StepDone, Turn, Used
from tests.conftest import SAMPLES
from tests.fakes.mp3 import mp3_of
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live, live_parley
from tests.statements import recorded

NOTE = (SAMPLES / "en_13.flac").read_bytes()
SOUND = mp3_of(0.1)
METHODS = {"get", "post", "put", "patch", "delete"}


class Cost(NamedTuple):
    """What a request costs. In its path and body `{…}` is the id of what there is of that kind."""

    route: str
    statements: int
    commits: int
    request: Mapping[str, Any] = MappingProxyType({})
    job: str = "spoken"


KEY = {"Idempotency-Key": "one"}
AGENT = {"name": "Concierge"}
SESSION = {"agent_id": "{agent_id}"}
TEXT = {"session_id": "{session_id}", "text": "When is breakfast?"}
VOICE = {"data": {"session_id": "{session_id}"}, "files": {"file": ("note", NOTE)}}
ANN = {"username": "ann", "password": "correct horse"}
BOB, BOB_ELSEWHERE = {"Authorization": "Bearer {access_token}"}, {"Authorization": "Bearer {other_token}"}
PASSWORDS = {"current_password": "correct horse", "new_password": "correct horse"}

COSTS = [
    Cost("GET /health", 0, 0),
    Cost("GET /health/live", 0, 0),
    Cost("GET /health/ready", 2, 0),
    Cost("GET /api/v1/agent", 1, 0),
    Cost("GET /api/v1/agent/{agent_id}", 1, 0),
    Cost("GET /api/v1/session", 1, 0),
    Cost("GET /api/v1/session?agent_id={agent_id}", 1, 0),
    Cost("GET /api/v1/session/{session_id}", 1, 0),
    Cost("GET /api/v1/message/conversation/{session_id}", 2, 0),
    Cost("GET /api/v1/message/conversion/{session_id}", 2, 0),
    Cost("GET /api/v1/message/{message_id}", 1, 0),
    Cost("GET /api/v1/message/{message_id}/audio", 1, 0),
    Cost("GET /api/v1/job", 2, 0),
    Cost("GET /api/v1/job?session_id={session_id}", 2, 0),
    Cost("GET /api/v1/job/{job_id}", 1, 0),
    Cost("GET /api/v1/job/{job_id}", 1, 0, {"headers": {"If-None-Match": "{etag}"}}),
    Cost("GET /api/v1/job/{job_id}", 2, 0, {"headers": {"If-None-Match": '"0-0"'}}),
    Cost("GET /api/v1/job/{job_id}", 1, 0, {"headers": {"Prefer": "wait=9"}}),
    Cost("GET /api/v1/job/{job_id}", 1, 0, {"headers": {"Prefer": "wait=9", "If-None-Match": "{etag}"}}),
    Cost("GET /api/v1/job/{job_id}/audio", 1, 0),
    Cost("GET /api/v1/job/{job_id}/audio?stream=1", 1, 0),
    Cost("GET /api/v1/job/{job_id}/events", 2, 0),
    Cost("GET /api/v1/model", 0, 0),
    Cost("GET /api/v1/usage?by=session", 2, 0),
    Cost("POST /api/v1/agent", 2, 1, {"json": AGENT}),
    Cost("POST /api/v1/agent", 3, 1, {"json": AGENT, "headers": {"Idempotency-Key": "another"}}),
    Cost("PUT /api/v1/agent/{agent_id}", 2, 1, {"json": AGENT}),
    Cost("PATCH /api/v1/agent/{agent_id}", 2, 1, {"json": {"prompt": "You answer."}}),
    Cost("POST /api/v1/session", 3, 1, {"json": SESSION}),
    Cost("PUT /api/v1/session/{session_id}", 4, 1, {"json": SESSION}),
    Cost("PATCH /api/v1/session/{session_id}", 2, 1, {"json": {"name": "Room 12"}}),
    Cost("POST /api/v1/message/text", 4, 1, {"json": TEXT}),
    Cost("POST /api/v1/message/text", 5, 1, {"json": TEXT, "headers": KEY}),
    Cost("POST /api/v1/message/text", 3, 0, {"json": TEXT, "headers": KEY}),
    Cost("POST /api/v1/message/voice", 7, 2, VOICE),
    Cost("POST /api/v1/job/{job_id}/cancel", 7, 1, job="queued"),
    Cost("POST /api/v1/job/{job_id}/retry", 6, 1, job="failed"),
    Cost("POST /api/v1/auth/register", 2, 1, {"json": ANN}),
    Cost("POST /api/v1/auth/login", 4, 1, {"json": ANN}),
    Cost("POST /api/v1/auth/token", 4, 1, {"data": ANN}),
    Cost("POST /login", 4, 1, {"json": ANN}),
    Cost("POST /api/v1/auth/refresh", 1, 1, {"json": {"refresh_token": "{refresh_token}"}}),
    Cost("GET /api/v1/auth/me", 1, 0),
    Cost("POST /api/v1/auth/key", 2, 1, {"json": {"name": "Front desk"}, "headers": BOB}),
    Cost("GET /api/v1/auth/key", 1, 0),
    Cost("DELETE /api/v1/auth/key/{key_id}", 2, 1, {"headers": BOB}),
    Cost("POST /api/v1/auth/logout", 2, 1, {"headers": BOB_ELSEWHERE}),
    Cost("POST /api/v1/auth/password", 7, 1, {"json": PASSWORDS, "headers": BOB}),
    Cost("GET /api/v1/admin/user", 1, 0),
    Cost("GET /api/v1/admin/user/{user_id}", 1, 0),
    Cost("POST /api/v1/admin/user", 2, 1, {"json": ANN | {"username": "carl"}}),
    Cost("PATCH /api/v1/admin/user/{user_id}", 2, 1, {"json": {"balance": "1"}}),
    Cost("PATCH /api/v1/admin/user/{user_id}", 3, 1, {"json": {"password": "another horse"}}),
    Cost("PATCH /api/v1/admin/user/{user_id}", 7, 3, {"json": {"disabled": "true"}}),
    Cost("GET /api/v1/admin/job", 2, 0),
    Cost("GET /api/v1/admin/job/{job_id}", 2, 0),
    Cost("POST /api/v1/admin/job/{job_id}/cancel", 8, 1, job="queued elsewhere"),
    Cost("POST /api/v1/admin/job/{job_id}/retry", 10, 1, job="failed elsewhere"),  # by its owner's limits
    Cost("DELETE /api/v1/session/{session_id}", 5, 1),
    Cost("DELETE /api/v1/agent/{agent_id}", 6, 1),
]


def filled(template: Any, world: dict[str, str]) -> Any:
    """A template with the ids put in."""
    if isinstance(template, Mapping):
        return {name: filled(value, world) for name, value in template.items()}
    return template.format(**world) if isinstance(template, str) else template


async def counting(live: Live) -> str:
    """The statement that counts the backlog: once a second, and not once a submit."""
    with recorded() as visits:
        async with live.resources.database.read() as db:
            await jobs.count_unfinished(db)
    return visits.sent[0].sql


async def claimed(live: Live, job_id: str) -> Turn:
    async with live.resources.database.write() as db:
        claim = await leases.claim(db, job_id=UUID(job_id), worker_id=uuid4(), lease_s=60)
        assert claim
        return await turns.load(db, claim, history=20)


async def spoken(live: Live, session_id: str, sentences: int) -> str:
    """A turn whose reply has so many sentences, as a worker saves it; the id of its job."""
    job_id: str = (await live.text(session_id, reply_audio=True))["id"]
    turn = await claimed(live, job_id)
    content = BlobContent("audio/mpeg", "mp3", 0.1, len(SOUND), "0" * 64)
    async with live.resources.database.write() as db:
        await steps.save_reply(db, turn, text="At seven.", language="en", done=StepDone("reply", 1), spoken={})
        for number in range(sentences):
            blob = await steps.announce_sound(db, turn, purpose=BlobPurpose.SENTENCE)
            done = StepDone(f"speak/{number + 1}", 1, "openai", "tts", used=Used(characters=9))
            await steps.save_sentence(db, turn, blob=blob, content=content, done=done)
        blob = await steps.announce_sound(db, turn, purpose=BlobPurpose.REPLY)
        assert turn.reply
        await steps.save_speech(db, turn, turn.reply, blob=blob, content=content)
    await live.resources.blobs.put(blob.key, SOUND)
    return job_id


async def make_world(live: Live, size: int) -> dict[str, str]:
    """So many of everything, most of it in one session: finished turns, their sentences, queued ones; the ids."""
    for _ in range(size):
        agent = (await live.agent())["id"]
    session = (await live.session(agent_id=agent))["id"]
    world: dict[str, str] = {"agent_id": agent, "session_id": session}
    for _ in range(size - 1):
        await live.text((await live.session(agent_id=agent))["id"])
    for _ in range(size):
        world["spoken"] = await spoken(live, session, sentences=size)
    world["failed"] = await failed(live, session)
    for _ in range(size):
        world["queued"] = (await live.text(session))["id"]
    for state in ("failed", "queued"):
        elsewhere = (await live.session(agent_id=agent))["id"]
        world[f"{state} elsewhere"] = (
            await failed(live, elsewhere) if state == "failed" else (await live.text(elsewhere))["id"]
        )
    polled = await live.http.get(f"{API}/job/{world['spoken']}")
    return (
        world
        | {"etag": polled.headers["etag"], "message_id": polled.json()["result"]["message_id"]}
        | await accounts(live)
    )


async def failed(live: Live, session_id: str) -> str:
    """A job that has failed; its id."""
    job_id: str = (await live.text(session_id))["id"]
    turn = await claimed(live, job_id)
    async with live.resources.database.write() as db:
        await leases.fence(db, turn.claim)
        await leases.fail(db, turn.claim, AppError("It broke."))
    return job_id


async def accounts(live: Live) -> dict[str, str]:
    """A user with three logins, and a key."""
    bob = ANN | {"username": "bob"}
    user = (await live.http.post(f"{API}/auth/register", json=bob)).json()
    pair, other, refreshed = [(await live.http.post(f"{API}/auth/login", json=bob)).json() for _ in range(3)]
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    key = (await live.http.post(f"{API}/auth/key", json={"name": "Back door"}, headers=headers)).json()
    return {
        "user_id": user["id"],
        "key_id": key["id"],
        "access_token": pair["access_token"],
        "other_token": other["access_token"],
        "refresh_token": refreshed["refresh_token"],
    }


async def cost(live: Live, asked: Cost, world: dict[str, str], count: str) -> Cost:
    """The request and what it did cost."""
    method, path = asked.route.split()
    ids = world | {"job_id": world[asked.job]}
    with recorded() as visits:
        answer = await live.http.request(method, filled(path, ids), **filled(asked.request, ids))
    assert answer.status_code < 400, answer.text
    statements = [sent.sql for sent in visits.sent if sent.sql != count]
    return asked._replace(statements=len(statements), commits=visits.commits)


@pytest.mark.parametrize("size", [1, 7])
async def test_every_route_costs_what_it_says_however_much_there_is(parley_without_worker: Live, size: int) -> None:
    live = parley_without_worker
    world, count = await make_world(live, size), await counting(live)
    assert [await cost(live, asked, world, count) for asked in COSTS] == COSTS


def test_no_route_is_forgotten() -> None:
    served = {
        f"{method.upper()} {path}"
        for path, operations in create_app(Settings(_env_file=None, env="TEST")).openapi()["paths"].items()
        for method in METHODS & operations.keys()
    }
    assert {asked.route.partition("?")[0] for asked in COSTS} == served


async def test_the_backlog_is_counted_once_a_second_and_not_once_a_submit(parley_without_worker: Live) -> None:
    live = parley_without_worker
    session, count = (await live.session())["id"], await counting(live)
    began = time.monotonic()
    with recorded() as visits:
        for _ in range(20):
            await live.text(session)
    counted = [sent.sql for sent in visits.sent].count(count)
    assert 1 <= counted <= 1 + (time.monotonic() - began) / COUNT_S


async def test_a_token_or_a_key_costs_one_look_at_its_user(settings: Settings, audio_pool: AudioPool) -> None:
    async with live_parley(settings.model_copy(update={"auth": "on"}), audio_pool, work=False) as live:
        live.http.headers.update(await live.sign_in("ann"))
        job = await live.text((await live.session())["id"])
        with recorded() as visits:
            await live.http.get(job["links"]["self"])
        key = (await live.http.post(f"{API}/auth/key", json={"name": "Front desk"})).json()["key"]
        with recorded() as visits_by_key:
            await live.http.get(job["links"]["self"], headers={"Authorization": f"Bearer {key}"})
    assert (len(visits.sent), visits.commits) == (len(visits_by_key.sent), visits_by_key.commits) == (2, 0)


async def transactions(live: Live, session_id: str) -> list[tuple[int, int]]:
    """The statements and commits of all that a turn of the session, or its job, is named in.

    But for its polls, and the count of the backlog.
    """
    count = await counting(live)
    with recorded() as visits:
        job = await live.done(await live.text(session_id))
    with recorded() as polled:
        await live.http.get(job["links"]["self"])
    (poll,) = polled.sent
    ids = {UUID(session_id).hex, UUID(job["id"]).hex}
    told = [(visit, str(visit.sent).replace("-", "")) for visit in visits if visit.sent[0].sql != poll.sql]
    named = [visit for visit, text in told if any(one in text for one in ids)]
    return [(sum(sent.sql != count for sent in visit.sent), visit.commits) for visit in named]


async def test_a_text_turn_is_three_transactions_however_much_was_said_before(
    settings: Settings, audio_pool: AudioPool, fake: FakeOpenAI
) -> None:
    alone = settings.model_copy(update={"reconcile_s": 600.0, "lease_s": 600.0})
    async with live_parley(alone, audio_pool) as live:
        agent = (await live.agent())["id"]
        new, old = [(await live.session(agent_id=agent, language="en"))["id"] for _ in range(2)]
        for _ in range(25):
            await live.done(await live.text(old))
        assert len(await live.conversation(old)) == 50
        submit, claim, reply = (4, 1), (2, 1), (8, 1)
        assert await transactions(live, new) == [submit, claim, reply]
        assert await transactions(live, old) == [submit, claim, reply]
    assert len(fake.script.of("chat")[-1].messages) == settings.max_chat_history_context + 1


@pytest.mark.parametrize("stack", ["servers"], indirect=True)
async def test_a_submit_is_one_round_trip_to_redis(parley_without_worker: Live) -> None:
    live = parley_without_worker
    redis, sessions = live.resources.queue.redis, [(await live.session())["id"] for _ in range(2)]

    async def spent() -> tuple[int, int]:
        """How often Redis has found something on a connection, a pipeline at once, and the commands that it ran."""
        stats = await redis.info("stats")
        return stats["total_reads_processed"], stats["total_commands_processed"]

    async def cost_of(*session_ids: str) -> tuple[int, int]:
        before = await spent()
        for session_id in session_ids:
            await live.text(session_id)
        after = await spent()
        return after[0] - before[0], after[1] - before[1]

    asking = await cost_of()
    first, second, behind = [await cost_of(session) for session in (*sessions, sessions[1])]
    assert (second[0] - asking[0], second[1] - asking[1]) == (1, len(("psetex", "zadd", "publish")))
    assert first == second
    assert behind == asking  # its session's next end dispatches it
