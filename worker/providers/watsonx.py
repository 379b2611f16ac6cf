"""IBM watsonx.ai: chat over its REST API, behind tokens of IBM Cloud's IAM."""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress

import openai

from worker.providers.base import ChatMessage, ChatUsage
from worker.providers.chat import streamed
from worker.providers.chat_stream import ChatStream
from worker.providers.client import Timeouts, open_client
from worker.providers.iam import IamToken, IamTokens
from worker.providers.openings import Thinkers
from worker.providers.parameters import Parameters

VERSION = "2025-02-11"  # the day whose form of the API is spoken
ALL_TOKENS = 0  # as many as the model may write: without a word the server ends a reply after 1,024


class WatsonxProvider:
    """One project of a watsonx.ai server."""

    def __init__(
        self, name: str, base_url: str, api_key: str, project_id: str, iam_url: str, timeouts: Timeouts
    ) -> None:
        """Open no connection yet; raises ValueError for a URL or a key that can't be one."""
        self.name = name
        self._project_id = project_id.strip()
        self._timeouts = timeouts
        self._client = open_client(name, base_url, None, timeouts)
        self._tokens = IamTokens(name, api_key, iam_url, timeouts)
        self._parameters = Parameters(name)
        self._thinkers = Thinkers()

    def stream_chat(
        self, messages: Sequence[ChatMessage], *, model: str, usage: ChatUsage, max_tokens: int | None = None
    ) -> AsyncGenerator[str]:
        """Yield the reply piece by piece and fill `usage`; a reply without an end or without words is a failure."""
        body: dict[str, object] = {
            "model_id": model,
            "project_id": self._project_id,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
        }
        limit = {"max_tokens": max_tokens or ALL_TOKENS}
        return streamed(
            lambda: self._parameters.ask(model, limit, lambda limits: self._open_chat(body | limits)),
            provider=self.name,
            model=model,
            usage=usage,
            timeouts=self._timeouts,
            thinkers=self._thinkers,
        )

    async def _open_chat(self, body: dict[str, object]) -> ChatStream:
        """Ask with the token at hand; when it is refused, which costs nothing, once more with another."""
        asked_at = time.monotonic()
        token = await self._tokens.token()
        if token.born < asked_at:
            with suppress(openai.AuthenticationError):
                return await self._post(body, token)
            token = await self._tokens.renewed(token)
        return await self._post(body, token)

    async def _post(self, body: dict[str, object], token: IamToken) -> ChatStream:
        return await self._client.post(
            "/ml/v1/text/chat_stream",
            cast_to=object,
            body=body,
            options={
                "params": {"version": VERSION},
                "headers": {"Authorization": f"Bearer {token.value}", "Accept": "text/event-stream"},
            },
            stream=True,
            stream_cls=ChatStream,
        )

    async def close(self) -> None:
        """Close the connections that were kept open."""
        await self._tokens.close()
        await self._client.close()
