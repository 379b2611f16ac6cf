"""The pictures of the README, made by the visitor who tests the page: `make pictures`."""

import os
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from shared.config import Settings
from tests.conftest import ROOT
from tests.e2e.browser.camera import filming, take
from tests.e2e.browser.conftest import base_of, watched
from tests.e2e.browser.test_sign_in import guarded_by
from tests.e2e.browser.visitor import Visitor
from tests.e2e.browser.watch import Watch
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import Live

SIZES: dict[str, ViewportSize] = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
FILM: ViewportSize = {"width": 960, "height": 600}
MOST_FILM_BYTES = 2_500_000
MOST_PICTURE_BYTES = 250_000
CREATE = """async ([agent, names]) => {
  const api = await import('/static/api.js');
  const { id } = await api.post('agent', agent);
  let session = null;
  for (const name of names) session = await api.post('session', { agent_id: id, name });
  return session.id;
}"""
CHOOSE = "lang => localStorage['parley.settings'] = JSON.stringify({lang, autoPlay: false})"
AUTO_PLAY = "localStorage['parley.settings'] = JSON.stringify({lang: 'en', autoPlay: true})"


@dataclass(frozen=True)
class Scene:
    """What is said, in one language."""

    guest: str
    agent: dict[str, Any]
    before: list[str]  # the names of other conversations
    session: str
    question: str
    reply: str
    heard: str
    language: str
    spoken: str
    key: str


ENGLISH = Scene(
    guest="maryam",
    agent={
        "name": "Concierge",
        "prompt": "You answer the guests of the Jasmine, a small hotel in Amman. Breakfast is from seven to ten.",
        "personality": "Warm, brief, never salesy.",
        "languages": ["en", "ar"],
    },
    before=["Late check-out", "A table for four"],
    session="A day in Amman",
    question="What can we do this morning, with two children?",
    reply="Good morning, Maryam! Three places close by:\n\n1. **The Citadel**, ten minutes by taxi. Go before the sun is high.\n2. **The Children's Museum**, open from nine.\n3. **Rainbow Street**, for falafel on the way back.\n\nShall I call a taxi?",
    heard="Yes please, at half past nine. And do you have a high chair at breakfast?",
    language="english",
    spoken="Your taxi comes at half past nine. There is a high chair in the breakfast room, by the window.",
    key="Reception tablet",
)
ARABIC = Scene(
    guest="مريم",
    agent={
        "name": "موظف الاستقبال",
        "prompt": "أنت تجيب ضيوف فندق الياسمين، وهو فندق صغير في عمّان. الفطور من السابعة إلى العاشرة.",
        "personality": "ودود، موجز، لا يلحّ في البيع.",
        "languages": ["ar", "en"],
    },
    before=["مغادرة متأخرة", "طاولة لأربعة"],
    session="يوم في عمّان",
    question="ماذا يمكننا أن نفعل هذا الصباح مع طفلين؟",
    reply="صباح الخير يا مريم! ثلاثة أماكن قريبة:\n\n1. **جبل القلعة**، عشر دقائق بالسيارة. اذهبوا قبل أن تشتدّ الشمس.\n2. **متحف الأطفال**، يفتح في التاسعة.\n3. **شارع الرينبو**، لتناول الفلافل في طريق العودة.\n\nهل أطلب لكم سيارة أجرة؟",  # noqa: RUF001
    heard="نعم من فضلك، في التاسعة والنصف. وهل يوجد لديكم كرسي للأطفال عند الفطور؟",
    language="arabic",
    spoken="تصل سيارتكم في التاسعة والنصف. وفي قاعة الفطور كرسي للأطفال بجانب النافذة.",
    key="جهاز الاستقبال",
)
SCENES = {"en": ENGLISH, "ar": ARABIC}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Replies are written by the script, and spoken by a voice that a wave can be seen of."""
    models = {"ai_chat": "openai/gpt-6-luna", "ai_stt": "openai/gpt-transcribe", "ai_tts": "offline/offline"}
    return guarded_by(settings).model_copy(update={**models, "default_balance": Decimal(5)})


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Where the pictures go: PARLEY_PICTURES, or nowhere that is kept."""
    folder = ROOT / os.environ["PARLEY_PICTURES"] if "PARLEY_PICTURES" in os.environ else tmp_path / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def first_visit(visitor: Visitor, scene: Scene, lang: str) -> None:
    """An account, and nothing in it yet."""
    page = visitor.page
    await visitor.open()
    await page.evaluate(CHOOSE, lang)
    await visitor.open()
    await page.locator(".card > .ghost-button:not([lang])").click()
    await page.locator("[name=username]").fill(scene.guest)
    await page.locator("[name=password]").fill("correct horse")
    await page.locator("[type=submit]").click()
    await expect(page.locator(".empty .button")).to_be_visible()


async def talk(visitor: Visitor, fake: FakeOpenAI, scene: Scene) -> None:
    """A text and its reply, a voice note and its spoken one; conversations from before beside them."""
    page = visitor.page
    fake.script.always("transcriptions", Answer(text=scene.heard, language=scene.language))
    fake.script.add("chat", Answer(text=scene.reply), Answer(text=scene.spoken))
    session_id = await page.evaluate(CREATE, [scene.agent, [*scene.before, scene.session]])
    await page.goto(f"{visitor.base}/#/s/{session_id}")
    await page.reload()
    await visitor.say(scene.question)
    await visitor.answered(scene.reply.rsplit("\n", maxsplit=1)[-1])
    await visitor.record(2.5)
    await visitor.send_recording()
    turn = await visitor.answered(scene.spoken)
    await expect(turn.locator(".player[data-drawn]")).to_have_count(2)


async def picture(page: Page, album: Path, view: str, lang: str) -> None:
    """A view in both themes, on a desk and on a phone."""
    await page.mouse.move(0, 0)
    for size, viewport in SIZES.items():
        await page.set_viewport_size(viewport)
        for theme in ("light", "dark"):
            await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
            path = album / f"{view}-{lang}-{size}-{theme}.webp"
            await take(page, path)
            assert 0 < path.stat().st_size < MOST_PICTURE_BYTES, path.name


@pytest.mark.parametrize("lang", list(SCENES) if "PARLEY_PICTURES" in os.environ else ["ar"])  # CI sees one of them
async def test_the_main_views_have_their_pictures(
    parley: Live, page: Page, fake: FakeOpenAI, album: Path, lang: str
) -> None:
    scene = SCENES[lang]
    visitor = Visitor(page, base_of(parley))
    await page.set_viewport_size(SIZES["desktop"])
    await first_visit(visitor, scene, lang)
    await picture(page, album, "first", lang)
    await page.set_viewport_size(SIZES["desktop"])
    await talk(visitor, fake, scene)
    await picture(page, album, "conversation", lang)

    await page.locator(".head .more").click()
    await page.locator(".menu:popover-open button").nth(1).click()
    await expect(page.locator("dialog")).to_be_visible()
    await picture(page, album, "agent", lang)
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)

    await page.goto(f"{visitor.base}/#/account")
    await page.locator(".panel-head .ghost-button").click()
    await page.locator("dialog input[type=text]").fill(scene.key)
    await page.locator("dialog [type=submit]").click()
    await page.locator("dialog .actions .button").click()
    await expect(page.locator("tfoot")).to_be_visible()
    await expect(page.locator(".keys li")).to_have_count(1)
    await picture(page, album, "account", lang)


async def test_a_walk_from_the_first_agent_to_a_spoken_reply_is_filmed(
    browser: Browser, parley: Live, fake: FakeOpenAI, watch: Watch, album: Path
) -> None:
    async with await browser.new_context(permissions=["microphone"], viewport=FILM, color_scheme="light") as context:
        visitor = Visitor(await watched(context, watch), base_of(parley))
        await first_visit(visitor, ENGLISH, "en")
        await visitor.page.evaluate(AUTO_PLAY)
        await visitor.open()
        path = album / "walk.webp"
        async with filming(visitor.page, path):
            await walk(visitor, fake)
    film = path.read_bytes()
    assert film[8:12] == b"WEBP"
    assert film.count(b"ANMF") > 30, "it moves"
    assert len(film) < MOST_FILM_BYTES


async def walk(visitor: Visitor, fake: FakeOpenAI) -> None:
    """Make an agent, ask it something in writing and something aloud, and hear the reply."""
    page = visitor.page
    words = re.findall(r"\S+\s*", ENGLISH.reply)
    fake.script.add("chat", Answer(pieces=words, chunk_delay_s=0.07), Answer(text=ENGLISH.spoken))
    fake.script.always("transcriptions", Answer(text=ENGLISH.heard, language="english", delay_s=0.6))
    await page.wait_for_timeout(700)
    await page.get_by_role("button", name="New agent", exact=True).click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Name", exact=True).press_sequentially("Concierge", delay=60)
    await dialog.get_by_label("What it is and does").press_sequentially(
        "You answer the guests of a small hotel.", delay=25
    )
    await page.wait_for_timeout(300)
    await dialog.get_by_role("button", name="Save", exact=True).click()
    await page.get_by_role("button", name="New conversation with Concierge").click()
    await visitor.message.press_sequentially(ENGLISH.question, delay=30)
    await page.keyboard.press("Enter")
    await visitor.answered("Shall I call a taxi?")
    await page.wait_for_timeout(600)
    await visitor.record(2.5)
    await page.wait_for_timeout(500)
    await visitor.send_recording()
    await visitor.answered(ENGLISH.spoken)
    await expect(page.locator("audio").last).to_have_js_property("paused", value=False)
    await page.wait_for_timeout(3_000)
