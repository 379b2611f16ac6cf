"""multipart/form-data as it arrives: part by part and chunk by chunk, so that nothing is read before it is wanted."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from fastapi import Request
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from shared.errors import Malformed, TooLarge, Unsupported

MAX_PARTS = 20


class PartStart(NamedTuple):
    """A part begins; its data follows, then PartEnd."""

    name: str
    filename: str | None


class PartEnd(NamedTuple):
    """A part is whole."""


Event = PartStart | bytes | PartEnd


class _Collector:
    """Turns the parser's callbacks into a list of events."""

    def __init__(self, boundary: bytes) -> None:
        self.events: list[Event] = []
        self.whole = False
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._parts = 0
        self.parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._on_field,
                "on_header_value": self._on_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers,
                "on_part_data": lambda data, start, end: self.events.append(data[start:end]),
                "on_part_end": lambda: self.events.append(PartEnd()),
                "on_end": self._on_end,
            },
        )

    def _on_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _on_headers(self) -> None:
        self._parts += 1
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._headers = {}
        if b"name" not in options or self._parts > MAX_PARTS:
            detail = "A part has no name, or there are too many parts."
            raise Malformed(detail)
        filename = options.get(b"filename")
        self.events.append(
            PartStart(options[b"name"].decode("utf-8", "replace"), filename and filename.decode("utf-8", "replace"))  # type: ignore[arg-type]  # None stays None
        )

    def _on_end(self) -> None:
        self.whole = True


async def read_events(request: Request, *, limit: int) -> AsyncIterator[Event]:
    """Yield the parts of a request as they come in, up to `limit` bytes; raises Unsupported, Malformed, TooLarge."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        detail = "Send multipart/form-data with the fields session_id and file."
        raise Unsupported(detail)
    if not options.get(b"boundary"):
        detail = "The Content-Type names no boundary: let your HTTP client write it, which puts one between the parts."
        raise Malformed(detail)
    try:
        collector = _Collector(options[b"boundary"])
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"The body is over {limit:,} bytes.")
            collector.parser.write(chunk)
            while collector.events:
                yield collector.events.pop(0)
        collector.parser.finalize()
    except FormParserError:
        detail = "The multipart body is broken."
        raise Malformed(detail) from None
    if not collector.whole:
        detail = "The multipart body ends before its last boundary."
        raise Malformed(detail)
