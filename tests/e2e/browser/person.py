"""Somebody who uses a page: with a pointer, a keyboard and a voice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Locator, Page, expect

PATIENCE_MS = 20_000  # for a machine that has much else to do
SPOKEN_S = 0.8  # long enough for some of what the microphone hears to be speech


class Person:
    """One of them, at one page; `words` are those of the page's sounds, in its language."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.words: dict[str, str] = {}

    async def open(self, path: str = "/") -> None:
        """Go to Parley's page."""
        await self.page.goto(self.base + path)
        self.words = await self.page.evaluate(WORDS)

    async def new_conversation(self) -> None:
        """The first one, or one more."""
        first, more = self.button("talk.first_start"), self.button("side.new")
        await first.or_(more).first.click()
        await expect(self.text).to_be_visible()

    @property
    def text(self) -> Locator:
        """Where one writes."""
        return self.page.get_by_role("textbox", name=self.words["write.message"])

    async def write(self, text: str) -> None:
        """Type a message and send it."""
        await self.text.press_sequentially(text)
        await self.text.press("Enter")

    def reply(self, number: int = -1) -> Locator:
        """The words of a reply, the last one by default."""
        return self.page.locator(".message.theirs:visible").nth(number).locator(".words")

    def sound(self, number: int = -1) -> Locator:
        """What plays a reply."""
        return self.page.locator(".message.theirs:visible").nth(number).locator("audio")

    async def hears_back(self, text: str) -> None:
        """Wait until a reply that holds this is whole."""
        whole = self.page.locator(".message.theirs:not(.is-being-written)", has_text=text)
        await expect(whole.first).to_be_visible()

    def button(self, key: str) -> Locator:
        """A button by the key of its name; one of the recorder's, or of the whole page."""
        within = self.page.locator(".rec" if key.startswith("rec.") else "body")
        return within.get_by_role("button", name=self.words[key], exact=True)

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
        """How loud what is playing gets, of full scale 1; waits a while for something to be heard."""
        return float(await audio.evaluate(LISTEN))

    async def seconds(self, audio: Locator) -> float:
        """How far it has played."""
        return float(await audio.evaluate("audio => audio.currentTime"))


# All words of the page, in its language; those that count are left out.
WORDS = """(async () => {
  const { lang } = document.documentElement;
  const words = [await import(`/static/strings.${lang}.js`), (await import('/static/strings.sound.js')).default[lang]];
  const all = { ...words[0].default, ...words[1] };
  return Object.fromEntries(Object.entries(all).filter(([, one]) => typeof one === 'string'));
})()"""
LISTEN = """async (audio) => {
  const pause = () => new Promise((resolve) => setTimeout(resolve, 20));
  const stream = audio.captureStream();
  let tries = 500;
  while (!stream.getAudioTracks().length && tries-- > 0) await pause();
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let loudest = 0;
  while (loudest < 0.02 && tries-- > 0) {
    if (audio.ended) { // before anybody listened, on a busy machine: that it plays by itself is seen by its end
      audio.currentTime = 0;
      await audio.play();
    }
    await pause();
    analyser.getFloatTimeDomainData(samples);
    loudest = Math.max(loudest, ...samples.map(Math.abs));
  }
  await context.close();
  return loudest;
}"""
