"""The page of tests/e2e/browser/static: the recorder and the players alone."""

import base64
from typing import Any

from tests.e2e.browser.person import Person


class Bench(Person):
    """Somebody at the bench."""

    async def begin(self, lang: str = "en", path: str = "/bench/bench.html") -> None:
        """Open it; the click is the gesture without which browsers are silent."""
        await self.page.goto(f"{self.base}{path}?lang={lang}")
        await self.page.wait_for_selector("html[data-ready]")
        self.words = await self.ask(f"strings.{lang}")
        await self.page.click("#begin")

    async def ask(self, expression: str, argument: object = None) -> Any:
        """Something of the bench."""
        return await self.page.evaluate(f"argument => bench.{expression}", argument)

    async def recorder(self, **settings: object) -> None:
        await self.page.evaluate("settings => bench.recorder(settings)", settings)

    async def until(self, expression: str) -> None:
        """Wait until something of the bench is so."""
        await self.page.wait_for_function(f"() => bench.{expression}")

    async def sent(self, index: int = 0) -> bytes:
        """What was sent."""
        await self.until(f"sent.length > {index}")
        return base64.b64decode(await self.ask(f"bytes({index})"))
