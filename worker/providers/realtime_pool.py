"""Connections to the Realtime API between two sentences: a handshake takes as long as a short sentence."""

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from worker.providers.realtime_session import RealtimeSession


@dataclass(frozen=True)
class Keep:
    """How many unused connections are kept, for how long, and how often they are pinged.

    OpenAI ends one that is 60 minutes old.
    """

    idle_s: float = 300.0
    oldest_s: float = 3_000.0
    most: int = 20
    heartbeat_s: float = 20.0


class SessionKey(NamedTuple):
    """What a session can't change once it has spoken."""

    model: str
    voice: str


class _Idle(NamedTuple):
    key: SessionKey
    session: RealtimeSession
    end: asyncio.TimerHandle


class RealtimePool:
    """Knows every session that is open, whoever uses it, so that none outlives `close`."""

    def __init__(self, keep: Keep) -> None:
        self._keep = keep
        self._idle: list[_Idle] = []  # the longest unused first
        self._open: set[RealtimeSession] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def add(self, session: RealtimeSession) -> None:
        """Watch a session that was opened; it is in use."""
        self._open.add(session)

    def take(self, key: SessionKey) -> RealtimeSession | None:
        """The session that was used last: the others may then grow old."""
        for idle in reversed(self._idle.copy()):
            if idle.key == key:
                self._remove(idle)
                if idle.session.is_free:
                    return idle.session
                self.discard(idle.session)
        return None

    def give_back(self, key: SessionKey, session: RealtimeSession) -> None:
        """Keep a session for the next sentence, unless it is broken, in the middle of one, or too old."""
        loop = asyncio.get_running_loop()
        lives_s = min(self._keep.idle_s, session.opened_at + self._keep.oldest_s - loop.time())
        if not session.is_free or lives_s <= 0 or session not in self._open:
            self.discard(session)
            return
        self._idle.append(_Idle(key, session, loop.call_later(lives_s, self._expire, session)))
        if len(self._idle) > self._keep.most:
            self._expire(self._idle[0].session)

    def discard(self, session: RealtimeSession) -> None:
        """Close a session; doesn't wait, so that whoever was cancelled can call it."""
        if session in self._open:
            self._open.remove(session)
            closing = asyncio.create_task(session.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every session, those in use too."""
        for idle in self._idle.copy():
            self._remove(idle)
        for session in self._open.copy():
            self.discard(session)
        while self._closing:
            await asyncio.wait(self._closing)

    def _expire(self, session: RealtimeSession) -> None:
        for idle in self._idle.copy():
            if idle.session is session:
                self._remove(idle)
        self.discard(session)

    def _remove(self, idle: _Idle) -> None:
        idle.end.cancel()
        self._idle.remove(idle)
