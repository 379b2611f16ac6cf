"""Pages of another origin in a real browser: those that CORS_ORIGINS names play Parley's sound and read its answers."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from playwright.async_api import Page

from shared.config import Settings
from tests.e2e.browser.conftest import base_of
from tests.e2e.browser.watch import Watch
from tests.live import Live

PLAYED = """async (url) => {
  const audio = new Audio();
  const played = new Promise((resolve) => {
    audio.onloadedmetadata = () => resolve(audio.duration);
    audio.onerror = () => resolve(audio.error.message);
  });
  audio.src = url;
  return await played;
}"""
READ = """async ([url, headers]) => {
  try {
    const answer = await fetch(url, {headers});
    const names = ["etag", "content-range", "accept-ranges", "x-request-id"];
    return {
      status: answer.status,
      size: (await answer.arrayBuffer()).byteLength,
      ...Object.fromEntries(names.map((name) => [name, answer.headers.get(name)])),
    };
  } catch (error) { return {status: 0, why: String(error)}; }
}"""
TRACED = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "baggage": "a=b",
    "X-Requested-With": "XMLHttpRequest",
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
}


class _EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b'<!doctype html><link rel="icon" href="data:,"><title>Elsewhere</title>')

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def origins() -> Iterator[list[str]]:
    """Two pages of other origins, of which the first is named."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), _EmptyPage) for _ in range(2)]
    for server in servers:
        Thread(target=server.serve_forever, daemon=True).start()
    yield [f"http://127.0.0.1:{server.server_port}" for server in servers]
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def settings(settings: Settings, origins: list[str]) -> Settings:
    return settings.model_copy(update={"cors_origins": origins[:1]})


async def test_a_named_page_plays_sound_and_then_reads_it(parley: Live, page: Page, origins: list[str]) -> None:
    job = await parley.done(await parley.text((await parley.session())["id"], reply_audio=True))
    base, size = base_of(parley), job["result"]["audio"]["size"]
    await page.goto(origins[0])
    for path in (job["links"]["audio"], job["result"]["audio"]["url"], f"{job['links']['audio']}?stream=1"):
        assert float(await page.evaluate(PLAYED, base + path)) > 0, path
    url = base + job["links"]["audio"]
    whole = await page.evaluate(READ, [url, {}])  # which the player has put into the cache
    assert (whole["status"], whole["size"], whole["accept-ranges"]) == (200, size, "bytes")
    assert whole["etag"]
    part = await page.evaluate(READ, [url, {"Range": "bytes=0-9", **TRACED}])
    assert (part["status"], part["size"], part["content-range"]) == (206, 10, f"bytes 0-9/{size}")
    polled = await page.evaluate(READ, [base + job["links"]["self"], {"Prefer": "wait=1", **TRACED}])
    assert (polled["status"], bool(polled["etag"]), bool(polled["x-request-id"])) == (200, True, True)


async def test_a_page_that_is_not_named_reads_nothing(
    parley: Live, page: Page, origins: list[str], watch: Watch
) -> None:
    watch.allow("CORS policy|ERR_FAILED|Failed to load resource")
    await page.goto(origins[1])
    for path in ("/health", "/api/v1/agent"):
        assert (await page.evaluate(READ, [base_of(parley) + path, {}]))["status"] == 0
