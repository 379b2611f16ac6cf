"""Recorder and players for everybody: in both languages and schemes, for fingers, and without motion."""

import re

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Locator, Page, expect

from tests.e2e.browser.bench import Bench

GRAVE = {"serious", "critical"}
ARABIC = re.compile(r"[\u0600-\u06ff]")


async def assert_nothing_grave(page: Page) -> None:
    """Nothing that axe-core calls serious or critical."""
    found = (await Axe().run(page)).response["violations"]
    told = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found if one["impact"] in GRAVE]
    assert told == []


async def with_players(person: Bench, lang: str) -> Locator:
    await person.begin(lang)
    await person.page.evaluate("bench.player('/bench/tone-30.mp3', {durationS: 30}); bench.stream('/bench/tone-9.mp3')")
    await expect(person.page.locator("[data-drawn]")).to_have_count(1)
    await person.recorder()
    return person.page.locator(".player").first


@pytest.mark.parametrize(("lang", "scheme"), [("en", "dark"), ("ar", "light")])
async def test_axe_finds_nothing_grave_whatever_they_do(person: Bench, lang: str, scheme: str) -> None:
    await person.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    player = await with_players(person, lang)
    await assert_nothing_grave(person.page)
    await person.button("play.play").first.click()
    await expect(player).to_have_attribute("data-state", "playing")
    await person.start_recording()
    await assert_nothing_grave(person.page)
    await person.speak(0.5)
    await person.stop_recording()
    await assert_nothing_grave(person.page)
    await person.ask("rec.destroy()")
    await person.recorder(isHasty=True)
    await person.button("rec.record").click()
    await person.state("error")
    await assert_nothing_grave(person.page)


async def test_in_arabic_it_runs_from_right_to_left_but_for_the_player(person: Bench) -> None:
    player = await with_players(person, "ar")
    recorder = person.page.locator(".rec")
    assert await recorder.evaluate("element => getComputedStyle(element).direction") == "rtl"
    assert await player.evaluate("element => getComputedStyle(element).direction") == "ltr"
    names = await person.page.evaluate("[...document.querySelectorAll('[aria-label]')].map((one) => one.ariaLabel)")
    assert len(names) > 10
    assert [name for name in names if not ARABIC.search(name)] == []
    await expect(person.page.get_by_role("button", name="تسجيل", exact=True)).to_be_visible()


async def test_both_languages_say_the_same_things(person: Bench) -> None:
    await person.begin()
    english, arabic = await person.ask("strings.en"), await person.ask("strings.ar")
    assert list(english) == list(arabic)
    for key, words in english.items():
        assert ARABIC.search(arabic[key]), key
        assert not ARABIC.search(words), key
        assert sorted(re.findall(r"\{\w+\}", words)) == sorted(re.findall(r"\{\w+\}", arabic[key])), key


async def test_on_a_small_screen_everything_fits_and_is_big_enough_for_a_finger(person: Bench) -> None:
    await person.page.set_viewport_size({"width": 360, "height": 700})
    await with_players(person, "en")
    await person.record(0.5)
    sizes = await person.page.evaluate(SIZES)
    assert len(sizes) > 9
    assert [size for size in sizes if min(size[1:]) < 44] == []
    assert await person.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_without_motion_nothing_moves_of_itself(person: Bench) -> None:
    await person.page.emulate_media(reduced_motion="reduce")
    await with_players(person, "en")
    await person.start_recording()
    assert await person.page.evaluate("document.getAnimations().length") == 0
    await expect(person.page.locator(".rec-wave > *")).to_have_count(0)


async def test_what_has_the_focus_shows_it(person: Bench) -> None:
    await with_players(person, "en")
    await person.page.locator("#begin").focus()
    seen = []
    for _ in range(7):
        await person.page.keyboard.press("Tab")
        name, outline = await person.page.evaluate(FOCUSED)
        seen.append(name)
        assert outline >= 2, name
    assert seen[:5] == ["Play", "Position", "Speed", "Stop", "Download"]


SIZES = """[...document.querySelectorAll('.sound-button, .player select, [role=slider]')]
  .filter((one) => one.checkVisibility())
  .map((one) => [one.ariaLabel || one.textContent, one.getBoundingClientRect().width, one.getBoundingClientRect().height])
"""
FOCUSED = """(() => {
  const style = getComputedStyle(document.activeElement);
  return [document.activeElement.ariaLabel, style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth)];
})()"""
