"""A scripted model server with known delays that costs next to nothing: `python -m benchmarks.model --port N`.

It shares its cores with what is measured, so it reads requests with httptools and answers from prepared bytes.
"""

import argparse
import asyncio
import json
from functools import cache
from itertools import count
from typing import cast

import httptools
import uvloop

from tests.fakes.mp3 import mp3_of

SHORT = "Breakfast is served from seven to eleven, in the garden room."
LONG = (
    "Good morning, and thank you for asking about our breakfast. "
    "It is served every day from seven to eleven in the garden room. "
    "You will find fresh bread, fruit, eggs and three kinds of coffee. "
    "Our cook will gladly make you an omelette while you are waiting. "
    "Guests who leave early can have a box prepared the night before. "
    "Please tell the reception by ten in the evening if you need one."
)
HEARD = "When is breakfast, and what is there to eat?"
PIECE = 4  # characters: what a token of English is on average
SECONDS_PER_CHARACTER = 0.06


def pieces(text: str) -> list[str]:
    """A reply as its tokens."""
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]


class Delays:
    """How long the models take: seconds, and tokens a second; 0 is at once."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.hear_s: float = options.hear_s
        self.think_s: float = options.think_s
        self.token_s = 1 / options.tokens_per_s if options.tokens_per_s else 0.0
        self.speak_s: float = options.speak_s
        self.character_s: float = options.character_s
        self.reply: str = LONG if options.long else SHORT


class ModelServer(asyncio.Protocol):
    """One kept-alive connection, one call at a time. asyncio and uvloop set TCP_NODELAY by themselves."""

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._path = b""
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not derived from it

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        """Begin a request."""
        self._path, self._body = url, bytearray()

    def on_body(self, part: bytes) -> None:
        """Collect a request."""
        self._body += part

    def on_message_complete(self) -> None:
        """Answer a request when its model would."""
        delays = self._delays
        if self._path.endswith(b"/transcriptions"):
            self._later(delays.hear_s, whole(b"application/json", json.dumps({"text": HEARD}).encode()))
            return
        asked = json.loads(self._body)
        if self._path.endswith(b"/speech"):
            after_s = delays.speak_s + delays.character_s * len(asked["input"])
            self._later(after_s, spoken(len(asked["input"])))
        elif not asked.get("stream"):
            written_s = delays.think_s + delays.token_s * len(pieces(delays.reply))
            self._later(written_s, written(delays.reply))
        elif delays.token_s:
            self._drip(delays)
        else:
            self._later(delays.think_s, b"".join(streamed(delays.reply)))

    def _later(self, after_s: float, data: bytes) -> None:
        if after_s:
            self._loop.call_later(after_s, self._write, data)
        else:
            self._write(data)

    def _drip(self, delays: Delays) -> None:
        """Send token by token, each at its own moment: one that is late delays none after it."""
        began = self._loop.time() + delays.think_s
        for number, chunk in zip(count(1), streamed(delays.reply), strict=False):
            self._loop.call_at(began + min(number, len(pieces(delays.reply))) * delays.token_s, self._write, chunk)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


def whole(content_type: bytes, body: bytes) -> bytes:
    """An answer of known length."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (content_type, len(body)) + body


@cache
def spoken(characters: int) -> bytes:
    """A text of so many characters, as mp3."""
    return whole(b"audio/mpeg", mp3_of(SECONDS_PER_CHARACTER * characters))


@cache
def written(reply: str) -> bytes:
    """A whole chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
    return whole(b"application/json", json.dumps({**_COMPLETION, "choices": [choice], "usage": _USAGE}).encode())


@cache
def streamed(reply: str) -> list[bytes]:
    """A streamed chat completion: an HTTP chunk a token; the last one holds the end too."""

    def event(delta: dict[str, str] | None, finish: str | None = None, **more: object) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        chunk = {**_COMPLETION, "object": "chat.completion.chunk", "choices": choices, **more}
        return b"data: " + json.dumps(chunk).encode() + b"\n\n"

    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    said = [_chunk(event({"content": piece})) for piece in pieces(reply)]
    end = event({}, "stop") + event(None, usage=_USAGE) + b"data: [DONE]\n\n"
    return [head + said[0], *said[1:], _chunk(end) + b"0\r\n\r\n"]


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_COMPLETION = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "scripted"}
_USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


async def _serve(port: int, delays: Delays) -> None:
    for reply in (SHORT, LONG):
        written(reply)
        streamed(reply)
        for sentence in reply.split(". "):
            spoken(len(sentence))  # encodes the tone, so that the first call is as fast as the next
    server = await asyncio.get_running_loop().create_server(
        lambda: ModelServer(delays), "127.0.0.1", port, backlog=2_048
    )
    await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--hear-s", type=float, default=0.0, help="seconds of a transcription")
    parser.add_argument("--think-s", type=float, default=0.0, help="seconds before a reply's first token")
    parser.add_argument("--tokens-per-s", type=float, default=0.0, help="0: all at once")
    parser.add_argument("--speak-s", type=float, default=0.0, help="seconds of a sentence's speech")
    parser.add_argument("--character-s", type=float, default=0.0, help="and of each of its characters")
    parser.add_argument("--long", action="store_true", help="reply in six sentences instead of one")
    options = parser.parse_args()
    uvloop.run(_serve(options.port, Delays(options)))


if __name__ == "__main__":
    main()
