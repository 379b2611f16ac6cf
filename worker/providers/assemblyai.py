"""AssemblyAI's transcription: a file is uploaded, its transcript ordered, and asked for until it is there."""

from collections.abc import Sequence

from worker.providers.base import Audio, Limits, Transcript
from worker.providers.client import Timeouts


class AssemblyAIProvider:
    """One server and its key."""

    def __init__(self, name: str, base_url: str, api_key: str | None, timeouts: Timeouts) -> None:
        """Open no connection yet; raises ValueError for a URL or a key that can't be one."""
        self.name = name
        self.limits = Limits()

    async def transcribe(self, audio: Audio, *, model: str, languages: Sequence[str]) -> Transcript:
        """Return what the server heard, and in which language."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connections that were kept open."""
