"""A real browser before a real Parley.

    async def test_it(person: Bench, watch: Watch) -> None:

`person` sits before a page of a live Parley (`parley`: API, worker, scripted models) whose microphone hears speech and
may be used. Whatever the page complains of fails the test, unless `watch.allow("pattern")` expects it.
"""

import mimetypes
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Playwright, Route, async_playwright

from api.pages import PAGE_HEADERS
from tests.conftest import SAMPLES
from tests.e2e.browser.chromium import launch, program
from tests.e2e.browser.person import Bench
from tests.e2e.browser.sounds import with_pause
from tests.e2e.browser.watch import Watch
from tests.fakes.mp3 import mp3_of
from tests.live import Live

BENCH = Path(__file__).parent / "static"
PATIENCE_MS = 15_000


@pytest.fixture
def stack() -> str:
    """One kind of stores is enough for a browser."""
    return "embedded"


@pytest.fixture(scope="session")
async def playwright() -> AsyncIterator[Playwright]:
    program()
    async with async_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
async def browser(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """Its microphone hears somebody speak, then pause, over and over."""
    speech = with_pause(SAMPLES / "en_01_pcm16_16k.wav", tmp_path_factory.mktemp("microphone") / "speech.wav", 2.5)
    browser = await launch(playwright, speech)
    yield browser
    await browser.close()


@pytest.fixture(scope="session")
async def browser_without_microphone(playwright: Playwright) -> AsyncIterator[Browser]:
    browser = await launch(playwright, None)
    yield browser
    await browser.close()


@pytest.fixture
def watch() -> Iterator[Watch]:
    """What the pages complain of; nothing, when the test has ended."""
    watch = Watch()
    yield watch
    watch.verify()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser that may use its microphone."""
    async with await browser.new_context(permissions=["microphone"]) as context:
        yield context


@pytest.fixture
async def page(context: BrowserContext, watch: Watch) -> Page:
    return await watched(context, watch)


@pytest.fixture
async def person(page: Page, parley_without_worker: Live) -> Bench:
    """At the bench, whose Parley has no worker."""
    return Bench(page, str(parley_without_worker.http.base_url).rstrip("/"))


async def watched(context: BrowserContext, watch: Watch) -> Page:
    """A page that also knows the bench, under the policy of Parley's own page: its files, our samples and tone-SECONDS.mp3."""
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    await page.route("**/bench/**", _bench)
    await watch.over(page)
    return page


async def _bench(route: Route) -> None:
    name = Path(urlsplit(route.request.url).path).name
    kind = str(mimetypes.guess_type(name)[0])
    if tone := re.fullmatch(r"tone-(\d+)\.mp3", name):
        body = mp3_of(int(tone[1]))
    else:
        body = (BENCH / name if (BENCH / name).is_file() else SAMPLES / name).read_bytes()
    await route.fulfill(body=body, headers={**PAGE_HEADERS, "Content-Type": kind})
