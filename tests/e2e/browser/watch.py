"""What a page must not do while it is tested: complain, break its policy, or ask in vain."""

import re

from playwright.async_api import ConsoleMessage, Page, Request

ABORTED = "net::ERR_ABORTED"  # by the page itself
VIOLATION = "policy violation: "
TELL = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy violation: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


class Watch:
    """Everything that a page complained of; `allow` what a test provokes."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self._allowed: list[str] = []

    def allow(self, pattern: str) -> None:
        """Complaints that match are expected."""
        self._allowed.append(pattern)

    async def over(self, page: Page) -> None:
        """Watch this page from now on."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        page.on("requestfailed", self._failed)
        await page.add_init_script(TELL)

    def verify(self) -> None:
        """Fail if there was anything that was not allowed."""
        unexpected = [one for one in self.complaints if not any(re.search(two, one) for two in self._allowed)]
        assert not unexpected, unexpected

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        if request.failure != ABORTED:
            self.complaints.append(f"request failed: {request.method} {request.url} {request.failure}")
