"""The bodies that a healthy OpenAI server would send, as chunks."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.mp3 import mp3_of
from tests.fakes.openai_script import SECRET_HEADERS, Answer, Call
from tests.fakes.tone import wav_of

HEARD = "Hello, can you hear me clearly?"
SECONDS_PER_CHARACTER = 0.06
MIN_SPEECH_S = 0.3
SPEECH_CHUNK_BYTES = 4_096
_ARABIC = re.compile(r"[\u0600-\u06ff]")
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
TOOL_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
_ERROR_TYPES = {401: "invalid_request_error", 429: "requests", 500: "server_error", 503: "service_unavailable"}


@dataclass
class Body:
    """Chunks up to the point where a drip would repeat the last of them, and those after it."""

    content_type: str
    head: list[bytes]
    tail: list[bytes]

    def chunks(self, *, drip: bool) -> Iterator[bytes]:
        """The body in order; a drip never reaches the tail."""
        yield from self.head
        while drip:
            yield self.head[-1]
        yield from self.tail


def body_of(call: Call, answer: Answer, *, wants_usage: bool) -> Body:
    """What to send for this call."""
    if call.endpoint == "chat":
        body = _chat_stream(call, answer, wants_usage=wants_usage) if call.stream else _chat_whole(call, answer)
    elif call.endpoint == "transcriptions":
        body = Body("application/json", [b" "], [json_of(_transcription(call, answer))])
    elif call.endpoint == "speech":
        body = _speech(call)
    else:
        models = [{"id": name, "object": "model"} for name in ("gpt-6-luna", "gpt-transcribe", "gpt-4o-mini-tts")]
        body = Body("application/json", [b" "], [json_of({"object": "list", "data": models})])
    return as_scripted(body, answer)


def error_of(answer: Answer, headers: Mapping[str, str]) -> Body:
    """An OpenAI-style error; the usual 401 repeats the ends of the key, as OpenAI's does, and others all of it."""
    error: Any = answer.error
    if error is None:
        key = next((headers[name] for name in SECRET_HEADERS if name in headers), "").removeprefix("Bearer ")
        message = (
            f"Incorrect API key provided: {key[:8]}***{key[-4:]}." if answer.status == 401 else f"It failed: {key}"
        )
        error = {"message": message, "type": _ERROR_TYPES.get(answer.status, "invalid_request_error"), "code": None}
    return as_scripted(Body("application/json", [json_of({"error": error})], []), answer)


def as_scripted(body: Body, answer: Answer) -> Body:
    body.content_type = answer.content_type or body.content_type
    if answer.raw is not None:
        body.head, body.tail = [chunk.encode("utf-8", "surrogateescape") for chunk in answer.raw], []
    return body


def echo(call: Call) -> str:
    """The default reply, in the language of the last user message."""
    seen = sum(message.get("role") in {"user", "assistant"} for message in call.messages)
    if _ARABIC.search(call.text):
        return f"قلت: {call.text}. رأيت {seen} رسائل."
    return f"You said: {call.text}. I have seen {seen} messages."


def pieces_of(call: Call, answer: Answer) -> list[str]:
    if answer.tool_call:
        return []
    if answer.pieces is not None:
        return answer.pieces
    return re.findall(r"\s*\S+\s*", echo(call) if answer.text is None else answer.text)


def _chat_stream(call: Call, answer: Answer, *, wants_usage: bool) -> Body:
    def event(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": call.model}
        return b"data: " + json_of({**chunk, "choices": choices, **more}) + b"\n\n"

    head = [event({"role": "assistant", "content": ""})]
    head += [event({"content": piece}) for piece in pieces_of(call, answer)]
    tail = [event({"tool_calls": [TOOL_CALL]})] if answer.tool_call else []
    if answer.finish is not None:
        tail.append(event({}, "tool_calls" if answer.tool_call else answer.finish))
    if wants_usage and answer.usage:
        tail.append(event(None, usage=USAGE))
    if answer.done:
        tail.append(b"data: [DONE]\n\n")
    return Body("text/event-stream", head, tail)


def _chat_whole(call: Call, answer: Answer) -> Body:
    message = {"role": "assistant", "content": "".join(pieces_of(call, answer))}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish}
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": call.model, "choices": [choice]}
    return Body("application/json", [b" "], [json_of({**whole, "usage": USAGE})])


def _transcription(call: Call, answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"text": HEARD if answer.text is None else answer.text}
    languages = answer.languages
    if languages is None and answer.text is None and call.model.startswith("gpt-transcribe"):
        languages = ["en"]
    if languages is not None:
        told["languages"] = [{"code": code} for code in languages]
    if answer.language is not None:
        told["language"] = answer.language
    return told


def _speech(call: Call) -> Body:
    is_wav = call.response_format == "wav"
    sound = (wav_of if is_wav else mp3_of)(seconds_of(call.text))
    starts = range(0, len(sound), SPEECH_CHUNK_BYTES)
    chunks = [sound[start : start + SPEECH_CHUNK_BYTES] for start in starts]
    return Body("audio/wav" if is_wav else "audio/mpeg", chunks, [])


def seconds_of(text: str) -> float:
    """How long it takes to speak a text."""
    return max(MIN_SPEECH_S, SECONDS_PER_CHARACTER * len(text))


def json_of(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
