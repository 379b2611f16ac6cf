"""A person before the page, in text: what is seen while it is answered, and what outlives reloads and mishaps."""

import base64
import re

import pytest
from playwright.async_api import Locator, Page, Route, expect

from tests.conftest import SAMPLES
from tests.e2e.browser.conftest import base_of
from tests.e2e.browser.person import Person
from tests.e2e.browser.watch import Watch
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live

WORDS = [f"word{n} " for n in range(120)]


@pytest.fixture
async def ann(page: Page, parley: Live) -> Person:
    """At a conversation that has just begun."""
    ann = Person(page, base_of(parley))
    await ann.open()
    await ann.new_conversation()
    return ann


def state(person: Person) -> Locator:
    """What is going on, of every message that is not done."""
    return person.page.locator(".state:visible")


async def test_one_click_makes_an_agent_and_a_conversation_and_one_may_write(ann: Person, parley: Live) -> None:
    await expect(ann.text).to_be_focused()
    await ann.write("When is breakfast?")
    await ann.hears_back("You said: When is breakfast?")
    (session,) = (await parley.http.get(f"{API}/session")).json()["items"]
    assert session["name"] == "When is breakfast?"
    assert (await parley.http.get(f"{API}/agent")).json()["items"][0]["name"] == "Assistant"


async def test_a_reply_is_read_word_by_word_and_goes_on_after_a_reload(ann: Person, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(pieces=WORDS, chunk_delay_s=0.04))
    await ann.write("Tell me more.")
    await expect(ann.reply()).to_contain_text("word3")
    await expect(state(ann)).to_contain_text("Writing")
    assert "word119" not in await ann.reply().inner_text()
    await ann.page.reload()
    await expect(ann.reply()).to_contain_text("word3")
    await expect(state(ann)).to_contain_text("Writing")
    await ann.hears_back("word119")
    assert await ann.reply().inner_text() == "".join(WORDS).strip()
    assert fake.script.count("chat") == 1


async def test_messages_wait_in_line_and_any_can_be_stopped(ann: Person, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(pieces=WORDS, chunk_delay_s=0.1))
    for text in ("First.", "Second.", "Third."):
        await ann.write(text)
    await expect(state(ann)).to_contain_text(["Writing", "1 message before it", "2 messages before it"])
    await state(ann).nth(1).get_by_role("button", name="Cancel").click()
    await expect(state(ann).nth(1)).to_contain_text("Stopped")
    await expect(state(ann).nth(2)).to_contain_text("1 message before it")
    await state(ann).nth(0).get_by_role("button", name="Cancel").click()
    await ann.hears_back("You said: Third.")
    await expect(state(ann)).to_contain_text(["Stopped", "Stopped"])


async def test_a_failure_says_why_outlives_a_reload_and_can_be_tried_again(ann: Person, fake: FakeOpenAI) -> None:
    fake.script.add("chat", Answer(status=401))
    await ann.write("Will it work?")
    await expect(state(ann)).to_contain_text("refused the key")
    await ann.page.reload()
    await expect(state(ann)).to_contain_text("refused the key")
    await ann.button("stage.retry").click()
    await ann.hears_back("You said: Will it work?")
    await expect(state(ann)).to_have_count(0)


async def test_html_is_shown_as_the_text_it_is(ann: Person, fake: FakeOpenAI, parley: Live) -> None:
    bad = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    fake.script.add("chat", Answer(text=f"{bad} [link](javascript:alert(3)) ![picture](https://parley.example/x.png)"))
    await ann.write(bad)
    await expect(ann.reply()).to_contain_text(bad)
    assert await ann.reply().locator("img, script, a[href^=javascript]").count() == 0
    await expect(ann.page.locator(".message.mine .words")).to_have_text(bad)
    await parley.agent(name=bad)
    await ann.page.reload()
    await expect(ann.page.locator(".group-head h2").first).to_have_text(bad)


async def test_what_is_said_while_the_server_is_away_goes_out_once(ann: Person, parley: Live, watch: Watch) -> None:
    watch.allow("ERR_CONNECTION_RESET")
    lost = re.compile(f"{API}/message/text$")
    await ann.page.route(lost, lambda route: route.abort("connectionreset"))
    await ann.write("Are you there?")
    await expect(state(ann)).to_contain_text("Waiting for the connection")
    await ann.page.unroute(lost)
    await ann.hears_back("You said: Are you there?")
    (session,) = (await parley.http.get(f"{API}/session")).json()["items"]
    assert len(await parley.conversation(session["id"])) == 2


async def test_a_text_that_was_on_its_way_is_sent_after_a_reload(ann: Person, parley: Live, watch: Watch) -> None:
    watch.allow("ERR_CONNECTION_RESET")
    lost = re.compile(f"{API}/message/text$")
    await ann.page.route(lost, _accept_and_lose)
    await ann.write("Only once, please.")
    await expect(state(ann)).to_contain_text("Waiting for the connection")
    await ann.page.unroute(lost)
    await ann.page.reload()
    await ann.hears_back("You said: Only once, please.")
    await expect(ann.page.locator(".message.mine:visible")).to_have_count(1)
    (session,) = (await parley.http.get(f"{API}/session")).json()["items"]
    assert len(await parley.conversation(session["id"])) == 2


async def _accept_and_lose(route: Route) -> None:
    await route.fetch()
    await route.abort("connectionreset")


async def test_a_long_conversation_opens_at_its_end_and_grows_upwards(page: Page, parley_without_worker: Live) -> None:
    live = parley_without_worker
    ann = Person(page, base_of(live))
    session = await live.session()
    for n in range(70):
        await live.text(session["id"], f"Message {n}.")
    await ann.open(f"/#/s/{session['id']}")
    said = ann.page.locator(".message.mine:visible .words")
    await expect(said.last).to_have_text("Message 69.")
    await expect(said.last).to_be_in_viewport()
    assert await said.count() == 60
    await ann.page.locator(".scroller").evaluate("scroller => scroller.scrollTo(0, 0)")
    await expect(said).to_have_count(70)
    await expect(said.first).to_have_text("Message 0.")


async def test_arabic_runs_from_right_to_left_and_english_in_it_does_not(ann: Person) -> None:
    await ann.write("Hello there")
    await ann.hears_back("You said")
    await ann.page.get_by_role("button", name="العربية").click()
    await expect(ann.page.locator("html")).to_have_attribute("dir", "rtl")
    await expect(ann.page.get_by_role("textbox", name="الرسالة")).to_be_visible()
    said = ann.page.locator(".message.mine .words")
    assert await said.evaluate("words => getComputedStyle(words).direction") == "ltr"


async def test_a_dropped_recording_is_looked_at_and_sent_and_other_files_are_refused(
    ann: Person, fake: FakeOpenAI
) -> None:
    note = SAMPLES / "en_03_opus.ogg"
    fake.script.hear(note.read_bytes(), "Please remind me to call the dentist.", "en")
    await _drop(ann.page, b"words", "notes.txt", "text/plain")
    await expect(ann.page.locator(".toast")).to_contain_text("is not an audio file")
    await _drop(ann.page, note.read_bytes(), "note.ogg", "audio/ogg")
    await expect(ann.page.locator(".chosen")).to_contain_text("note.ogg")
    await ann.button("write.send").click()
    await expect(ann.page.locator(".message.mine .words")).to_have_text("Please remind me to call the dentist.")
    await ann.hears_back("You said: Please remind me")


async def _drop(page: Page, data: bytes, name: str, kind: str) -> None:
    given = {"data": base64.b64encode(data).decode(), "name": name, "type": kind}
    dropped = await page.evaluate_handle(
        """({data, name, type}) => {
          const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
          const dropped = new DataTransfer();
          dropped.items.add(new File([bytes], name, {type}));
          return dropped;
        }""",
        given,
    )
    for event in ("dragover", "drop"):
        await page.dispatch_event("main", event, {"dataTransfer": dropped})
