"""The `openai` SDK's client as every HTTP provider uses it: no retries, our timeouts, connections that are kept."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
from openai import AsyncStream

from shared.provider_presets import checked_key, checked_url, is_openai
from worker.providers.failures import TOO_MUCH, Kind, Told
from worker.providers.received import MAX_ANSWER_BYTES, limited

NO_KEY = "no-key"
UPLOAD_BYTES_S = 125_000  # the slowest way up that is waited for
# Longer than the SDK's 5 s: people pause between messages, and each new TLS handshake makes them wait.
CONNECTIONS = httpx2.Limits(max_connections=1_000, max_keepalive_connections=100, keepalive_expiry=30.0)


@dataclass(frozen=True)
class Timeouts:
    """Seconds: to connect, then to the first byte, between two chunks, and for one whole call."""

    connect_s: float = 5.0
    first_byte_s: float = 60.0
    idle_s: float = 30.0
    total_s: float = 300.0

    def until_first_byte(self, size: int = 0) -> float:
        """Seconds that the answer to a request of `size` bytes has to begin: to connect, to send it, and to think."""
        return self.connect_s + size / UPLOAD_BYTES_S + self.first_byte_s


def open_client(
    name: str,
    base_url: str,
    api_key: str | Callable[[], Awaitable[str]] | None,
    timeouts: Timeouts,
    headers: Mapping[str, str] | None = None,
) -> openai.AsyncOpenAI:
    """Open no connection yet; `api_key` is sent as a bearer token unless `headers` say otherwise.

    Raises ValueError for a URL or a key that can't be one.
    """
    client = openai.AsyncOpenAI(
        api_key=api_key if callable(api_key) else checked_key(name, api_key) or NO_KEY,
        base_url=checked_url(name, base_url),
        default_headers=headers,
        max_retries=0,
        timeout=httpx2.Timeout(timeouts.total_s, connect=timeouts.connect_s, pool=timeouts.connect_s),
        http_client=openai.DefaultAioHttpClient(
            limits=CONNECTIONS,
            follow_redirects=False,  # the key would go along
            event_hooks={"response": [limited]},
        ),
    )
    if not is_openai(base_url):
        # The SDK takes these from the environment, and they are OpenAI's business only.
        client.organization = client.project = None
    return client


async def collect(
    chunks: AsyncIterator[bytes], patience: asyncio.Timeout, idle_s: float, *, most: int, beyond: Kind = TOO_MUCH
) -> bytes:
    """Gather a body of at most `most` bytes; each chunk gives the next one `idle_s` seconds. Raises `Told(beyond)`."""
    clock = asyncio.get_running_loop().time
    body = bytearray()
    while (chunk := await anext(chunks, None)) is not None:
        patience.reschedule(clock() + idle_s)
        if len(body) + len(chunk) > most:
            raise Told(beyond)
        body += chunk
    return bytes(body)


async def ask_object(
    begin: Callable[[], Awaitable[AsyncStream[object]]],
    timeouts: Timeouts,
    *,
    size: int = 0,
    most: int = MAX_ANSWER_BYTES,
    beyond: Kind = TOO_MUCH,
) -> dict[str, Any]:
    """The answer of at most `most` bytes, as a JSON object, to a request of `size` bytes that is opened as a stream.

    Raises TimeoutError when nothing comes for too long, `Told(beyond)` when too much comes, and ValueError for what is
    no object.
    """
    async with asyncio.timeout(timeouts.until_first_byte(size)) as patience, await begin() as answer:
        chunks = answer.response.aiter_bytes()
        told = json.loads(await collect(chunks, patience, timeouts.idle_s, most=most, beyond=beyond))
    if not isinstance(told, dict):
        msg = "the body is no object"
        raise ValueError(msg)  # noqa: TRY004 - what a server sent is a value
    return told
