"""The events that a healthy Realtime server would send."""

import base64
import json
from typing import Any

from tests.fakes import tone
from tests.fakes.openai_replies import Body, seconds_of
from tests.fakes.openai_script import Answer, Call
from tests.fakes.tone import RATE

DELTA_BYTES = 9_600
FORMAT = {"type": "audio/pcm", "rate": RATE}
MAX_TOKENS = 4_096
_USAGE = {"total_tokens": 110, "input_tokens": 60, "output_tokens": 50}


def event_of(type_: str, **more: Any) -> bytes:
    """One event as it is sent."""
    return json.dumps({"type": type_, "event_id": "event_1", **more}, ensure_ascii=False).encode()


def error_of(error: object, asked: object = None) -> bytes:
    """An `error` event about what was asked."""
    told = {"type": "invalid_request_error", "code": None, "message": "sk-proj-verysecret", "param": None}
    return event_of("error", error={**told, "event_id": asked, **error} if isinstance(error, dict) else error)


def pcm_of(text: str) -> bytes:
    """A tone that is as long as the text takes."""
    return tone.pcm_of(seconds_of(text))


def complaint_of(event: dict[str, Any], voice: str | None) -> str | None:
    """What OpenAI would find wrong with an event, when the session's voice is this."""
    match event:
        case {
            "type": "session.update",
            "session": {"type": "realtime", "output_modalities": ["audio"], "audio": audio},
        }:
            output = audio.get("output", {})
            return None if output.get("format") == FORMAT and isinstance(output.get("voice"), str) else "invalid_value"
        case {
            "type": "response.create",
            "response": {"conversation": "none", "instructions": str(), "input": [_], **rest},
        }:
            limit: Any = rest.get("max_output_tokens", "inf")
            return None if voice and (limit == "inf" or 1 <= limit <= MAX_TOKENS) else "invalid_value"
        case _:
            return "unknown_parameter"


def response_of(call: Call, answer: Answer, asked: dict[str, Any]) -> Body:
    """All events of one response, up to the last delta and behind it; "RESPONSE" in raw ones is replaced by its id."""
    common = {"response_id": f"resp_{call.number}", "item_id": f"item_{call.number}", "content_index": 0}
    made = {"id": f"resp_{call.number}", "object": "realtime.response", "metadata": asked["response"].get("metadata")}
    if answer.raw is not None:
        return Body(
            "", [chunk.replace("RESPONSE", made["id"]).encode("utf-8", "surrogateescape") for chunk in answer.raw], []
        )
    if answer.error is not None and answer.finish == "stop":
        return Body("", [error_of(answer.error, asked.get("event_id"))], [])
    head = [event_of("response.created", response={**made, "status": "in_progress"})]
    sound, size = pcm_of(call.text), answer.split_bytes or DELTA_BYTES
    for start in range(0, len(sound), size):
        delta = base64.b64encode(sound[start : start + size]).decode()
        head.append(event_of("response.output_audio.delta", delta=delta, **common))
    reading = call.text if answer.reading is None else answer.reading
    tail = [
        event_of("response.output_audio_transcript.delta", delta=word, **common) for word in reading.split(" ") if word
    ]
    if reading:
        tail.append(event_of("response.output_audio_transcript.done", transcript=reading, **common))
    if answer.finish is not None:
        tail.append(event_of("response.done", response={**made, **_ending(answer), "usage": _USAGE}))
    tail.append(event_of("rate_limits.updated", rate_limits=[]))
    return Body("", head, tail)


def _ending(answer: Answer) -> dict[str, Any]:
    status = {"stop": "completed", "length": "incomplete", "content_filter": "incomplete"}
    reason = {"length": "max_output_tokens", "cancelled": "client_cancelled"}
    finish = str(answer.finish)
    details = {"reason": reason.get(finish, finish), "error": answer.error}
    return {"status": status.get(finish, finish), "status_details": None if finish == "stop" else details}
