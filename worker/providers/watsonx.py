"""IBM watsonx.ai: chat over its REST API, behind tokens of IBM Cloud's IAM."""

from collections.abc import AsyncGenerator, Sequence

from worker.providers.base import ChatMessage, ChatUsage
from worker.providers.client import Timeouts


class WatsonxProvider:
    """One project of a watsonx.ai server."""

    def __init__(
        self, name: str, base_url: str, api_key: str, project_id: str, iam_url: str, timeouts: Timeouts
    ) -> None:
        """Open no connection yet; raises ValueError for a URL or a key that can't be one."""
        self.name = name

    def stream_chat(
        self, messages: Sequence[ChatMessage], *, model: str, usage: ChatUsage, max_tokens: int | None = None
    ) -> AsyncGenerator[str]:
        """Yield the reply piece by piece and fill `usage`; a reply without an end or without words is a failure."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close the connections that were kept open."""
