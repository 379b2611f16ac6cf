"""Jobs that are brought to a known point of their turn."""

import asyncio
from random import Random

from tests.faults.client import new_topic
from tests.faults.deployment import Deployment
from tests.faults.history import Accepted

STEPS = ("transcribe", "reply", "speak/1")


async def submit(parley: Deployment, step: str, chance: Random, *, hold: int = 0) -> Accepted:
    """A job that comes to `step`, with one more waiting behind it; its first `hold` calls there are not answered."""
    session, topic, sentences = await parley.client.session(), new_topic(), chance.randint(2, 4)
    for _ in range(hold):
        parley.model.hold(topic, step)
    if step == "transcribe":
        job = await parley.client.voice(session, topic=topic, sentences=sentences)
    else:
        spoken = step.startswith("speak")
        job = await parley.client.text(session, topic=topic, sentences=sentences, reply_audio=spoken)
    await parley.client.text(session)
    return job


async def in_flight(parley: Deployment, chance: Random, *, hold: int = 1) -> dict[str, Accepted]:
    """A job for each step whose call the model server has, and does not answer before `release()`."""
    jobs = {step: await submit(parley, step, chance, hold=hold) for step in STEPS}
    await asyncio.gather(*[parley.called(job, step) for step, job in jobs.items()])
    return jobs
