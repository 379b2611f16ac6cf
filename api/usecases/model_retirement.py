"""Warnings of models in use that their provider is about to end."""

import time
from datetime import UTC, datetime

import structlog

from shared.catalogue import retiring
from shared.provider_presets import ModelRef
from shared.services import agent as agents
from shared.services.cost_estimate import PriceBook
from shared.sql.database import Database

OLD_S = 600.0  # agents are looked through no more often than this

log = structlog.get_logger(__name__)


class Retirements:
    """Knows which models are in use: the settings' and those that agents name."""

    def __init__(self, tariff: PriceBook, database: Database) -> None:
        self._tariff = tariff
        self._database = database
        self._looked_at = float("-inf")
        self._told: list[str] = []

    async def warnings(self) -> list[str]:
        """A sentence for each such model; what is new among them is logged. Raises Unavailable."""
        now = time.monotonic()
        if now - self._looked_at > OLD_S:
            async with self._database.read() as db:
                named = await agents.models(db)
            used = [*self._tariff.defaults.items(), *((role, ModelRef.parse_list(refs)) for role, refs in named)]
            lists = [[one for ref in refs for one in self._tariff.catalogue.line(role, ref)] for role, refs in used]
            told = retiring(lists, datetime.now(UTC).date())
            for sentence in set(told) - set(self._told):
                log.warning("model.retires", model=sentence.split()[0], detail=sentence)
            self._looked_at, self._told = now, told
        return self._told
