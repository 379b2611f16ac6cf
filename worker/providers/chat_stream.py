"""The events of a streamed chat completion, or the one body of a server that does not stream."""

from collections.abc import AsyncIterator

from openai import AsyncStream
from openai._streaming import ServerSentEvent

MAX_WHOLE_BYTES = 8_000_000


class ChatStream(AsyncStream[object]):
    """The SDK's stream, which knows whether the server has said that it is over."""

    is_done = False

    async def _iter_events(self) -> AsyncIterator[ServerSentEvent]:
        chunks = self.response.aiter_bytes()
        head = b""
        while not head.strip() and (chunk := await anext(chunks, None)) is not None:
            head = head.strip() + chunk
        if head.lstrip().startswith(b"{"):
            yield ServerSentEvent(data=(await _whole(head, chunks)).decode())
            self.is_done = True
            return
        async for event in self._decoder.aiter_bytes(_joined(head, chunks)):
            self.is_done = self.is_done or event.data.startswith("[DONE]")
            yield event


async def _whole(head: bytes, chunks: AsyncIterator[bytes]) -> bytes:
    body = bytearray(head)
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_WHOLE_BYTES:
            msg = "the body has no end"
            raise ValueError(msg)
    return bytes(body)


async def _joined(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk
