"""The rules of users."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from shared.models import LOCAL_USER_ID, Scope, UserRole
from shared.money import ZERO


@dataclass(frozen=True)
class Account:
    """Who asks, as far as what they may do depends on it; read once for each request.

    A limit that is None is none. `login_id` is None for whoever came with an API key.
    """

    id: UUID
    role: UserRole = UserRole.USER
    scopes: frozenset[Scope] = frozenset(Scope)
    login_id: UUID | None = None
    balance: Decimal | None = None
    reserved: Decimal = ZERO
    allowed_models: frozenset[str] | None = None
    requests_per_minute: int | None = None
    jobs_at_a_time: int | None = None
    audio_minutes_per_day: int | None = None
    tokens_per_day: int | None = None

    @property
    def is_metered(self) -> bool:
        """Whether a job of theirs must be known before it is taken: what it may cost, and by which models."""
        return self.balance is not None or self.allowed_models is not None


LOCAL = Account(LOCAL_USER_ID, UserRole.ADMIN)
"""Everybody, while `AUTH=off`."""
