"""`Idempotency-Key` on every POST that creates: sent again, the same request finds what the first one made."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Response
from pydantic import StringConstraints

from shared.models.idempotency import KEY_LENGTH
from shared.services.idempotency import ReplayError

KeyText = Annotated[str, StringConstraints(min_length=1, max_length=KEY_LENGTH, pattern=r"^[\x21-\x7e]+$")]


async def get_key(
    idempotency_key: Annotated[
        KeyText | None,
        Header(
            description="A word of your own for this request, kept 24 hours: sent again with the same body, it creates "
            "nothing and answers with what there is.",
            examples=["7e1c0a52-order-17"],
        ),
    ] = None,
) -> str | None:
    """The request's key, if it has one."""
    return idempotency_key


IdempotencyKey = Annotated[str | None, Depends(get_key)]


class Created:
    """What the request is about: made by it, or by an earlier one under its key."""

    id: UUID


@contextmanager
def replayed(response: Response) -> Iterator[Created]:
    """Run a block that sets and creates `id`; when its key has done so before, that is `id`, and a header says so."""
    created = Created()
    try:
        yield created
    except ReplayError as replay:
        created.id = replay.resource_id
        response.headers["Idempotent-Replayed"] = "true"
