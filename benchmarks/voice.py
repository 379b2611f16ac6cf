"""A voice turn whose reply has six sentences, beside the same calls made one after another.

The models take what real ones do: 0.4 s to hear, 60 tokens a second, 0.3 s and 10 ms a character to speak. `Whole` is
from the first byte of the upload until a waiting client sees the finished job; `first sound` until the first byte of
`GET /job/{id}/audio?stream=1`. The sequential turn asks the same model server in the same run, without any Parley:
transcription, whole reply, sentence by sentence. The critical path is its transcription, reply and last sentence.
"""

import asyncio
import statistics
import time
from typing import NamedTuple

from benchmarks.client import API, Connection, request, sessions, voice_of
from benchmarks.figures import Row, main
from benchmarks.model import LONG
from benchmarks.parley import parley
from tests.processes import ROOT

WHOLE, FIRST, CRITICAL = 0.5, 0.25, 1.10
MODELS = ("--hear-s=0.4", "--tokens-per-s=60", "--speak-s=0.3", "--character-s=0.01", "--long")
NOTE = ROOT / "tests" / "audio" / "en_03_opus.ogg"
SENTENCES = [f"{sentence.rstrip('.')}." for sentence in LONG.split(". ")]


class Spoken(NamedTuple):
    """Seconds until the first sound, and until the end."""

    first_s: float
    whole_s: float


class Calls(NamedTuple):
    """Seconds of the same calls one after another, and of those that nothing can shorten."""

    sequential_s: float
    critical_s: float


async def measure(quick: bool) -> list[Row]:  # noqa: FBT001 - as every question is asked
    """One turn at a time, and the sequential one after each."""
    turns = 2 if quick else 10
    spoken, calls = [], []
    async with parley("postgresql", *MODELS) as whole:
        for session_id in await sessions(whole.port, turns + 1):
            spoken.append(await _turn(whole.port, session_id))
            calls.append(await _sequential(whole.model_port))
    first_s = statistics.median(turn.first_s for turn in spoken[1:])
    whole_s = statistics.median(turn.whole_s for turn in spoken[1:])
    sequential_s = statistics.median(turn.sequential_s for turn in calls[1:])
    critical_s = statistics.median(turn.critical_s for turn in calls[1:])
    question = f"voice turn, {len(SENTENCES)} sentences"
    return [
        Row(f"{question}: whole, beside the sequential one", whole_s / sequential_s, WHOLE,
            beside=f"{whole_s:.2f} s, sequential {sequential_s:.2f} s"),
        Row(f"{question}: first sound, beside the sequential one", first_s / sequential_s, FIRST,
            beside=f"{first_s:.2f} s"),
        Row(f"{question}: whole, beside its critical path", whole_s / critical_s, CRITICAL,
            beside=f"critical path {critical_s:.2f} s"),
    ]  # fmt: skip


async def _turn(port: int, session_id: str) -> Spoken:
    body, content_type = voice_of(session_id, NOTE.read_bytes())
    async with Connection(port) as submitting, Connection(port) as listening:
        began = time.perf_counter()
        submit = request("POST", f"{API}/message/voice", body, content_type=content_type)
        accepted = await submitting.send(submit)
        assert accepted.status == 202, accepted.body
        job, after_s = f"{API}/job/{accepted.json['id']}", time.perf_counter() - began

        async def finished() -> float:
            answer = await submitting.get(job, prefer="wait=60")
            assert answer.json["result"]["audio"], answer.body
            return time.perf_counter() - began

        whole_s, sound = await asyncio.gather(finished(), listening.get(f"{job}/audio?stream=1"))
    return Spoken(after_s + sound.first_s, whole_s)


async def _sequential(port: int) -> Calls:
    async with Connection(port) as models:
        body, content_type = voice_of("", NOTE.read_bytes())
        heard = await models.send(request("POST", "/v1/audio/transcriptions", body, content_type=content_type))
        reply = await models.post("/v1/chat/completions", {"messages": []})
        assert reply.json["choices"][0]["message"]["content"] == LONG
        speech = [await models.post("/v1/audio/speech", {"input": sentence}) for sentence in SENTENCES]
    until_reply_s = heard.took_s + reply.took_s
    return Calls(until_reply_s + sum(one.took_s for one in speech), until_reply_s + speech[-1].took_s)


if __name__ == "__main__":
    main(measure, __doc__)
