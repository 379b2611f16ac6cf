"""The machine's own chromium, as tests start it."""

import shutil
from pathlib import Path

from playwright.async_api import Browser, Playwright

from tests.services import missing

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Quiet: no sandbox for root in a container, no graphics, nothing asked of other hosts.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--no-first-run",
    "--no-pings",
    "--autoplay-policy=document-user-activation-required",  # as people's browsers have it, and headless ones not
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def program() -> str:
    """The browser's path; without one the test is skipped, or fails where services are required."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing("chromium")
    return found


async def launch(playwright: Playwright, microphone: Path | None) -> Browser:
    """A browser whose microphone hears a WAV file over and over, or that has none.

    The path is absolute: of a relative one it hears silence and says nothing.
    """
    flags = [*FLAGS]
    if microphone is not None:
        assert microphone.is_absolute()
        flags += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={microphone}"]
    return await playwright.chromium.launch(executable_path=program(), args=flags, chromium_sandbox=False)
