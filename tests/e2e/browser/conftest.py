"""A real browser before a real Parley.

`page` is one whose microphone hears speech and may be used; whatever it complains of fails the test, unless
`watch.allow("pattern")` expects it. `person` sits before the bench, where the recorder and the players are alone. Before a
whole Parley (`parley`: API, worker, scripted models in `fake`) sits `Person(page, base_of(parley))`.
"""

import mimetypes
import os
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Playwright, Route, async_playwright, expect

from api.http.pages import PAGE_HEADERS
from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.conftest import SAMPLES
from tests.e2e.browser.bench import Bench
from tests.e2e.browser.chromium import launch, program
from tests.e2e.browser.person import PATIENCE_MS
from tests.e2e.browser.sounds import with_pause
from tests.e2e.browser.watch import Watch
from tests.fakes.mp3 import mp3_of
from tests.live import Live, live_parley

if (
    os.environ.get("PARLEY_BROWSER") != "all"
):  # CI sees the recorder and the players in the page, `make browser` alone too
    collect_ignore_glob = ["test_obstacles.py", "test_*player.py", "test_recorder.py", "test_sound_access.py"]
BENCH = Path(__file__).parent / "static"

expect.set_options(timeout=PATIENCE_MS)


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
    speech = with_pause(SAMPLES / "en_01_pcm16_16k.wav", tmp_path_factory.mktemp("microphone") / "speech.wav")
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
def served(request: pytest.FixtureRequest) -> None:
    """Parley, if the test has one, stays until the pages before it are closed."""
    if "parley" in request.fixturenames:
        request.getfixturevalue("parley")


@pytest.fixture
async def context(browser: Browser, served: None) -> AsyncIterator[BrowserContext]:  # noqa: ARG001 - for its order
    """A browser that may use its microphone."""
    async with await browser.new_context(permissions=["microphone"]) as context:
        yield context


@pytest.fixture
async def page(context: BrowserContext, watch: Watch) -> Page:
    return await watched(context, watch)


@pytest.fixture(scope="session")
async def bench_url(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory, audio_pool: AudioPool
) -> AsyncIterator[str]:
    """One Parley for all tests of the bench, which ask it for nothing but its files."""
    folder = tmp_path_factory.mktemp("bench")
    shutil.copy(sqlite_template, folder / "parley.db")
    url = f"sqlite+aiosqlite:///{folder / 'parley.db'}"
    settings = Settings(_env_file=None, env="TEST", data_dir=folder, port=0, database_url=url)
    async with live_parley(settings, audio_pool, work=False) as live:
        yield base_of(live)


@pytest.fixture
def person(page: Page, bench_url: str) -> Bench:
    """At the bench."""
    return Bench(page, bench_url)


def base_of(live: Live) -> str:
    """Where a browser finds it."""
    return str(live.http.base_url).rstrip("/")


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
