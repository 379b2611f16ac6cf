"""kill -9 the API while it takes something in: what was not committed leaves nothing, what was is answered again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from random import Random

import httpx
import psutil  # type: ignore[import-untyped] # it has no types
from redis.asyncio import Redis

from tests.faults.checker import check
from tests.faults.client import Client, new_topic
from tests.faults.deployment import Deployment
from tests.faults.history import History
from tests.faults.model import note, topics_in
from tests.faults.upload import Upload
from tests.faults.waiting import until
from tests.processes import Process
from tests.services import free_port

FLUSHED = 12_000_000  # more than the store keeps in memory
STAGED = 6_000_000
SUBMITS = 100
AGE = {
    True: "UPDATE blob SET updated_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', '-2 hours')",
    False: "UPDATE blob SET updated_at = clock_timestamp() - interval '2 hours'",
}
"""Make every blob row as old as no rule waits for, on SQLite or not."""


@asynccontextmanager
async def another_api(parley: Deployment) -> AsyncIterator[Client]:
    """A second API process on a port of its own, and a client of it."""
    env = {**parley.env, "PORT": str(free_port())}
    process = Process("-m", "api", log=parley.blobs.parent / "another-api.log", env=env)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{env['PORT']}", timeout=30) as http:

            async def answers() -> bool:
                assert process.alive, process.log.read_text()
                try:
                    return (await http.get("/health")).status_code == HTTPStatus.OK
                except httpx.TransportError:
                    return False

            await until(answers, "the second API answers", every=0.03)
            yield Client(http, parley.history, parley.model)
    finally:
        process.kill()


async def uploads_under_way(parley: Deployment, chance: Random) -> list[Upload]:
    """One at every point that can be held: nothing stored yet, the row, some bytes, all but one."""
    sessions = [await parley.client.session() for _ in range(4)]
    sounds = [note(new_topic()), note(new_topic()), chance.randbytes(FLUSHED), note(new_topic())]
    spooled, announced, arriving, nearly = [
        Upload(parley, session, sound, file_first=session == sessions[0])
        for session, sound in zip(sessions, sounds, strict=True)
    ]
    for upload in (spooled, announced, arriving, nearly):
        await upload.begin()
    await spooled.send(chance.randrange(len(spooled.sound)))
    await arriving.send(STAGED + chance.randrange(FLUSHED - STAGED))
    await nearly.send(len(nearly.sound) - 1)
    await arriving.stored(staged=True)
    await asyncio.gather(announced.announced(), nearly.announced())
    return [spooled, announced, arriving, nearly]


def runs(process: psutil.Process) -> bool:
    """Whether it is more than an entry that nobody has read."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def files(parley: Deployment) -> list[str]:
    return [path.name for path in parley.blobs.rglob("*") if path.is_file()]


async def statuses(parley: Deployment) -> Counter[str]:
    return Counter(row["status"] for row in await parley.sql.rows("SELECT status FROM blob"))


def jobs_by_topic(history: History) -> Counter[str]:
    """How many user messages there are about each topic."""
    said = [row["text"] or "" for row in history.rows["message"] if row["role"] == "user"]
    return Counter(topic for text in said for topic in topics_in(text))


async def test_during_an_upload_nothing_of_it_is_left(parley: Deployment, chance: Random) -> None:
    api, _ = await asyncio.gather(parley.start_api(), parley.start_worker())
    under_way = await uploads_under_way(parley, chance)
    *_, committing, probing = [
        await Upload(parley, await parley.client.session(), note(new_topic())).begin() for _ in range(2)
    ]
    await asyncio.gather(committing.announced(), probing.announced())
    children = psutil.Process(api.pid).children(recursive=True)

    async def writes() -> bool:
        return parley.sql.is_sqlite or await parley.sql.waiting() > 0

    async with parley.sql.locked("session", committing.session_id):
        await committing.finish()
        await committing.stored()
        await until(writes, "an upload waits for its commit")
        for child in children:
            with suppress(psutil.NoSuchProcess):  # some come and go by themselves
                child.suspend()
        await probing.finish()
        await probing.stored()
        api.kill()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.resume()
    for upload in (*under_way, committing, probing):
        upload.close()
    await until(lambda: not any(map(runs, children)), "the audio processes follow their API", within=10)
    for table in ("job", "message"):
        assert not await parley.sql.rows(f"SELECT id FROM {table}")  # noqa: S608 - names of ours
    assert await statuses(parley) == {"pending": 5}
    left = files(parley)
    assert len(left) >= 3 and any(name.endswith("#1") for name in left), left  # noqa: PT018

    await parley.sql.execute(AGE[parley.sql.is_sqlite])

    async def buried() -> bool:
        return await statuses(parley) == {"deleted": 5}

    async def swept() -> bool:
        return not await statuses(parley)

    await asyncio.gather(parley.start_api(), until(buried, "the uploads are given up"))
    assert files(parley) == left
    await parley.sql.execute(AGE[parley.sql.is_sqlite])
    await until(swept, "the tombstones are swept")
    assert files(parley) == []
    await parley.client.voice(probing.session_id)
    check(await parley.ended())


async def test_after_its_commit_a_submit_is_answered_with_the_same_job(parley: Deployment, chance: Random) -> None:
    api, _ = await asyncio.gather(parley.start_api(), parley.start_worker())
    client = parley.client
    posts = {new_topic(): chance.choice((client.post_text, client.post_voice)) for _ in range(chance.randint(2, 6))}
    certain = {new_topic(): client.post_text, new_topic(): client.post_voice}
    sessions = {topic: await client.session() for topic in (*certain, *posts)}

    def ask(topic: str) -> asyncio.Task[httpx.Response]:
        post = (certain | posts)[topic]
        return asyncio.create_task(post(sessions[topic], topic=topic, Idempotency_Key=topic))

    async def committed() -> list[str]:
        return [str(row["id"]) for row in await parley.sql.rows("SELECT id FROM job")]

    async def are_committed(number: int) -> bool:
        return len(await committed()) >= number

    parley.redis.stall()  # no answer comes before Redis has been told, or has been given up
    asked = [ask(topic) for topic in certain]
    await until(lambda: are_committed(len(certain)), "both are committed")
    asked += [ask(topic) for topic in posts]
    some = len(certain) + chance.randint(0, len(posts) - 1)
    await until(lambda: are_committed(some), f"{some} are committed")
    api.kill()
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, httpx.TransportError) for answer in told[: len(certain)])
    before = await committed()
    parley.redis.resume()
    await parley.start_api()
    again = {topic: await ask(topic) for topic in sessions}
    history = await parley.ended()
    check(history)
    assert {answer.status_code for answer in again.values()} == {202}
    replayed = {topic for topic, answer in again.items() if "Idempotent-Replayed" in answer.headers}
    assert set(certain) <= replayed
    assert len(replayed) == len(before)
    assert jobs_by_topic(history) == Counter(list(sessions))


async def test_a_hundred_identical_submits_at_once_are_one_job(parley: Deployment, chance: Random) -> None:
    await asyncio.gather(parley.start_api(), parley.start_worker())
    async with another_api(parley) as other, Redis.from_url(parley.redis.url) as redis:
        session, spoken, written = await parley.client.session(), new_topic(), new_topic()
        notes = chance.randint(2, 10)
        topics = chance.sample([spoken] * notes + [written] * (SUBMITS - notes), SUBMITS)

        async def ask(topic: str) -> httpx.Response:
            client = chance.choice((parley.client, other))
            post = client.post_voice if topic == spoken else client.post_text
            return await post(session, topic=topic, Idempotency_Key=topic)

        at_once = await asyncio.gather(*[ask(topic) for topic in topics])
        await redis.flushall()
        later = [await ask(topic) for topic in (spoken, written)]
        history = await parley.ended()
    check(history)
    assert {answer.status_code for answer in (*at_once, *later)} == {202}
    assert len({answer.json()["id"] for answer in (*at_once, *later)}) == 2
    assert sum("Idempotent-Replayed" not in answer.headers for answer in at_once) == 2
    assert all(answer.headers["Idempotent-Replayed"] == "true" for answer in later)
    assert jobs_by_topic(history) == {spoken: 1, written: 1}
