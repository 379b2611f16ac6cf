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


async def come_back(person: Person) -> None:
    """To a tab that was not seen for a while."""
    await person.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def session_of(person: Person) -> str:
    """The conversation that is open."""
    return re.sub(".*/s/", "", person.page.url)


async def test_what_was_said_elsewhere_meanwhile_is_all_there_and_in_its_place(ann: Person, parley: Live) -> None:
    await ann.write("Mine, first")
    await ann.hears_back("You said: Mine, first")
    await ann.page.reload()
    await ann.hears_back("You said: Mine, first")
    elsewhere = [f"Elsewhere {number}" for number in range(15)]
    for text in elsewhere:
        job = await parley.text(session_of(ann), text)
    await parley.done(job)
    await ann.write("Mine, last")
    await ann.hears_back("You said: Mine, last")
    await come_back(ann)
    said = ann.page.locator(".message.mine .words")
    await expect(said).to_have_text(["Mine, first", *elsewhere, "Mine, last"])


async def test_what_failed_and_was_retried_elsewhere_shows_its_reply(
    ann: Person, parley: Live, fake: FakeOpenAI
) -> None:
    fake.script.add("chat", Answer(status=401))
    await ann.write("Are you there?")
    await expect(ann.button("stage.retry")).to_be_visible()
    (job,) = (await parley.http.get(f"{API}/job")).json()["items"]
    await parley.done((await parley.http.post(f"{API}/job/{job['id']}/retry")).json())
    await come_back(ann)
    await ann.hears_back("You said: Are you there?")
    await expect(state(ann)).to_have_count(0)


async def test_a_conversation_that_was_deleted_elsewhere_is_told_and_left(
    ann: Person, parley: Live, watch: Watch
) -> None:
    watch.allow("status of 404")
    session_id = session_of(ann)
    assert (await parley.http.delete(f"{API}/session/{session_id}")).is_success
    await come_back(ann)
    await expect(ann.page.get_by_text("This conversation is gone.")).to_be_visible()
    await expect(ann.text).to_have_count(0)
    assert session_id not in ann.page.url


@pytest.mark.parametrize(
    ("finish", "note"), [("length", "Cut off at the model's output limit"), ("content_filter", "content policy")]
)
async def test_a_reply_that_was_cut_off_says_so_after_a_reload_too(
    ann: Person, fake: FakeOpenAI, finish: str, note: str
) -> None:
    fake.script.add("chat", Answer(text="Breakfast is at", finish=finish))
    await ann.write("When is breakfast?")
    await ann.hears_back("Breakfast is at")
    shown = ann.page.locator(".message.theirs:visible .quiet:visible")
    await expect(shown).to_contain_text(note)
    await ann.page.reload()
    await expect(shown).to_contain_text(note)
    await ann.write("And then?")
    await ann.hears_back("You said: And then?")
    await expect(shown).to_have_count(1)
