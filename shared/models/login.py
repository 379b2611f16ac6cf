"""A login: what a user's tokens hang on."""

from datetime import datetime
from uuid import UUID

from sqlmodel import Field

from shared.models.row import Row
from shared.sql.functions import UtcDateTime


class Login(Row, table=True):
    """One sign-in, from the password to the logout; its tokens are good while it is there.

    `refresh_id` is the `jti` of the one refresh token that is good just now.
    """

    owner_id: UUID = Field(foreign_key="user.id", ondelete="CASCADE", index=True)
    refresh_id: UUID
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)
