"""`Prefer: wait=N` (RFC 7240), and the headers of every answer with a job."""

import re
from typing import Annotated

from fastapi import Depends, Header

from api.usecases.wait import POLL_S
from shared.services.job.view import JobState

MAX_WAIT_S = 60


async def get_wait(
    prefer: Annotated[
        str | None, Header(description="`wait=N`: hold the answer up to N ≤ 60 seconds.", examples=["wait=30"])
    ] = None,
) -> int:
    """Seconds to wait, from `Prefer`; 0 when it asks for none."""
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*(\"?)(\d{1,9})\1\s*(?:$|[,;])", prefer or "", re.IGNORECASE | re.ASCII)
    return min(int(found[2]), MAX_WAIT_S) if found else 0


Wait = Annotated[int, Depends(get_wait)]


def headers_of(state: JobState, wait: int = 0) -> dict[str, str]:
    """The headers that every answer with a job carries, or that says that it has not changed."""
    headers = {"ETag": state.etag, "Cache-Control": "private, no-cache"}
    if not state.ended:
        headers["Retry-After"] = str(POLL_S)
    if wait:
        headers["Preference-Applied"] = f"wait={wait}"
    return headers
