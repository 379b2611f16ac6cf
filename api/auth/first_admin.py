"""The first administrator, made when the API starts."""

import asyncio

import structlog

from api.auth import password_check
from api.usecases.resources import Resources
from shared.errors import Conflict, Unavailable
from shared.models import UserRole
from shared.services import user as users

AGAIN_S = 1.0

log = structlog.get_logger(__name__)


async def make_first_admin(resources: Resources) -> None:
    """Make `ADMIN_USERNAME` unless there is such a user, who is left as they are; with SQL away, once it is back."""
    settings = resources.settings
    if not (settings.admin_username and settings.admin_password):
        return
    while True:
        try:
            async with resources.database.read() as db:
                if await users.find(db, username=settings.admin_username):
                    return
            password_hash = await password_check.hashed(resources, settings.admin_password)
            async with resources.database.write() as db:
                await users.create(
                    db, username=settings.admin_username, password_hash=password_hash, role=UserRole.ADMIN
                )
        except Conflict:
            return  # another process was first
        except Unavailable as error:
            log.debug("admin.store_away", code=error.code)
            await asyncio.sleep(AGAIN_S)
        else:
            log.info("admin.made")
            return
