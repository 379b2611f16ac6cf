"""No microphone, no permission, no safe page: said in words, with what to do."""

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, BrowserContext, Route, expect

from tests.e2e.browser.bench import Bench
from tests.e2e.browser.conftest import watched
from tests.e2e.browser.watch import Watch

FOREIGN = "http://parley.example"


@pytest.fixture
async def refused(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser that may not use its microphone."""
    async with await browser.new_context() as context:
        yield context


@pytest.fixture
async def deaf(browser_without_microphone: Browser) -> AsyncIterator[BrowserContext]:
    """A browser that may use a microphone, and has none."""
    async with await browser_without_microphone.new_context(permissions=["microphone"]) as context:
        yield context


async def told(context: BrowserContext, base: str, watch: Watch, before: str = "", lang: str = "en") -> str:
    """What a person is told who clicks, as the key of the words."""
    person = Bench(await watched(context, watch), base)
    if before:
        await person.page.add_init_script(before)
    await person.begin(lang=lang)
    await person.recorder()
    await person.button("rec.record").click()
    await person.state("error")
    note = person.page.locator(".rec-note")
    await expect(note).to_be_visible()
    (key,) = [key for key, words in person.words.items() if words == await note.text_content()]
    assert await person.ask("said") == [person.words[key]], "and it is read out, once"
    assert await person.ask("states") in (["error"], ["asking", "error"])
    await expect(person.button("rec.record")).to_be_enabled()
    return key


async def test_denied(refused: BrowserContext, bench_url: str, watch: Watch) -> None:
    assert await told(refused, bench_url, watch) == "rec.denied"


async def test_denied_in_arabic(refused: BrowserContext, bench_url: str, watch: Watch) -> None:
    assert await told(refused, bench_url, watch, lang="ar") == "rec.denied"


async def test_none(deaf: BrowserContext, bench_url: str, watch: Watch) -> None:
    assert await told(deaf, bench_url, watch) == "rec.none"


async def test_a_page_that_is_not_safe(context: BrowserContext, bench_url: str, watch: Watch) -> None:
    """By http from another machine than the browser's own."""

    async def from_afar(route: Route) -> None:
        await route.fulfill(response=await route.fetch(url=bench_url + route.request.url.removeprefix(FOREIGN)))

    await context.route(f"{FOREIGN}/**", from_afar)
    assert await told(context, FOREIGN, watch) == "rec.insecure"


async def test_a_browser_that_cannot_record(context: BrowserContext, bench_url: str, watch: Watch) -> None:
    assert await told(context, bench_url, watch, "delete globalThis.MediaRecorder") == "rec.unsupported"


async def test_in_use(context: BrowserContext, bench_url: str, watch: Watch) -> None:
    assert await told(context, bench_url, watch, IN_USE) == "rec.busy"


# What a browser says whose microphone another program has; none can be had here.
IN_USE = """
navigator.mediaDevices.getUserMedia = async () => {
  throw new DOMException("Could not start audio source", "NotReadableError");
};
"""
