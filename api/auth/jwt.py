"""Tokens: JWTs of a login, short-lived ones for every request and one at a time to get the next."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

import jwt

from shared.config import Settings
from shared.errors import Unauthorized
from shared.models import Login

ALGORITHM = "HS256"
ISSUER = "parley"
ACCESS = "parley-api"
REFRESH = "parley-refresh"
CLAIMS = ("exp", "iat", "iss", "aud", "sub", "jti", "sid")


class TokenClaims(NamedTuple):
    """What a token of ours says."""

    user_id: UUID
    login_id: UUID
    token_id: UUID


def access_token(settings: Settings, login: Login, *, seconds: float | None = None) -> str:
    """Sign a token for requests; good for `ACCESS_TOKEN_S` unless told otherwise, if its login lasts as long."""
    return _sign(settings, login, ACCESS, uuid4(), settings.access_token_s if seconds is None else seconds)


def refresh_token(settings: Settings, login: Login) -> str:
    """Sign the token that gets a login its next ones."""
    return _sign(settings, login, REFRESH, login.refresh_id, settings.refresh_token_s)


def read(settings: Settings, token: str, audience: str) -> TokenClaims:
    """What a token of ours for this audience says; raises Unauthorized for any other, and for one that is over."""
    try:
        claims = jwt.decode(
            token,
            settings.signing_key,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=audience,
            options={"require": list(CLAIMS), "verify_iat": False},  # clocks of two machines need not agree
        )
        return TokenClaims(*(UUID(str(claims[name])) for name in ("sub", "sid", "jti")))
    except (jwt.InvalidTokenError, ValueError):
        raise bad_token() from None


def bad_token() -> Unauthorized:
    """What whoever sends one is told, whatever is wrong with it."""
    return Unauthorized("The token or key is not valid, or no longer.")


def _sign(settings: Settings, login: Login, audience: str, token_id: UUID, seconds: float) -> str:
    now = datetime.now(UTC)
    claims = {
        "sub": str(login.owner_id),
        "sid": str(login.id),
        "jti": str(token_id),
        "iss": ISSUER,
        "aud": audience,
        "iat": now,
        "exp": now + timedelta(seconds=seconds),
    }
    return jwt.encode(claims, settings.signing_key, algorithm=ALGORITHM)
