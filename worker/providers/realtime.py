"""Speech over OpenAI's Realtime API: each sentence is an out-of-band response that reads it word for word."""

import asyncio
from typing import NamedTuple
from urllib.request import getproxies, proxy_bypass

import aiohttp
import structlog
from yarl import URL

from shared.errors import Upstream
from shared.provider_presets import Preset, checked_key, checked_url
from worker.providers.base import Speech
from worker.providers.client import CONNECTIONS, NO_KEY, Timeouts
from worker.providers.failures import MOVED, Told, told_as_upstream
from worker.providers.reading import difference
from worker.providers.realtime_pool import Keep, RealtimePool, SessionKey
from worker.providers.realtime_response import Dropped
from worker.providers.realtime_session import RealtimeSession

log = structlog.get_logger(__name__)


class _Reading(NamedTuple):
    """A sentence as it was read; `difference` is 0.0 also when the server does not say what it said."""

    speech: Speech
    difference: float


class RealtimeProvider:
    """One server that speaks over a WebSocket, and its key."""

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str | None,
        timeouts: Timeouts,
        preset: Preset,
        keep: Keep | None = None,
    ) -> None:
        """Open no connection yet; raises ValueError for a URL or a key that can't be one."""
        self.name = name
        # http:// and https:// are ws:// and wss:// to aiohttp, and the proxies of the environment are named by them.
        self._url = URL(checked_url(name, base_url)) / "realtime"
        key = checked_key(name, api_key) or NO_KEY
        is_bearer = preset.key_header == "Authorization"
        self._headers = {preset.key_header: f"Bearer {key}" if is_bearer else key}
        self._timeouts = timeouts
        self._voice = preset.voice
        self._heartbeat_s = (keep or Keep()).heartbeat_s
        self._pool = RealtimePool(keep or Keep())
        self._http: aiohttp.ClientSession | None = None

    async def speak(self, text: str, *, model: str, language: str, voice: str | None) -> Speech:
        """Return `text` spoken, as pcm: what was read otherwise is asked for once more, and the closer one is it."""
        due = asyncio.get_running_loop().time() + self._timeouts.total_s
        key = SessionKey(model, voice or self._voice)
        first = await self._ask(key, text, language, due)
        if not first.difference:
            return first.speech
        log.warning("speech.differs", provider=self.name, model=model, difference=first.difference)
        try:
            second = await self._ask(key, text, language, due)
        except Upstream as error:
            log.warning("speech.kept", provider=self.name, model=model, difference=first.difference, code=error.code)
            return first.speech
        best = min(second, first, key=lambda reading: reading.difference)
        if second.difference:
            log.warning("speech.kept", provider=self.name, model=model, difference=best.difference)
        return best.speech

    async def close(self) -> None:
        """Close the connections that were kept open."""
        await self._pool.close()
        if self._http is not None:
            await self._http.close()
        await self._pool.close()  # what was being opened meanwhile

    async def _ask(self, key: SessionKey, text: str, language: str, due: float) -> _Reading:
        with told_as_upstream(self.name, key.model):
            async with asyncio.timeout_at(due):
                try:
                    speech, said = await self._read(key, self._pool.take(key), text, language)
                except Dropped:
                    speech, said = await self._read(key, None, text, language)
        # A long sentence is compared for a while, and others are waiting.
        far = 0.0 if said is None else await asyncio.to_thread(difference, text, said)
        return _Reading(speech, round(far, 3))

    async def _read(
        self, key: SessionKey, session: RealtimeSession | None, text: str, language: str
    ) -> tuple[Speech, str | None]:
        session = session or await self._open(key)
        try:
            return await session.read(text, language)
        finally:
            self._pool.give_back(key, session)

    async def _open(self, key: SessionKey) -> RealtimeSession:
        async with asyncio.timeout(2 * self._timeouts.connect_s):  # to be connected, and to agree
            url = self._url.update_query(model=key.model)
            proxy = None if proxy_bypass(url.host or "") else getproxies().get(url.scheme)
            socket = await self._client().ws_connect(
                url, headers=self._headers, heartbeat=self._heartbeat_s, proxy=proxy
            )
            session = RealtimeSession(socket, self._timeouts)
            self._pool.add(session)
            try:
                await session.agree(key.voice)
            except BaseException:
                self._pool.discard(session)
                raise
        return session

    def _client(self) -> aiohttp.ClientSession:
        """Made at the first use: it belongs to the event loop in which it is made."""
        if self._http is None:
            staying = aiohttp.TraceConfig()
            staying.on_request_redirect.append(_stay)
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS.max_connections or 0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                trace_configs=[staying],
            )
        return self._http


async def _stay(_session: object, _context: object, asked: aiohttp.TraceRequestRedirectParams) -> None:
    """A handshake can't be asked not to follow a redirect, and the key would go along."""
    asked.response.close()
    raise Told(MOVED)
