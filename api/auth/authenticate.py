"""Whose credential it is, whatever it came by."""

from api.auth import jwt
from api.usecases.resources import Resources
from shared.errors import Unauthorized
from shared.services import api_key as keys
from shared.services import login as logins
from shared.services.user import LOCAL, Account


async def authenticate(resources: Resources, credential: str) -> Account:
    """The account of an access token or an API key; raises Unauthorized, Unavailable.

    With `AUTH=off` no credential is the built-in local user, who may do everything.
    """
    if not credential and resources.settings.auth == "off":
        return LOCAL
    if not credential:
        detail = "Send an access token or an API key: Authorization: Bearer …"
        raise Unauthorized(detail)
    if credential.startswith(keys.PREFIX):
        async with resources.database.read() as db:
            account = await keys.account(db, key=credential, settings=resources.settings)
    else:
        claims = jwt.read(resources.settings, credential, jwt.ACCESS)
        owner_id, login_id = claims.user_id, claims.login_id
        async with resources.database.read() as db:
            account = await logins.account(db, owner_id=owner_id, login_id=login_id, settings=resources.settings)
    if account is None:
        raise jwt.bad_token()
    return account
