"""Speech over OpenAI's Realtime API: each sentence is an out-of-band response that reads it word for word."""

from shared.providers import Preset
from worker.providers.base import Speech
from worker.providers.client import Timeouts


class RealtimeProvider:
    """One server that speaks over a WebSocket, and its key."""

    def __init__(self, name: str, base_url: str, api_key: str | None, timeouts: Timeouts, preset: Preset) -> None:
        """Open no connection yet; raises ValueError for a URL or a key that can't be one."""
        self.name = name

    async def speak(self, text: str, *, model: str, language: str, voice: str | None) -> Speech:
        """Return `text` spoken, as pcm."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connections that were kept open."""
