"""What a browser loads to show the page, as it comes over the wire."""

from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, Page, expect

from tests.e2e.browser.conftest import base_of
from tests.e2e.browser.visitor import Visitor
from tests.e2e.browser.watch import Watch
from tests.live import Live

LIMIT = 200_000


async def test_all_that_the_first_view_loads_is_small_and_comes_from_here(parley: Live, page: Page) -> None:
    visitor = Visitor(page, base_of(parley))
    sizes: dict[str, int] = {}
    hosts: set[str] = set()
    cdp = await page.context.new_cdp_session(page)
    cdp.on("Network.requestWillBeSent", lambda event: hosts.add(urlsplit(event["request"]["url"]).netloc))
    cdp.on("Network.loadingFinished", lambda event: sizes.update({event["requestId"]: event["encodedDataLength"]}))
    await cdp.send("Network.enable")
    await visitor.start()
    await page.wait_for_load_state("networkidle")
    assert len(sizes) > 10
    assert sum(sizes.values()) < LIMIT, sizes
    assert {host for host in hosts if host} == {urlsplit(visitor.base).netloc}


async def test_a_second_visit_asks_whether_anything_is_new_and_loads_nothing_again(
    parley: Live, context: BrowserContext, watch: Watch
) -> None:
    page = await context.new_page()  # nothing of it is routed, which would do without the cache
    await watch.over(page)
    visitor = Visitor(page, base_of(parley))
    await visitor.open()
    await expect(page.get_by_role("button", name="Start talking")).to_be_visible()
    await visitor.open()
    await expect(page.get_by_role("button", name="Start talking")).to_be_visible()
    entries = "performance.getEntriesByType('resource').filter((one) => /static/.test(one.name)).map((one) => one.transferSize)"
    sizes = await page.evaluate(entries)
    assert len(sizes) > 10
    assert max(sizes) <= 1_000, "heads alone, of answers without a body"
