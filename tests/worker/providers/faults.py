"""What model servers do wrong, and what that must be called: the same on every wire."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.provider_presets import Role
from tests.fakes.openai_script import Answer


@dataclass(frozen=True)
class Fault:
    """What a server does, where it can be scripted, and the `Upstream` that it is."""

    code: str
    transient: bool
    answer: Answer = field(default_factory=Answer)
    retry_after: float | None = None

    @property
    def told(self) -> tuple[str, bool, float | None]:
        return self.code, self.transient, self.retry_after


def _error(answer: Answer) -> Fault:
    return Fault("upstream_error", True, answer)


def _status(status: int, code: str, *, transient: bool) -> Fault:
    """A refusal that asks for patience, which counts only where another attempt may help."""
    answer = Answer(status=status, headers={"retry-after": "7"})
    return Fault(code, transient, answer, 7.0 if transient else None)


STATUSES: Mapping[str, Fault] = {
    "307": Fault("upstream_rejected", False, Answer(status=307, headers={"location": "/v1/elsewhere"})),
    "400": _status(400, "upstream_rejected", transient=False),
    "401": _status(401, "upstream_unauthorized", transient=False),
    "402": _status(402, "insufficient_quota", transient=False),
    "403": _status(403, "upstream_unauthorized", transient=False),
    "404": _status(404, "model_not_found", transient=False),
    "408": _status(408, "upstream_timeout", transient=True),
    "429": _status(429, "rate_limited", transient=True),
    "429 without Retry-After": Fault("rate_limited", True, Answer(status=429)),
    "500": _status(500, "upstream_error", transient=True),
    "503": _status(503, "upstream_error", transient=True),
    "503 without Retry-After": _error(Answer(status=503)),
    "503 with a page": _error(Answer(status=503, raw=["<html>verysecret</html>"], content_type="text/html")),
}
BODIES: Mapping[str, Fault] = {
    "nothing": _error(Answer(raw=[])),
    "a page": _error(Answer(raw=["<html>down for maintenance, verysecret</html>"], content_type="text/html")),
    "half an object": _error(Answer(raw=["{"])),
    "null": _error(Answer(raw=["null"])),
    "a list": _error(Answer(raw=["[]"])),
    "another object": _error(Answer(raw=['{"error": "verysecret"}'], content_type="application/json")),
    "no UTF-8": _error(Answer(raw=["\udcff\udcfe"])),
    "deep nesting": _error(Answer(raw=["[" * 100_000])),
}
_EMPTY = "empty_reply"
_NOISE = random.Random(7).randbytes(4_000).decode("utf-8", "surrogateescape")
OF_A_ROLE: Mapping[Role, Mapping[str, Fault]] = {
    "chat": {
        "a cut in the middle": _error(Answer(cut_after=3)),
        "neither a finish nor an end": _error(Answer(finish=None, done=False)),
        "a finish that is an error": _error(Answer(finish="error")),
        "half a chunk": _error(Answer(raw=['data: {"choices": [{"delta": {"conte\n\n'])),
        "a chunk that is no UTF-8": _error(Answer(raw=['data: {"choices": [{"delta": {"content": "\udcff"}}]}\n\n'])),
        "an empty reply": Fault(_EMPTY, True, Answer(text="")),
        "a blank reply": Fault(_EMPTY, True, Answer(pieces=[" ", "\n"])),
        "only a tool call": Fault(_EMPTY, True, Answer(tool_call=True)),
        "an invisible reply": Fault(_EMPTY, True, Answer(text="\u200b")),
        "a thought without an answer": Fault("no_answer", True, Answer(text="<think>Hm.</think>")),
        "a reply that was filtered out": Fault("content_filter", False, Answer(text="", finish="content_filter")),
        "a limit before the answer": Fault("output_limit_reached", False, Answer(text="", finish="length")),
    },
    "stt": {
        "a cut in the middle": _error(Answer(raw=['{"te', 'xt": "Hello"}'], cut_after=1)),
        "a number for a text": _error(Answer(raw=['{"text": 5, "id": 5, "upload_url": 5}'])),
    },
    "tts": {
        "a cut in the middle": _error(Answer(cut_after=2)),
        "an object called sound": _error(Answer(raw=['{"audio": ""}'])),
        "a header without sound": _error(Answer(raw=["RIFF\udcff\udcff\udcff\udcffWAVEfmt "])),
        "a picture": _error(Answer(raw=["\udc89PNG\r\n\x1a\n\0\0\0\rIHDR" + "\0\udcff\1\2" * 100])),
        "an archive": _error(Answer(raw=["PK\3\4" + "\0\udcff\1\2" * 100])),
        "a page called sound": _error(
            Answer(raw=["<!doctype html><html>" + "verysecret " * 100], content_type="audio/mpeg")
        ),
        "an object of an error": _error(Answer(raw=['{"error": {"message": "' + "verysecret " * 100 + '"}}'])),
        "noise": _error(Answer(raw=[_NOISE])),
    },
}
CUTS: Mapping[str, Fault] = {
    "a reset": _error(Answer(drop=True)),
    "a cut before its first byte": _error(Answer(cut_after=0)),
    "a cut in the middle": _error(Answer()),
}
_COMMON = {name: fault for name, fault in CUTS.items() if name != "a cut in the middle"}


def faults_of(role: Role) -> dict[str, Fault]:
    """By name."""
    return {**STATUSES, **BODIES, **_COMMON, **OF_A_ROLE[role]}


SILENCES = {
    "no answer": Answer(hang=True),
    "nothing after the headers": Answer(stall_after=0),
    "nothing after the beginning": Answer(stall_after=1),
    "an endless drip": Answer(drip=True),
}
ENDED_BY = {
    "no answer": "FIRST_BYTE_TIMEOUT_S",
    "nothing after the headers": "FIRST_BYTE_TIMEOUT_S",
    "nothing after the beginning": "IDLE_TIMEOUT_S",
    "an endless drip": "TOTAL_TIMEOUT_S",
}
TIMED_OUT = Fault("upstream_timeout", True)
UNREACHABLE = Fault("upstream_unreachable", True)
