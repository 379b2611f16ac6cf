"""The `openai` SDK's client as every HTTP provider uses it: no retries, our timeouts, connections that are kept."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
from openai import AsyncStream

from shared.providers import checked_key, checked_url, is_openai

NO_KEY = "no-key"
MAX_BODY_BYTES = 64_000_000
# Longer than the SDK's 5 s: people pause between messages, and each new TLS handshake makes them wait.
CONNECTIONS = httpx2.Limits(max_connections=1_000, max_keepalive_connections=100, keepalive_expiry=30.0)


@dataclass(frozen=True)
class Timeouts:
    """Seconds: to connect, then to the first byte, between two chunks, and for one whole call."""

    connect_s: float = 5.0
    first_byte_s: float = 60.0
    idle_s: float = 30.0
    total_s: float = 300.0


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
        timeout=httpx2.Timeout(
            max(timeouts.first_byte_s, timeouts.idle_s), connect=timeouts.connect_s, pool=timeouts.connect_s
        ),
        http_client=openai.DefaultAioHttpClient(limits=CONNECTIONS),
    )
    if not is_openai(base_url):
        # The SDK takes these from the environment, and they are OpenAI's business only.
        client.organization = client.project = None
    return client


async def collect(chunks: AsyncIterator[bytes], timeouts: Timeouts) -> bytes:
    """Gather a body; raises TimeoutError when nothing comes for too long, and ValueError when it has no end."""
    body = bytearray()
    while True:
        async with asyncio.timeout(timeouts.idle_s):
            chunk = await anext(chunks, None)
        if chunk is None:
            return bytes(body)
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            msg = "the body has no end"
            raise ValueError(msg)


async def collect_object(answer: AsyncStream[object], timeouts: Timeouts) -> dict[str, Any]:
    """Gather the body of an answer that was opened as a stream, as a JSON object; raises as `collect` does."""
    async with answer:
        told = json.loads(await collect(answer.response.aiter_bytes(), timeouts))
    if not isinstance(told, dict):
        msg = "the body is no object"
        raise ValueError(msg)  # noqa: TRY004 - what a server sent is a value
    return told
