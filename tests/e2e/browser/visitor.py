"""Somebody who talks to an agent on Parley's page."""

import re
from pathlib import Path

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import FilePayload, Locator, Page, expect

from tests.e2e.browser.person import Person

GRAVE = {"serious", "critical"}
# What inherits a colour moves to it when its parent has: until nothing does any more.
SETTLED = """async () => {
  const running = () => document.getAnimations().filter((one) => one.playState === 'running');
  while (running().length) await Promise.allSettled(running().map((one) => one.finished));
}"""
ANSWERED_MS = 30_000
PASSWORD = "correct horse"


class Visitor(Person):
    """At the page itself."""

    async def start(self) -> None:
        """Come for the first time, and be offered an agent."""
        await self.open()
        await self.page.get_by_role("button", name=re.compile("Start talking|ابدأ")).click()
        await expect(self.message).to_be_focused()

    @property
    def message(self) -> Locator:
        """Where one writes."""
        return self.page.get_by_role("textbox", name=re.compile("^(Message|الرسالة|رسالة)$"))

    @property
    def turns(self) -> Locator:
        """What was said and answered, one each."""
        return self.page.locator(".turn")

    @property
    def replies(self) -> Locator:
        """The words of the replies."""
        return self.page.locator(".message.theirs .words")

    @property
    def states(self) -> Locator:
        """What is going on, in words."""
        return self.page.locator(".turn .state:not([hidden])")

    async def say(self, text: str) -> None:
        """Write something and press Enter."""
        await self.message.fill(text)
        await self.page.keyboard.press("Enter")

    async def answered(self, text: str | re.Pattern[str], turn: int = -1) -> Locator:
        """Wait for a reply with these words; its turn."""
        mine = self.turns.nth(turn) if turn >= 0 else self.turns.last
        await expect(mine.locator(".message.theirs .words")).to_contain_text(text, timeout=ANSWERED_MS)
        await expect(mine.locator(".state:not([hidden])")).to_have_count(0, timeout=ANSWERED_MS)
        return mine

    async def send_recording(self) -> None:
        """Send what was recorded."""
        await self.page.locator(".rec").get_by_role("button", name=self.words["rec.send"], exact=True).click()

    async def choose(self, path: Path) -> None:
        """Choose an audio file, and send it."""
        file: FilePayload = {"name": path.name, "mimeType": "audio/ogg", "buffer": path.read_bytes()}  # noqa: ASYNC240 - a few kilobytes
        await self.page.locator("input[type=file]").set_input_files(file)
        await self.page.get_by_role("button", name=re.compile("^(Send|إرسال)$")).last.click()

    async def pick(self, menu: str, item: str) -> None:
        """Choose from a menu of the side bar or of the head."""
        await self.page.get_by_role("button", name=menu, exact=True).first.click()
        await self.page.get_by_role("menuitem", name=item, exact=True).click()

    async def sign_up(self, username: str, password: str = PASSWORD) -> None:
        """Make an account, which signs in."""
        await self.open()
        await self.page.get_by_role("button", name="No account yet? Create one").click()
        await self.page.get_by_label("Username", exact=True).fill(username)
        await self.page.get_by_label("Password", exact=True).fill(password)
        await self.page.get_by_role("button", name="Create account", exact=True).click()
        await expect(self.page.get_by_role("button", name="Start talking")).to_be_visible()


async def assert_accessible(page: Page) -> None:
    """Nothing that axe-core calls serious or critical, once everything has its place and its colour."""
    await page.evaluate(SETTLED)
    found = (await Axe().run(page)).response["violations"]
    told = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found if one["impact"] in GRAVE]
    assert not told, told
