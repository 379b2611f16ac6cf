"""Whether somebody knows a password. Guessing is slow, and no word or delay tells which names there are."""

from typing import NamedTuple
from uuid import UUID

from pydantic import SecretStr

from api.usecases.resources import Resources
from shared.errors import TooMany
from shared.redis.rate_limits import per_minute
from shared.services import user as users

FAILURES_OF_A_NAME = per_minute("password/name", 5)
FAILURES_FROM_AN_ADDRESS = per_minute("password/address", 30)
SIGN_INS_FROM_AN_ADDRESS = per_minute("sign-ins/address", 60)
REGISTRATIONS_FROM_AN_ADDRESS = per_minute("registrations/address", 60)


class VerifiedUser(NamedTuple):
    """Who showed their password, and the hash that was kept of it then: only while it is kept they may act on it."""

    user_id: UUID
    password_hash: str


async def check_registration(resources: Resources, *, address: str) -> None:
    """Raise TooMany for an address that makes accounts by the dozen: each costs a hash, which sign-ins wait for."""
    if wait := await resources.limits.hit(REGISTRATIONS_FROM_AN_ADDRESS, address):
        detail = "Too many accounts are made from this address. Try again later."
        raise TooMany(detail, retry_after=wait)


async def hashed(resources: Resources, password: SecretStr) -> str:
    """The hash that is kept of a new password, once there is a turn to make it."""
    async with resources.passwords.turn:
        return await resources.passwords.hash(password)


async def verify(resources: Resources, *, username: str, password: SecretStr, address: str) -> VerifiedUser:
    """Compare; raises Unauthorized, or TooMany after too many failures, then even for the right password.

    Failures are counted, and read, while one holds a turn: those who guess in parallel are no better off. Whatever is
    shown counts before that: who knows a password can't keep the turns from others.
    """
    if wait := await resources.limits.hit(SIGN_INS_FROM_AN_ADDRESS, address):
        detail = "Too many sign-ins from this address. Try again later."
        raise TooMany(detail, retry_after=wait)
    counted = ((FAILURES_OF_A_NAME, username), (FAILURES_FROM_AN_ADDRESS, address))
    async with resources.passwords.turn:
        waits = [await resources.limits.test(rule, name) for rule, name in counted]
        if wait := max(filter(None, waits), default=None):
            detail = "Too many wrong passwords. Try again later."
            raise TooMany(detail, retry_after=wait)
        async with resources.database.read() as db:
            user = await users.find(db, username=username)
        kept = user.password_hash if user and not user.disabled else None
        verdict = await resources.passwords.verify(password, kept)
        if not (user and kept and verdict.matches):
            for rule, name in counted:
                await resources.limits.hit(rule, name)
            raise users.bad_credentials()
    if verdict.rehashed:
        async with resources.database.write() as db:
            await users.set_password(db, user_id=user.id, password_hash=verdict.rehashed, instead_of=kept)
    return VerifiedUser(user.id, verdict.rehashed or kept)
