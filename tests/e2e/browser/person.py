"""Somebody who uses a page: with a pointer, a keyboard and a voice."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Locator, Page, expect

SPOKEN_S = 0.8  # long enough for some of what the microphone hears to be speech


class Person:
    """One of them, at one page; `words` are those of the page's sounds, in its language."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.words: dict[str, str] = {}

    async def open(self, path: str = "/") -> None:
        """Go to a page of Parley."""
        await self.page.goto(self.base + path)
        self.words = await self.page.evaluate(WORDS)

    def button(self, key: str) -> Locator:
        """A button by the key of its name."""
        return self.page.get_by_role("button", name=self.words[key], exact=True)

    async def state(self, name: str) -> None:
        """Wait until the recorder is there."""
        await expect(self.page.locator(f'.rec[data-state="{name}"]')).to_have_count(1)

    async def start_recording(self) -> None:
        """Click, and wait until the microphone is open."""
        await self.button("rec.record").click()
        await self.state("recording")

    async def speak(self, seconds: float = SPOKEN_S) -> None:
        """Let the microphone hear for as long, by the recorder's own clock."""
        await self.page.wait_for_timeout(seconds * 1_000)

    async def stop_recording(self) -> None:
        """Click again."""
        await self.button("rec.stop").click()
        await self.state("preview")

    async def record(self, seconds: float = SPOKEN_S) -> None:
        """Say something into a recorder, and see what it took."""
        await self.start_recording()
        await self.speak(seconds)
        await self.stop_recording()

    @asynccontextmanager
    async def holding(self, how: str = "pointer") -> AsyncIterator[None]:
        """The record button, held with the pointer or the space bar."""
        button = self.button("rec.record")
        if how == "pointer":
            await button.hover()
            await self.page.mouse.down()
            yield
            await self.page.mouse.up()
        else:
            await button.focus()
            await self.page.keyboard.down("Space")
            yield
            await self.page.keyboard.up("Space")

    async def send(self) -> None:
        """Send what was recorded."""
        await self.button("rec.send").click()

    async def level(self, audio: Locator) -> float:
        """How loud what is playing gets, of full scale 1; waits for as long as it is silent."""
        return float(await audio.evaluate(LISTEN))

    async def seconds(self, audio: Locator) -> float:
        """How far it has played."""
        return float(await audio.evaluate("audio => audio.currentTime"))


WORDS = "import('/static/strings.sound.js').then((words) => words.default[document.documentElement.lang])"
LISTEN = """async (audio) => {
  const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
  const stream = audio.captureStream();
  while (!stream.getAudioTracks().length) await pause();
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let loudest = 0;
  while (loudest < 0.02 && !audio.ended) {
    await pause();
    analyser.getFloatTimeDomainData(samples);
    loudest = Math.max(loudest, ...samples.map(Math.abs));
  }
  await context.close();
  return loudest;
}"""


class Bench(Person):
    """The page of tests/e2e/browser/static: the recorder and the players alone."""

    async def begin(self, lang: str = "en", path: str = "/bench/bench.html") -> None:
        """Open it; the click is the gesture without which browsers are silent."""
        await self.page.goto(f"{self.base}{path}?lang={lang}")
        await self.page.wait_for_selector("html[data-ready]")
        self.words = await self.page.evaluate(WORDS)
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
