"""What a fake model server is told to answer, and what it was asked."""

import hashlib
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

# Those of OpenAI's API; watsonx.ai's tokens, and calls with one that is not good; AssemblyAI's uploads, orders and polls.
# A connection of the Realtime API is a call of its own, active while it is open; each sentence is a "realtime".
RESET_S = 0.5
Endpoint = Literal[
    "chat", "transcriptions", "speech", "models", "realtime_connect", "realtime",
    "iam", "refused", "upload", "transcripts", "transcript",
]  # fmt: skip
SECRET_HEADERS = ("authorization", "api-key", "cookie")


@dataclass(frozen=True)
class Answer:
    """One scripted answer; the defaults are a healthy server. A "chunk" is one write of the body.

    The first chunk of a streamed chat holds only the role, then comes one chunk per piece. To the Realtime API a chunk is
    an event: `session.created` and `session.updated` of a connection, and all those of a response.
    """

    # What is said.
    text: str | None = None  # the reply, or the transcript
    pieces: list[str] | None = None  # the reply's deltas, instead of its words
    language: str | None = None  # a transcription's `language`, sent as it is
    languages: list[str] | None = None  # a transcription's `languages[].code`
    raw: list[str] | None = None  # the whole body, one chunk each (surrogates "\udcXX" are the byte XX); [] is empty
    content_type: str | None = None
    expires_in: float = 3_600.0  # a token's life
    state: str = "completed"  # a polled transcript's status; of one that is "error", `error` is the reason
    reading: str | None = None  # realtime: what the model says that it read, instead of the text; "" says nothing
    # How it fails.
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: Any = None  # the `error` object of a failing status, instead of the server's usual one
    finish: str | None = "stop"  # chat's finish_reason; None: never sent. Realtime also knows "failed", "cancelled"
    tool_call: bool = False  # chat: a tool call and no text
    usage: bool = True  # False: ignores stream_options
    done: bool = True  # False: no [DONE] after the stream
    drop: bool = False  # the connection is reset before a byte is sent
    hang: bool = False  # no byte is ever sent
    hold: bool = False  # no byte is sent before `Script.release()`
    cut_after: int | None = None  # the connection is closed after n chunks
    stall_after: int | None = None  # nothing comes after n chunks, the connection stays open
    drip: bool = False  # a chunk is repeated for ever
    deaf: bool = False  # realtime: nothing is read, pings neither, while the answer is delayed
    hang_up: bool = False  # realtime: the connection is closed when the answer is complete
    # How fast.
    delay_s: float = 0.0  # before the headers
    chunk_delay_s: float = 0.0  # before each chunk
    split_bytes: int | None = None  # the body is written in pieces of n bytes, whatever they hold
    # For which call: the last user message, text to speak or file name holds this.
    when: str | None = None


@dataclass
class Call:
    """One request that came in. `text` is the last user message, or the text to speak."""

    number: int
    endpoint: Endpoint
    model: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)  # the SHA-256 of each header that holds one
    messages: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""
    stream: bool = False
    max_tokens: int | None = None
    filename: str = ""
    size: int = 0
    sha256: str = ""  # of the sound, or of the key that a token is asked for with
    wishes: dict[str, Any] = field(default_factory=dict)  # what else a chat or a transcript was ordered with
    language: str | None = None
    languages: list[str] = field(default_factory=list)
    response_format: str | None = None
    voice: str | None = None
    held: bool = False  # waits for `Script.release()`
    finished: bool = False  # the answer was sent to its end
    at: float = field(default_factory=time.monotonic)  # when it came in, in seconds of that clock


def call_of(endpoint: Endpoint, headers: Mapping[str, str], **more: Any) -> Call:
    """A call as it is kept: of the headers that hold secrets only what they can be compared by."""
    kept = {name: value for name, value in headers.items() if name not in SECRET_HEADERS}
    secrets = {name: digest_of(value) for name, value in headers.items() if name in SECRET_HEADERS}
    return Call(number=0, endpoint=endpoint, headers=kept, secrets=secrets, **more)


def digest_of(text: str) -> str:
    """The SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


class Script:
    """Queued answers first, in order, then the standing one, then a healthy default. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget all answers and all calls; a poll that is under way would take what is added next, and is waited for."""
        until = time.monotonic() + RESET_S
        while getattr(self, "active", {}).get("transcript") and time.monotonic() < until:
            time.sleep(0.002)
        with self._lock:
            self._queued: dict[str, deque[Answer]] = defaultdict(deque)
            self._standing: dict[str, Answer] = {}
            self._heard: dict[str, Answer] = {}
            self.calls: list[Call] = []
            self.active: Counter[str] = Counter()
            self.peak: Counter[str] = Counter()

    def add(self, endpoint: Endpoint, *answers: Answer) -> None:
        """Queue answers, one per call."""
        with self._lock:
            self._queued[endpoint].extend(answers)

    def always(self, endpoint: Endpoint, answer: Answer | None) -> None:
        """Answer every call so once the queue is empty; None: as a healthy server again."""
        with self._lock:
            self._standing.pop(endpoint, None)
            if answer is not None:
                self._standing[endpoint] = answer

    def hear(self, audio: bytes | str, text: str, language: str | None = None) -> None:
        """Transcribe exactly these bytes (or their sha256) as `text`."""
        digest = audio if isinstance(audio, str) else hashlib.sha256(audio).hexdigest()
        with self._lock:
            self._heard[digest] = Answer(text=text, languages=[language] if language else None)

    def count(self, endpoint: Endpoint) -> int:
        """How many calls came in for this endpoint."""
        return len(self.of(endpoint))

    def of(self, endpoint: Endpoint) -> list[Call]:
        """The calls of this endpoint, in the order they came."""
        return [call for call in self.calls if call.endpoint == endpoint]

    def release(self, *calls: Call) -> None:
        """Let held calls be answered; without any named, all of them."""
        for call in calls or self.calls:
            call.held = False

    def begin(self, call: Call) -> Answer:
        """Record a call and choose its answer."""
        with self._lock:
            answer = self._choose(call)
            call.number, call.held = len(self.calls), answer.hold
            self.calls.append(call)
            self.active[call.endpoint] += 1
            self.peak[call.endpoint] = max(self.peak[call.endpoint], self.active[call.endpoint])
        return answer

    def _choose(self, call: Call) -> Answer:
        queued = self._queued[call.endpoint]
        answer = next((answer for answer in queued if _fits(answer, call)), None)
        if answer is not None:
            queued.remove(answer)
            return answer
        standing = self._standing.get(call.endpoint)
        if standing is not None and _fits(standing, call):
            return standing
        return self._heard.get(call.sha256, Answer())

    def end(self, call: Call) -> None:
        """Count the call as no longer being served."""
        with self._lock:
            self.active[call.endpoint] = max(0, self.active[call.endpoint] - 1)

    def load(self, told: Mapping[str, Any]) -> None:
        """Do what a `POST /script` body says: `add`, `always` and `heard`."""
        for endpoint, answers in told.get("add", {}).items():
            self.add(endpoint, *_answers(answers))
        for endpoint, answer in told.get("always", {}).items():
            self.always(endpoint, None if answer is None else Answer(**answer))
        for digest, heard in told.get("heard", {}).items():
            self.hear(digest, heard["text"], heard.get("language"))

    def dump(self) -> dict[str, Any]:
        """The body of `GET /calls`."""
        with self._lock:
            calls = [asdict(call) for call in self.calls]
            counts = Counter(call.endpoint for call in self.calls)
            return {"calls": calls, "counts": dict(counts), "peak": dict(self.peak)}


def _answers(told: Iterable[Mapping[str, Any]]) -> list[Answer]:
    return [Answer(**answer) for answer in told]


def _fits(answer: Answer, call: Call) -> bool:
    return answer.when is None or answer.when in call.text or answer.when in call.filename
