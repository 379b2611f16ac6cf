"""Passwords: what may be one, and their Argon2 hashes, which are made and compared off the event loop."""

import asyncio
from functools import cache
from typing import Annotated, NamedTuple

from pwdlib import PasswordHash
from pydantic import AfterValidator, Field, SecretStr, WithJsonSchema

SHORTEST, LONGEST = 8, 200
AT_ONCE = 2  # each takes 64 MB and as many cores as there are, for some 50 ms


def _encodable(password: SecretStr) -> SecretStr:
    try:
        password.get_secret_value().encode()
    except UnicodeEncodeError:
        msg = "must not hold half of a surrogate pair"
        raise ValueError(msg) from None
    return password


def _long_enough(password: SecretStr) -> SecretStr:
    if not SHORTEST <= len(password.get_secret_value()) <= LONGEST:
        msg = f"must have {SHORTEST} to {LONGEST} characters"
        raise ValueError(msg)
    return password


Password = Annotated[
    SecretStr,
    AfterValidator(_long_enough),
    AfterValidator(_encodable),
    WithJsonSchema(
        {"type": "string", "format": "password", "writeOnly": True, "minLength": SHORTEST, "maxLength": LONGEST}
    ),
]
"""A new password: any Unicode, exactly as it was typed."""

GivenPassword = Annotated[SecretStr, Field(min_length=1, max_length=200), AfterValidator(_encodable)]
"""What somebody says is theirs."""

_argon2 = PasswordHash.recommended()


class Verdict(NamedTuple):
    """Whether it is the password; `rehashed` when it should be kept with newer parameters from now on."""

    matches: bool
    rehashed: str | None


class Passwords:
    """Hashes and compares. Whoever does either holds a `turn` meanwhile: there are `AT_ONCE` of them."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(AT_ONCE)

    async def hash(self, password: SecretStr) -> str:
        """The hash that is kept of a password."""
        return await asyncio.to_thread(_argon2.hash, password.get_secret_value())

    async def verify(self, password: SecretStr, kept: str | None) -> Verdict:
        """Compare with what is kept; when that is nothing it takes as long, and is no match."""
        return await asyncio.to_thread(_verify, password.get_secret_value(), kept)


def _verify(password: str, kept: str | None) -> Verdict:
    nobodys = _nobodys_hash()  # made by the first comparison, whosoever's that is
    matches, rehashed = _argon2.verify_and_update(password, kept or nobodys)
    return Verdict(matches and kept is not None, rehashed)


@cache
def _nobodys_hash() -> str:
    return _argon2.hash("")
