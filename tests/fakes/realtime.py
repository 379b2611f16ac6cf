"""The scripted server's side of one connection of OpenAI's Realtime API."""

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.fakes.openai_replies import error_of as refusal_of
from tests.fakes.openai_script import Answer, Call, Script, call_of
from tests.fakes.realtime_replies import complaint_of, error_of, event_of, response_of

HOLD_POLL_S = 0.005
DRIP_DELAY_S = 0.01
HANG_UP_S = 0.02  # the client has read the answer by then


class Conversation:
    """A handshake, one session, and response after response; one connection is one call of `realtime_connect`."""

    def __init__(self, socket: WebSocket, transport: asyncio.Transport, script: Script) -> None:
        self._socket = socket
        self._transport = transport
        self._script = script
        self._events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._is_over = asyncio.Event()
        self._voice: str | None = None
        self._has_spoken = False

    async def hold(self) -> None:
        """Until either side hangs up."""
        call = call_of("realtime_connect", self._socket.headers, model=self._socket.query_params.get("model", ""))
        call.path = self._socket.url.path
        answer = self._script.begin(call)
        listener = None
        try:
            if await self._shake_hands(call, answer):
                listener = asyncio.create_task(self._listen())
                await self._converse(answer)
        except WebSocketDisconnect:
            pass
        finally:
            self._script.end(call)
            if listener:
                listener.cancel()

    async def _shake_hands(self, call: Call, answer: Answer) -> bool:
        if answer.hang:
            while (await self._socket.receive())["type"] != "websocket.disconnect":
                pass
        await self._wait(call, answer)
        if answer.hang or answer.drop:
            self._transport.abort()
            return False
        if answer.status != 200:
            body = refusal_of(answer, self._socket.headers)
            await self._socket.send_denial_response(Response(b"".join(body.head), answer.status, answer.headers))
            return False
        await self._socket.accept()
        return True

    async def _converse(self, answer: Answer) -> None:
        if answer.raw is not None:
            await self._send(answer, [chunk.encode("utf-8", "surrogateescape") for chunk in answer.raw])
        elif not await self._send(answer, [event_of("session.created", session={"type": "realtime"})]):
            return
        while (event := await self._events.get()) is not None:
            if event["type"] == "session.update":
                done = await self._update(answer, event)
            else:
                done = await self._respond(event)
            if not done:
                return

    async def _update(self, answer: Answer, event: dict[str, Any]) -> bool:
        complaint = complaint_of(event, self._voice)
        if complaint or answer.error is not None or self._has_spoken:
            await self._write(error_of(answer.error or {"code": complaint or "cannot_update_voice"}))
            return True
        self._voice = event["session"]["audio"]["output"]["voice"]
        return await self._send(answer, [event_of("session.updated", session=event["session"])], before=1)

    async def _respond(self, event: dict[str, Any]) -> bool:
        if complaint := complaint_of(event, self._voice):
            await self._write(error_of({"code": complaint}, event.get("event_id")))
            return True
        asked = event["response"]
        call = call_of(
            "realtime", self._socket.headers, model=self._socket.query_params["model"], voice=self._voice,
            text=asked["input"][0]["content"][0]["text"],
            messages=[{"role": "system", "content": asked["instructions"]}], path=self._socket.url.path,
        )  # fmt: skip
        limit = asked.get("max_output_tokens")
        call.max_tokens = limit if isinstance(limit, int) else None
        answer = self._script.begin(call)
        try:
            await self._wait(call, answer)
            if answer.hang:
                await self._is_over.wait()
            if answer.hang or answer.drop:
                self._transport.abort()
                return False
            self._has_spoken = True
            call.finished = await self._send(answer, response_of(call, answer, event).chunks(drip=answer.drip))
        finally:
            self._script.end(call)
        if answer.hang_up:
            await asyncio.sleep(HANG_UP_S)
            await self._socket.close()
        return call.finished and not answer.hang_up

    async def _wait(self, call: Call, answer: Answer) -> None:
        while call.held and not self._is_over.is_set():  # noqa: ASYNC110 - another thread releases it
            await asyncio.sleep(HOLD_POLL_S)
        if answer.deaf:
            self._transport.pause_reading()
        await asyncio.sleep(answer.delay_s)
        if answer.deaf:
            self._transport.resume_reading()

    async def _send(self, answer: Answer, chunks: Iterable[bytes], *, before: int = 0) -> bool:
        """Send events, `before` of which were sent already; False: the connection is over."""
        pause = answer.chunk_delay_s or (DRIP_DELAY_S if answer.drip else 0)
        for number, chunk in enumerate(chunks, before):
            if number == answer.cut_after:
                await self._socket.close(reason=answer.text)
                return False
            if number == answer.stall_after:
                await self._is_over.wait()
                return False
            await asyncio.sleep(pause)
            await self._write(chunk)
        return True

    async def _write(self, chunk: bytes) -> None:
        """What is no UTF-8 is sent as a binary message."""
        try:
            await self._socket.send_text(chunk.decode())
        except UnicodeDecodeError:
            await self._socket.send_bytes(chunk)

    async def _listen(self) -> None:
        try:
            while True:
                self._events.put_nowait(await self._socket.receive_json())
        except WebSocketDisconnect:
            self._is_over.set()
            self._events.put_nowait(None)
