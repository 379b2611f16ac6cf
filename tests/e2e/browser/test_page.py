"""The page, from the first click to a spoken reply."""

import asyncio
import re
from uuid import UUID

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Route, expect

from shared.config import Settings
from shared.models import Job, JobStatus, Message, MessageKind, MessageRole
from tests.conftest import SAMPLES
from tests.e2e.browser.conftest import base_of, watched
from tests.e2e.browser.visitor import ANSWERED_MS, Visitor
from tests.e2e.browser.watch import Watch
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import API, Live

LOUD = 0.02
HOSTILE = '<img src=x onerror="window.pwned = 1"><script>window.pwned = 1</script> [click](javascript:window.pwned=1)'
TWO_SENTENCES = "This is the first sentence of the reply. And this is the second sentence of it."


@pytest.fixture
def visitor(parley: Live, page: Page) -> Visitor:
    """Before a whole Parley."""
    return Visitor(page, base_of(parley))


async def test_a_text_is_answered_word_by_word_in_markdown(visitor: Visitor, fake: FakeOpenAI) -> None:
    page = visitor.page
    await visitor.start()
    pieces = ["**Breakfast**", " is at eight.\n\n", "```\nopen the door\n```", "\nGood night."]
    fake.script.add("chat", Answer(pieces=pieces, chunk_delay_s=0.4))
    await visitor.message.press_sequentially("When is")
    await page.keyboard.press("Shift+Enter")
    await visitor.message.press_sequentially("breakfast?")
    await page.keyboard.press("Enter")
    await expect(visitor.replies.locator("strong")).to_have_text("Breakfast")
    assert "Good night" not in (await visitor.replies.first.inner_text()), "it is shown while it is written"
    turn = await visitor.answered("Good night.")
    await expect(turn.locator(".message.mine .words")).to_have_text("When is\nbreakfast?", use_inner_text=True)
    assert fake.script.of("chat")[0].text == "When is\nbreakfast?"
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await turn.get_by_role("button", name="Copy code").click()
    assert (await page.evaluate("navigator.clipboard.readText()")).strip() == "open the door"
    await expect(visitor.message).to_have_value("")


async def test_what_is_selected_or_focused_stays_while_the_reply_goes_on(visitor: Visitor, fake: FakeOpenAI) -> None:
    page = visitor.page
    await visitor.start()
    pieces = ["**Breakfast** is at eight.\n\n```\nopen the door\n```\n\nGood", " night.", "\n\nAnd sleep well."]
    fake.script.add("chat", Answer(pieces=pieces, chunk_delay_s=1.5))
    await visitor.say("When is breakfast?")
    await page.locator(".theirs strong").evaluate("words => getSelection().selectAllChildren(words)")
    await page.get_by_role("button", name="Copy code").focus()
    await visitor.answered("And sleep well.")
    assert await page.evaluate("String(getSelection())") == "Breakfast"
    await expect(page.get_by_role("button", name="Copy code")).to_be_focused()
    await expect(visitor.replies.locator("p")).to_have_text(
        ["Breakfast is at eight.", "Good night.", "And sleep well."]
    )


async def test_columns_are_aligned_and_lists_begin_as_the_reply_says(visitor: Visitor, fake: FakeOpenAI) -> None:
    await visitor.start()
    fake.script.add("chat", Answer(text="| item | price | note |\n|---|---:|:---:|\n| Tea | 2 | hot |\n\n3. Coffee"))
    await visitor.say("What is there?")
    turn = await visitor.answered("Coffee")
    aligned = "cells => cells.map((one) => getComputedStyle(one).textAlign.replace('-webkit-', ''))"
    assert await turn.locator("th, td").evaluate_all(aligned) == ["start", "right", "center"] * 2
    await expect(turn.locator("ol")).to_have_attribute("start", "3")


async def test_html_keeps_its_lines(visitor: Visitor, fake: FakeOpenAI) -> None:
    await visitor.start()
    fake.script.add("chat", Answer(text="<ul>\n<li>One</li>\n</ul>\n\nAnd two."))
    await visitor.say("What is there?")
    await visitor.answered("And two.")
    assert await visitor.replies.inner_text() == "<ul>\n<li>One</li>\n</ul>\n\nAnd two."


async def test_html_in_messages_replies_and_names_is_text(visitor: Visitor, fake: FakeOpenAI, parley: Live) -> None:
    await visitor.start()
    fake.script.add("chat", Answer(text=HOSTILE))
    await visitor.say(HOSTILE)
    await visitor.answered("<img src=x onerror=")
    await parley.agent(name=HOSTILE)
    await visitor.page.reload()
    await expect(visitor.page.get_by_role("heading", name=HOSTILE)).to_be_visible()
    await expect(visitor.turns.locator("img, script, a[href^='javascript']")).to_have_count(0)
    assert await visitor.page.evaluate("window.pwned") is None


async def test_agents_and_conversations_are_made_found_renamed_and_deleted(visitor: Visitor, fake: FakeOpenAI) -> None:
    page = visitor.page
    await visitor.start()
    await page.get_by_role("button", name="New agent", exact=True).click()
    dialog = page.get_by_role("dialog", name="New agent")
    await dialog.get_by_label("Name", exact=True).fill("Concierge")
    await dialog.get_by_label("What it is and does").fill("You answer the guests of a small hotel.")
    await dialog.get_by_role("button", name="Save", exact=True).click()
    await expect(dialog).to_have_count(0)
    await page.get_by_role("button", name="New conversation with Concierge").click()
    await expect(page.get_by_text("Talk to Concierge")).to_be_visible()
    await visitor.say("When is breakfast?")
    await visitor.answered("You said: When is breakfast?")
    assert "small hotel" in str(fake.script.of("chat")[-1].messages[0]["content"])

    await visitor.pick("Actions for When is breakfast?", "Rename…")
    await page.get_by_role("dialog").get_by_label("Name", exact=True).fill("Room 12")
    await page.keyboard.press("Enter")
    room = page.get_by_role("link", name="Room 12", exact=True)
    await expect(room).to_be_visible()
    search = page.get_by_role("searchbox")
    await search.fill("no such thing")
    await expect(room).to_have_count(0)
    await search.fill("room")
    await page.get_by_role("button", name="Actions for Room 12", exact=True).first.click()
    await expect(page.get_by_role("status").filter(has_text="1 found")).to_have_count(1)
    await expect(page.get_by_role("menuitem", name="Rename…", exact=True)).to_be_visible()  # though all was drawn anew
    await page.keyboard.press("Escape")
    await expect(room).to_be_visible()
    await search.fill("")

    await visitor.pick("Actions for Concierge", "Edit…")
    dialog = page.get_by_role("dialog", name="Edit agent")
    await dialog.get_by_label("Name", exact=True).fill("Porter")
    await dialog.get_by_role("button", name="Save", exact=True).click()
    await visitor.pick("Actions for Room 12", "Delete…")
    await page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    await expect(room).to_have_count(0)
    await visitor.pick("Actions for Porter", "Delete…")
    await page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_role("heading", name="Porter")).to_have_count(0)


async def test_the_first_click_saves_an_agent_whose_languages_were_just_typed(visitor: Visitor, parley: Live) -> None:
    page = visitor.page
    await visitor.start()
    await page.get_by_role("button", name="New agent", exact=True).click()
    dialog = page.get_by_role("dialog", name="New agent")
    await dialog.get_by_label("Name", exact=True).fill("Polyglot")
    await dialog.get_by_text("Models and voices").click()
    await dialog.get_by_label("Others, by their two letters").press_sequentially("fr, de")
    await dialog.get_by_role("button", name="Save", exact=True).click()
    await expect(dialog).to_have_count(0)
    agents = (await parley.http.get(f"{API}/agent")).json()["items"]
    assert ["fr", "de"] in [agent["languages"] for agent in agents]


async def test_a_marked_field_is_seen_though_its_section_was_closed(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.start()
    await page.get_by_role("button", name="New agent", exact=True).click()
    dialog = page.get_by_role("dialog", name="New agent")
    await dialog.get_by_label("Name", exact=True).fill("Polyglot")
    await dialog.get_by_text("Models and voices").click()
    await dialog.get_by_label("Others, by their two letters").fill("xyz")
    await dialog.get_by_text("Models and voices").click()
    await dialog.get_by_role("button", name="Save", exact=True).click()
    await expect(dialog.get_by_text("Two small letters each")).to_be_in_viewport()
    await expect(dialog.get_by_label("Others, by their two letters")).to_be_focused()


async def test_what_the_server_says_of_a_field_is_not_shown_in_english_on_the_arabic_page(
    visitor: Visitor, watch: Watch
) -> None:
    watch.allow("status of 422")
    page = visitor.page
    await page.add_init_script("localStorage['parley.settings'] = JSON.stringify({lang: 'ar'})")
    await visitor.start()
    await visitor.button("side.new_agent").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label(visitor.words["agent.name"], exact=True).fill("Polyglot")
    await dialog.get_by_text(visitor.words["agent.models"]).click()
    too_many = ", ".join(one + two for one in "abc" for two in "abcdefghijklmnopq")
    await dialog.get_by_label(visitor.words["agent.other_languages"]).fill(too_many)
    await visitor.button("app.save").click()
    await expect(dialog.locator(".field-error:visible")).to_have_text(visitor.words["error.field"])


async def test_a_form_that_was_changed_is_not_left_without_a_question(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.start()
    await page.get_by_role("button", name="New agent", exact=True).click()
    form, question = (page.get_by_role("dialog", name=name) for name in ("New agent", "Discard your changes?"))
    await expect(form).to_be_visible()
    await page.mouse.click(5, 5)
    await expect(form).to_have_count(0)
    await page.get_by_role("button", name="New agent", exact=True).click()
    await form.get_by_label("Name", exact=True).press_sequentially("Concierge")
    await page.mouse.click(5, 5)
    await page.keyboard.press("Escape")
    await expect(question).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(question).to_have_count(0)
    await expect(form.get_by_label("Name", exact=True)).to_have_value("Concierge")
    await page.keyboard.press("Escape")
    await question.get_by_role("button", name="Discard", exact=True).click()
    await expect(form).to_have_count(0)


@pytest.mark.parametrize("how", ["click", "pointer", "Space"])
async def test_what_is_said_is_heard_answered_and_spoken(visitor: Visitor, fake: FakeOpenAI, how: str) -> None:
    await visitor.start()
    fake.script.always("transcriptions", Answer(text="Good morning to you all.", language="english"))
    fake.script.add("chat", Answer(text="Good morning to you, too."))
    if how == "click":
        await visitor.record()
    else:
        async with visitor.holding(how):
            await visitor.state("recording")
            await visitor.speak()
        await visitor.state("preview")
    await visitor.send_recording()
    turn = await visitor.answered("Good morning to you, too.")
    await expect(turn.locator(".message.mine .words")).to_have_text("Good morning to you all.")
    audio = visitor.page.locator("audio").last
    assert await visitor.level(audio) > LOUD, "the reply plays by itself, and is no silence"
    assert fake.script.of("transcriptions")[0].size > 1_000


async def test_the_first_sentence_is_heard_while_the_next_are_still_being_made(
    visitor: Visitor, fake: FakeOpenAI
) -> None:
    await visitor.start()
    fake.script.add("chat", Answer(text=TWO_SENTENCES))
    fake.script.add("speech", Answer(hold=True, when="second"))
    await visitor.page.get_by_role("button", name="Speak replies to texts").click()
    await visitor.say("Tell me something.")
    audio = visitor.page.locator(".turn audio").last
    assert await visitor.level(audio) > LOUD
    assert [call.finished for call in fake.script.of("speech") if "second" in call.text] == [False]
    fake.script.release()
    await visitor.answered("And this is the second sentence of it.")
    stored = visitor.turns.last.locator(".player[data-message-id]")
    await expect(stored.get_by_role("button", name="Download")).to_be_visible(timeout=ANSWERED_MS)
    await expect(visitor.turns.last.locator(".player")).to_have_count(1)


async def test_a_reply_is_silent_as_soon_as_it_is_cancelled(visitor: Visitor, fake: FakeOpenAI) -> None:
    await visitor.start()
    fake.script.add("chat", Answer(text=TWO_SENTENCES))
    fake.script.add("speech", Answer(hold=True, when="second"))
    await visitor.page.get_by_role("button", name="Speak replies to texts").click()
    await visitor.say("Tell me something.")
    assert await visitor.level(visitor.page.locator(".turn audio")) > LOUD
    asked, answer = asyncio.Event(), asyncio.Event()

    async def ask(route: Route) -> None:
        asked.set()
        await answer.wait()
        await route.continue_()

    await visitor.page.route("**/cancel", ask)
    await visitor.page.get_by_role("button", name="Cancel").click()
    await asked.wait()
    await expect(visitor.page.locator(".turn audio")).to_have_count(0)
    answer.set()
    await expect(visitor.states).to_contain_text(["Stopped."])
    fake.script.release()


async def test_a_reply_being_spoken_keeps_the_speed_and_when_paused_its_place(
    visitor: Visitor, fake: FakeOpenAI
) -> None:
    await visitor.start()
    await visitor.page.get_by_role("button", name="Speak replies to texts").click()
    await visitor.say("Hello")
    await visitor.answered("You said: Hello")
    await visitor.page.get_by_role("combobox", name="Speed").select_option("1.5")
    fake.script.add("chat", Answer(text=TWO_SENTENCES))
    fake.script.add("speech", Answer(hold=True, when="second"))
    await visitor.say("Tell me something.")
    player, audio = visitor.turns.last.locator(".player"), visitor.turns.last.locator("audio")
    assert await visitor.level(audio) > LOUD
    assert await audio.evaluate("audio => audio.playbackRate") == 1.5
    await player.get_by_role("button", name="Pause").click()
    place = await visitor.seconds(audio)
    fake.script.release()
    await visitor.answered("And this is the second sentence of it.")
    await expect(player.get_by_role("button", name="Download")).to_be_visible()
    await expect(player.get_by_role("button", name="Play")).to_be_focused()
    await expect(player).to_have_attribute("data-drawn", "")
    assert await visitor.seconds(audio) == pytest.approx(place, abs=0.1)


async def test_replies_that_play_by_themselves_wait_for_each_other_and_esc_silences_them(
    visitor: Visitor, fake: FakeOpenAI
) -> None:
    await visitor.start()
    fake.script.add("chat", Answer(text=f"{TWO_SENTENCES} " * 10, when="one"))
    await visitor.page.get_by_role("button", name="Speak replies to texts").click()
    await visitor.say("one")
    await visitor.say("two")
    one, two = visitor.turns.nth(0), visitor.turns.nth(1)
    await visitor.answered("You said: two")
    await expect(two.get_by_role("button", name="Download")).to_be_visible()
    assert await two.locator("audio").evaluate("audio => audio.paused")
    assert not await one.locator("audio").evaluate("audio => audio.paused")
    await one.locator("audio").evaluate("audio => { audio.currentTime = audio.buffered.end(0) - 0.5; }")
    await expect(two.locator(".player")).to_have_attribute("data-state", "playing")
    await one.get_by_role("button", name="Play").click()
    await expect(one.locator(".player")).to_have_attribute("data-state", "playing")
    await expect(two.locator(".player")).not_to_have_attribute("data-state", "playing")
    await visitor.page.keyboard.press("Escape")
    await expect(one.locator(".player")).to_have_attribute("data-state", "paused")


async def test_a_file_is_a_voice_note_too_and_what_is_none_is_told(visitor: Visitor, fake: FakeOpenAI) -> None:
    await visitor.start()
    await visitor.choose(SAMPLES / "en_03_opus.ogg")
    await visitor.answered("You said: Hello, can you hear me clearly?")
    file = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"}
    await visitor.page.locator("input[type=file]").set_input_files(file)  # type: ignore[arg-type]
    await expect(visitor.page.get_by_text("“notes.txt” is not an audio file.")).to_be_visible()
    assert fake.script.count("transcriptions") == 1


async def test_a_voice_note_that_can_never_be_taken_is_only_to_be_discarded(visitor: Visitor, watch: Watch) -> None:
    watch.allow("status of 415")
    await visitor.start()
    await visitor.choose(SAMPLES / "bad_06_text.wav")
    await expect(visitor.states).to_contain_text("This is not audio that can be read.")
    await expect(visitor.states.get_by_role("button")).to_have_text("Discard")
    await visitor.states.get_by_role("button").click()
    await expect(visitor.turns).to_have_count(0)


class TestSmallLimits:
    """A server that takes two seconds and 80 kB."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_audio_s": 2.0, "max_upload_mb": 0.08})

    async def test_they_are_kept_and_told(self, visitor: Visitor, watch: Watch) -> None:
        watch.allow("status of 422")
        page = visitor.page
        await visitor.start()
        await visitor.start_recording()
        await visitor.state("preview")
        await expect(page.locator(".rec-note")).to_contain_text("at most 0:02 long")
        await visitor.send_recording()
        await visitor.answered(re.compile("."))
        await visitor.choose(SAMPLES / "en_01_pcm16_16k.wav")
        await expect(visitor.states).to_contain_text("The recording is over 2 seconds.")
        await page.locator("input[type=file]").set_input_files(SAMPLES / "ar_01_pcm16_16k.wav")
        await expect(page.get_by_text("The file is over 0.08 MB.")).to_be_visible()


async def test_what_runs_is_cancelled_and_the_next_ones_show_their_place(visitor: Visitor, fake: FakeOpenAI) -> None:
    await visitor.start()
    fake.script.add("chat", Answer(hold=True))
    await visitor.say("First")
    await expect(visitor.states).to_contain_text(["Thinking…"])
    await visitor.say("Second")
    await expect(visitor.states.nth(1)).to_contain_text("Waiting, 1 message before it")
    await visitor.turns.first.get_by_role("button", name="Cancel").click()
    await expect(visitor.states.first).to_contain_text("Stopped.")
    await visitor.answered("You said: Second")
    fake.script.release()


async def test_what_failed_says_why_and_is_retried(visitor: Visitor, fake: FakeOpenAI) -> None:
    await visitor.start()
    fake.script.add("chat", Answer(status=401))
    await visitor.say("Hello")
    await expect(visitor.states).to_contain_text(["The model's server refused the key it was given."])
    await visitor.page.reload()
    await expect(visitor.states).to_contain_text(["The model's server refused the key it was given."])
    await visitor.turns.last.get_by_role("button", name="Retry").click()
    await visitor.answered("You said: Hello")


async def test_a_double_click_retries_once(visitor: Visitor, fake: FakeOpenAI) -> None:
    await visitor.start()
    fake.script.add("chat", Answer(status=401))
    await visitor.say("Hello")
    asked: asyncio.Queue[Route] = asyncio.Queue()
    await visitor.page.route("**/retry", asked.put)
    await visitor.turns.last.get_by_role("button", name="Retry").dblclick()
    await (await asked.get()).continue_()
    await visitor.answered("You said: Hello")
    assert asked.empty()


async def test_a_reload_in_the_middle_of_a_job_loses_nothing(visitor: Visitor, fake: FakeOpenAI) -> None:
    await visitor.start()
    fake.script.add("chat", Answer(pieces=["It begins ", "and ends."], chunk_delay_s=0.5, hold=True))
    await visitor.say("Are you there?")
    await expect(visitor.states).to_contain_text(["Thinking…"])
    await visitor.page.reload()
    await expect(visitor.states).to_contain_text(["Thinking…"])
    fake.script.release()
    await visitor.answered("It begins and ends.")
    await expect(visitor.turns).to_have_count(1)


async def test_a_microphone_that_was_denied_is_told_with_what_to_do_until_something_else_is_done(
    browser: Browser, watch: Watch, parley: Live
) -> None:
    async with await browser.new_context() as context:
        visitor = Visitor(await watched(context, watch), base_of(parley))
        await visitor.start()
        note = visitor.page.locator(".rec-note")
        await visitor.button("rec.record").click()
        await expect(note).to_have_text(visitor.words["rec.denied"])
        await visitor.page.keyboard.press("Escape")
        await expect(note).to_be_hidden()
        await visitor.button("rec.record").click()
        await expect(note).to_have_text(visitor.words["rec.denied"])
        await visitor.message.press_sequentially("Then")
        await expect(note).to_be_hidden()
        await visitor.say("Then I write.")
        await visitor.answered("You said: Then I write.")


async def test_arabic_runs_from_right_to_left_and_players_do_not(visitor: Visitor, fake: FakeOpenAI) -> None:
    page = visitor.page
    await visitor.start()
    await page.get_by_role("button", name="العربية").click()
    await expect(page.locator("html")).to_have_attribute("dir", "rtl")
    await expect(page.locator("html")).to_have_attribute("lang", "ar")
    fake.script.add("chat", Answer(text="أهلا بك\n\n- الفطور في الثامنة\n- المسبح مفتوح"))
    await visitor.say("مرحبا، كيف حالك اليوم؟")
    turn = await visitor.answered("أهلا بك", turn=0)
    english = "Hello there, how are you?"
    await visitor.say(english)
    await visitor.answered(f"You said: {english}")
    directions = "words => words.map((one) => getComputedStyle(one).direction)"
    assert await page.locator(".message.theirs .words").evaluate_all(directions) == ["rtl", "ltr"]
    assert set(await turn.locator(".words :is(p, ul, li)").evaluate_all(directions)) == {"rtl"}
    side = await page.locator("aside").bounding_box()
    log = await turn.bounding_box()
    assert side
    assert log
    assert side["x"] > log["x"], "the side bar stands on the right"
    await visitor.choose(SAMPLES / "ar_03_opus.ogg")
    await expect(page.locator(".turn .player").first).to_have_attribute("dir", "ltr")
    await page.reload()
    await expect(page.locator("html")).to_have_attribute("dir", "rtl")
    await page.get_by_role("button", name="English").click()
    await expect(page.locator("html")).to_have_attribute("dir", "ltr")


async def test_the_keyboard_alone_is_enough(visitor: Visitor, fake: FakeOpenAI) -> None:
    page = visitor.page
    await visitor.open()
    await expect(page.get_by_role("button", name="Start talking")).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_text("Skip to the conversation")).to_be_focused()
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.textContent.trim()") == "Start talking":
            break
    await page.keyboard.press("Enter")
    await expect(visitor.message).to_be_focused()
    await page.keyboard.type("Hello")
    await page.keyboard.press("Enter")
    await visitor.answered("You said: Hello")
    reached = set()
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement === document.body"):
            continue  # past the last one, outside of the page
        reached.add(
            await page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent.trim()")
        )
        ring = "[document.activeElement, document.activeElement.closest('.composer')].some((one) => one && getComputedStyle(one).outlineStyle !== 'none')"
        assert await page.evaluate(ring), (
            f"no visible focus on {await page.evaluate('document.activeElement.outerHTML')}"
        )
    assert {"Record", "New conversation", "Settings", "Choose an audio file", "New agent"} <= reached
    assert fake.script.count("chat") == 1


async def test_states_and_replies_are_told_to_screen_readers(visitor: Visitor, fake: FakeOpenAI) -> None:
    await visitor.start()
    watching = """() => {
      window.told = [];
      for (const region of document.querySelectorAll('[aria-live], [role=status], [role=alert]'))
        new MutationObserver(() => window.told.push(region.textContent)).observe(region, {childList: true, subtree: true, characterData: true});
    }"""
    await visitor.page.evaluate(watching)
    fake.script.add("chat", Answer(text="Here I am.", delay_s=0.3))
    await visitor.choose(SAMPLES / "en_03_opus.ogg")
    await visitor.answered("Here I am.")
    await visitor.page.wait_for_function("told.some((one) => one.includes('Here I am.'))")
    told = await visitor.page.evaluate("told")
    assert any("Heard: " in one and "Thinking" in one for one in told), "one does not take the other's place"


async def test_another_tab_that_goes_offline_says_so_and_sends_later(
    visitor: Visitor, context: BrowserContext, watch: Watch
) -> None:
    watch.allow("ERR_INTERNET_DISCONNECTED")
    await visitor.start()
    await visitor.say("First")
    await visitor.answered("You said: First")
    await context.set_offline(True)
    await expect(visitor.page.get_by_text("You are offline.")).to_be_visible()
    await visitor.say("Later")
    await expect(visitor.states).to_contain_text(["Waiting for the connection…"])
    await context.set_offline(False)
    await visitor.answered("You said: Later")
    await expect(visitor.turns).to_have_count(2)


async def long_conversation(live: Live, turns: int) -> str:
    """A session with so many turns that have ended."""
    session = await live.session(name="Long")
    first = await live.done(await live.text(session["id"], "First"))
    async with live.resources.database.write() as db:
        known = await db.get(Job, UUID(first["id"]))
        assert known
        assert known.session_id
        owner = known.owner_id
        for number in range(turns):
            seq = 3 + 2 * number
            job = Job(owner_id=owner, session_id=known.session_id, seq=seq, kind=MessageKind.TEXT, status=JobStatus.SUCCEEDED,
                      attempts_left=1, deadline_at=known.deadline_at)  # fmt: skip
            db.add(job)
            await db.flush()
            for role, text in (
                (MessageRole.USER, f"Question {number}"),
                (MessageRole.ASSISTANT, f"**Answer** {number}"),
            ):
                at = seq + (role == MessageRole.ASSISTANT)
                db.add(Message(owner_id=owner, session_id=known.session_id, job_id=job.id, seq=at, role=role,
                               kind=MessageKind.TEXT, text=text, language="en"))  # fmt: skip
    return str(session["id"])


async def test_a_conversation_of_two_thousand_messages_opens_at_its_end_and_scrolls_to_its_beginning(
    visitor: Visitor, parley: Live
) -> None:
    session_id = await long_conversation(parley, 1_000)
    await visitor.open(f"/#/s/{session_id}")
    await expect(visitor.page.get_by_text("Question 999", exact=True)).to_be_visible()
    assert await visitor.turns.count() < 200, "what is not looked at is not loaded"
    log = visitor.page.locator(".turn").first
    for _ in range(60):
        await log.evaluate("turn => turn.scrollIntoView()")
        await asyncio.sleep(0.05)
        if await visitor.page.get_by_text("First", exact=True).count():
            break
    await expect(visitor.page.get_by_text("First", exact=True)).to_be_visible()
    await expect(visitor.turns).to_have_count(1_001)
    numbers = await visitor.page.locator(".message.mine .words").all_inner_texts()
    found = [int(match[1]) for text in numbers if (match := re.fullmatch(r"Question (\d+)", text.strip()))]
    assert found == sorted(found)
    answer = await parley.http.get(f"{API}/session/{session_id}")
    assert answer.status_code == 200
