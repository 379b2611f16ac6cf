"""One call on each wire to a server that sends without end; as a process: how much memory the calls took.

`python -m tests.worker.providers.swallow "chat http://127.0.0.1:1/an_error" …` prints the growth of the peak in bytes.
"""

import asyncio
import resource
import sys
from collections.abc import Awaitable

from shared.errors import Upstream
from shared.provider_presets import preset_of
from worker.providers.assemblyai import AssemblyAIProvider
from worker.providers.base import Audio, ChatMessage, ChatUsage
from worker.providers.client import Timeouts
from worker.providers.iam import IamTokens
from worker.providers.openai import OpenAIProvider
from worker.providers.realtime import RealtimeProvider
from worker.providers.watsonx import WatsonxProvider

NOTE = Audio(b"\x00\x01voice", "ogg", 1.0)
SENTENCE = "Hello there."
PATIENT = Timeouts(5.0, 20.0, 20.0, 60.0)
KIB = 1 if sys.platform == "darwin" else 1_024


async def swallow(wire: str, url: str, timeouts: Timeouts = PATIENT) -> Upstream | None:
    """How a call ends; None if well."""
    if wire == "iam":
        tokens = IamTokens("watsonx", "key", url, timeouts)
        return await _failure(tokens.token(), tokens.close())
    if wire == "watsonx":
        watsonx = WatsonxProvider("watsonx", url, "key", "project", f"{url}/identity/token", timeouts)
        return await _failure(_reply(watsonx), watsonx.close())
    if wire == "assemblyai":
        assemblyai = AssemblyAIProvider("assemblyai", url, "key", timeouts)
        return await _failure(assemblyai.transcribe(NOTE, model="m", languages=[]), assemblyai.close())
    if wire == "realtime":
        realtime = RealtimeProvider("openai", url, "key", timeouts, preset_of("openai", url))
        return await _failure(realtime.speak(SENTENCE, model="m", language="en", voice=None), realtime.close())
    provider = OpenAIProvider("openai", url, "key", timeouts)
    call: Awaitable[object]
    if wire == "chat":
        call = _reply(provider)
    elif wire == "stt":
        call = provider.transcribe(NOTE, model="gpt-transcribe", languages=[])
    else:
        call = provider.speak(SENTENCE, model="m", language="en", voice=None)
    return await _failure(call, provider.close())


async def _reply(provider: OpenAIProvider | WatsonxProvider) -> str:
    pieces = provider.stream_chat([ChatMessage("user", "Hello")], model="m", usage=ChatUsage())
    return "".join([piece async for piece in pieces])


async def _failure(call: Awaitable[object], close: Awaitable[None]) -> Upstream | None:
    try:
        await call
    except Upstream as error:
        return error
    finally:
        await close
    return None


async def _all(calls: list[str]) -> int:
    await swallow("chat", "http://127.0.0.1:9")  # what each client needs for itself
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for call in calls:
        wire, _, url = call.partition(" ")
        await swallow(wire, url)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * KIB


if __name__ == "__main__":
    print(asyncio.run(_all(sys.argv[1:])))  # noqa: T201 - its parent reads it
