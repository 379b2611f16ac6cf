"""A Parley that asks who is there."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.live import Live, live_parley

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def guarded_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"auth": "on", "jwt_secret": SecretStr(SECRET)})


@pytest.fixture
async def guarded(guarded_settings: Settings, audio_pool: AudioPool) -> AsyncIterator[Live]:
    """With a worker."""
    async with live_parley(guarded_settings, audio_pool) as live:
        yield live


@pytest.fixture
async def door(guarded_settings: Settings, audio_pool: AudioPool) -> AsyncIterator[Live]:
    """Without a worker: for what is about getting in alone."""
    async with live_parley(guarded_settings, audio_pool, work=False) as live:
        yield live
