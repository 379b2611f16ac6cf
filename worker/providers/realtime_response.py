"""One response of the Realtime API, gathered from its events without trusting their shape."""

import base64
from typing import NoReturn

from worker.providers.failures import BROKEN_OFF, FAILED, FILTERED, GARBLED, Kind, Told, kind_told

MAX_TRANSCRIPT_CHARS = 50_000
SAMPLE_BYTES = 2
_INCOMPLETE = {"content_filter": FILTERED, "max_output_tokens": BROKEN_OFF}
_ENDINGS: dict[str, Kind] = {"failed": FAILED, "incomplete": BROKEN_OFF, "cancelled": BROKEN_OFF}


class Dropped(Told):
    """The connection was over before the server had begun to answer: another one may be asked the same."""

    def __init__(self) -> None:
        super().__init__(BROKEN_OFF)


class Response:
    """What has come of the response to the request `name`, which reaches the server as an event's id and metadata.

    It is no longer than `most` bytes of sound.
    """

    def __init__(self, name: str, most: int) -> None:
        self.is_done = False
        self.sound = bytearray()
        self.name = name
        self._most = most
        self._id: object = None
        self._said: dict[object, str] = {}  # by item: one response may hold several

    @property
    def has_begun(self) -> bool:
        """Whether the server has taken up the request."""
        return self._id is not None

    @property
    def pcm(self) -> bytes:
        """The sound in whole samples."""
        return bytes(self.sound[: len(self.sound) // SAMPLE_BYTES * SAMPLE_BYTES])

    @property
    def transcript(self) -> str | None:
        """What the model says that it said; None if it doesn't."""
        return " ".join(self._said.values()).strip() or None

    def take(self, event: object) -> None:
        """Take in one event; raises `Told` for a failure and ValueError for what can't be an event."""
        match event:
            case {"type": "error", "error": dict(error)}:
                self._fail(error)
            case {"type": "response.created", "response": dict(response)}:
                if self._is_ours(response) and isinstance(response.get("id"), str):
                    self._id = response["id"]
            case {"type": "response.done", "response": dict(response)}:
                if self._is_ours(response):
                    self._finish(response)
            case {"type": "error" | "response.created" | "response.done"}:
                _refuse("an event without its contents")
            case {"type": str(type_), "response_id": str(id_), **rest} if id_ == self._id:
                self._gather(type_, rest)
            case {"type": str()}:
                pass  # of the session, of the limits, or newer than this
            case _:
                _refuse("not an event")

    def _is_ours(self, response: dict[object, object]) -> bool:
        """A server that does not repeat the metadata has one response at a time, too."""
        match response:
            case {"metadata": {"sentence": name}}:
                return bool(name == self.name)
            case _:
                return True

    def _gather(self, type_: str, event: dict[object, object]) -> None:
        match type_, event:
            case "response.output_audio.delta", {"delta": str(delta)}:
                self.sound += base64.b64decode(delta, validate=True)
            case "response.output_audio_transcript.delta", {"delta": str(delta)}:
                item = _item(event)
                self._said[item] = self._said.get(item, "") + delta
            case "response.output_audio_transcript.done", {"transcript": str(transcript)}:
                self._said[_item(event)] = transcript
            case (("response.output_audio.delta" | "response.output_audio_transcript.delta"), _):
                _refuse("a delta that is none")
        if len(self.sound) > self._most or sum(map(len, self._said.values())) > MAX_TRANSCRIPT_CHARS:
            _refuse("the response has no end")

    def _fail(self, error: dict[object, object]) -> None:
        """Of several requests on one connection only the last is still waited for."""
        if error.get("event_id") not in (None, self.name):
            return
        if error.get("code") == "session_expired":
            raise Told(BROKEN_OFF) if self.has_begun else Dropped
        raise Told(kind_told(error))

    def _finish(self, response: dict[object, object]) -> None:
        self.is_done = True
        details = response.get("status_details")
        match response.get("status"), details if isinstance(details, dict) else {}:
            case "completed", _:
                if len(self.sound) < SAMPLE_BYTES:
                    _refuse("no sound")
            case "failed", {"error": dict(error)}:
                raise Told(kind_told(error))
            case "incomplete", {"reason": str(reason)}:
                raise Told(_INCOMPLETE.get(reason, BROKEN_OFF))
            case status, _:
                raise Told(_ENDINGS.get(status, GARBLED) if isinstance(status, str) else GARBLED)


def _item(event: dict[object, object]) -> object:
    return str(event.get("item_id"))


def _refuse(why: str) -> NoReturn:
    raise ValueError(why)
