"""Serving a blob: whole or one range of it, with a strong ETag, and never guessed at by a browser."""

import re
from typing import Annotated

from fastapi import Depends, Header, Response
from fastapi.responses import StreamingResponse

from shared.errors import NotFound, RangeNotSatisfiable
from shared.models import Blob, BlobStatus
from shared.storage import Storage

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)  # Python refuses to read numbers of 5,000 digits


class Conditions:
    """The headers that decide which bytes are sent, if any."""

    def __init__(
        self,
        range_: Annotated[
            str | None, Header(alias="Range", description="One byte range.", examples=["bytes=0-1023"])
        ] = None,
        if_range: Annotated[str | None, Header(description="An ETag: the range only if it still matches.")] = None,
        if_none_match: Annotated[str | None, Header(description="ETags: 304 when one matches.")] = None,
    ) -> None:
        self.range = range_
        self.if_range = if_range
        self.if_none_match = if_none_match


Conditional = Annotated[Conditions, Depends()]


def matches(header: str | None, etag: str) -> bool:
    """Whether an If-None-Match names this ETag."""
    tags = [tag.strip().removeprefix("W/") for tag in (header or "").split(",")]
    return etag in tags or tags == ["*"]


async def serve(blobs: Storage, blob: Blob | None, conditions: Conditions) -> Response:
    """Answer 200, 206, 304 or 416; NotFound when there is no sound."""
    if blob is None or blob.status != BlobStatus.READY or not blob.size or not blob.mime:
        detail = "There is no sound to fetch."
        raise NotFound(detail, code="no_audio")
    etag = f'"{blob.sha256}"'
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if matches(conditions.if_none_match, etag):
        return Response(status_code=304, headers=headers)
    start, end = 0, blob.size
    status = 200
    if conditions.range and conditions.if_range in {None, etag}:
        found = _range(conditions.range, blob.size)
        if found:
            start, end = found
            status = 206
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
    headers["Content-Length"] = str(end - start)
    stream = await blobs.stream(blob.key, start=start, end=end)
    return StreamingResponse(stream, status, headers=headers, media_type=blob.mime)


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Start and end, without the end; None for what RFC 9110 lets us ignore: several ranges, other units."""
    found = RANGE.fullmatch(header.strip())
    if not found or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    if start >= end:
        detail = f"The file has {size} bytes."
        raise RangeNotSatisfiable(detail, size=size)
    return start, end
