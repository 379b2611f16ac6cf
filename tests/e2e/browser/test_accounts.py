"""Where one signs in, nothing is asked of the API before."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, expect

from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.e2e.browser.conftest import base_of
from tests.e2e.browser.person import Person
from tests.live import API, Live, live_parley


@pytest.fixture
async def guarded(settings: Settings, audio_pool: AudioPool) -> AsyncIterator[Live]:
    """A Parley that asks who is there, and whose tokens last a moment."""
    asking = settings.model_copy(update={"auth": "on", "access_token_s": 3.0, "default_balance": 5})
    async with live_parley(asking, audio_pool) as live:
        yield live


async def test_nothing_is_asked_for_before_one_has_signed_in(page: Page, guarded: Live) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    ann = Person(page, base_of(guarded))
    await ann.open()
    await expect(ann.button("sign.in")).to_be_visible()
    assert [url for url in asked if API in url] == []
