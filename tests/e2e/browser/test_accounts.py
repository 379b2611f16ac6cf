"""Where one signs in, nothing is asked of the API before."""

import pytest
from playwright.async_api import Page, expect

from shared.config import Settings
from tests.e2e.browser.conftest import base_of
from tests.e2e.browser.person import Person
from tests.live import API, Live


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings of a Parley that asks who is there, and whose tokens last a moment."""
    return settings.model_copy(update={"auth": "on", "access_token_s": 3.0, "default_balance": 5})


async def test_nothing_is_asked_for_before_one_has_signed_in(page: Page, parley: Live) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    ann = Person(page, base_of(parley))
    await ann.open()
    await expect(ann.button("sign.in")).to_be_visible()
    assert [url for url in asked if API in url] == []
