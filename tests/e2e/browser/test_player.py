"""The player of stored sounds: it sounds, one at a time, and is worked by pointer and keys."""

from pathlib import Path

import pytest
from playwright.async_api import Locator, expect

from tests.e2e.browser.bench import Bench
from tests.e2e.browser.watch import Watch
from tests.fakes.mp3 import mp3_of

LOUD = 0.02


async def given(person: Bench, path: str = "/bench/tone-30.mp3", **options: object) -> Locator:
    """One more player."""
    number = await person.page.locator(".player").count()
    await person.page.evaluate("([path, options]) => bench.player(path, options)", [path, options])
    return person.page.locator(".player").nth(number)


async def test_it_plays_and_pauses(person: Bench) -> None:
    await person.begin()
    player = await given(person, durationS=30, messageId="m1")
    await expect(player.locator(".player-time")).to_have_text("0:00 / 0:30")
    await player.get_by_role("button", name="Play").click()
    await expect(player).to_have_attribute("data-state", "playing")
    assert await person.level(player.locator("audio")) > LOUD
    await player.get_by_role("button", name="Pause").click()
    await expect(player).to_have_attribute("data-state", "paused")
    at = await person.seconds(player.locator("audio"))
    assert at > 0
    await player.get_by_role("button", name="Play").click()
    await expect(player).to_have_attribute("data-state", "playing")
    assert await person.seconds(player.locator("audio")) >= at
    await player.get_by_role("button", name="Stop").click()
    await expect(player.locator(".player-time")).to_have_text("0:00 / 0:30")
    await expect(player).to_have_attribute("data-state", "paused")


@pytest.mark.parametrize(
    "file", ["en_07_opus_live.webm", "en_03_opus.ogg", "en_08_aac_faststart.m4a", "en_11_cbr_id3.mp3"]
)
async def test_what_browsers_record_is_played_and_sought_too(person: Bench, file: str) -> None:
    await person.begin()
    player = await given(person, f"/bench/{file}")
    await expect(player).to_have_attribute("data-drawn", "")
    await player.get_by_role("slider").press("End")
    await player.get_by_role("slider").press("ArrowLeft")
    assert await person.seconds(player.locator("audio")) > 0.5
    await player.get_by_role("slider").press("Home")
    await player.get_by_role("button", name="Play").click()
    assert await person.level(player.locator("audio")) > LOUD


async def test_it_is_sought_by_pointer(person: Bench) -> None:
    await person.begin()
    player = await given(person, durationS=30)
    box = await player.get_by_role("slider").bounding_box()
    assert box
    await person.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await expect(player.locator(".player-time")).to_have_text("0:15 / 0:30")
    await expect(player).to_have_attribute("data-drawn", "")
    await person.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)
    await person.page.mouse.down()
    await person.page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 5)
    await person.page.mouse.up()
    assert await person.seconds(player.locator("audio")) == pytest.approx(27, abs=0.5)


async def test_it_is_sought_by_keys(person: Bench) -> None:
    await person.begin()
    player = await given(person, durationS=30)
    slider = player.get_by_role("slider")
    await slider.focus()
    for key, place in (
        ("ArrowRight", 1),
        ("ArrowUp", 2),
        ("PageUp", 5),
        ("ArrowLeft", 4),
        ("End", 30),
        ("PageDown", 27),
        ("Home", 0),
    ):
        await slider.press(key)
        await expect(slider).to_have_attribute("aria-valuenow", str(place))
    await expect(slider).to_have_attribute("aria-valuetext", "0:00 of 0:30")
    await expect(slider).to_have_attribute("aria-valuemax", "30")
    await slider.press("Space")
    await expect(player).to_have_attribute("data-state", "playing")


async def test_its_speed_is_every_players(person: Bench) -> None:
    await person.begin()
    first, second = await given(person, durationS=30), await given(person, durationS=30)
    await first.get_by_label("Speed").select_option("2")
    for player in (first, second):
        await player.get_by_role("button", name="Play").click()
        await expect(player).to_have_attribute("data-state", "playing")
        assert await player.locator("audio").evaluate("audio => audio.playbackRate") == 2
        await expect(player.get_by_label("Speed")).to_have_value("2")
    assert await first.get_by_label("Speed").locator("option").all_text_contents() == [
        "0.75×", "1×", "1.25×", "1.5×", "1.75×", "2×",
    ]  # fmt: skip


async def test_one_sounds_at_a_time(person: Bench) -> None:
    await person.begin()
    first, second = await given(person, durationS=30), await given(person, durationS=30)
    await first.get_by_role("button", name="Play").click()
    await expect(first).to_have_attribute("data-state", "playing")
    await second.get_by_role("button", name="Play").click()
    await expect(second).to_have_attribute("data-state", "playing")
    await expect(first).to_have_attribute("data-state", "paused")
    await person.recorder()
    await person.start_recording()
    await expect(second).to_have_attribute("data-state", "paused")


async def test_its_file_is_kept_under_its_name(person: Bench, tmp_path: Path) -> None:
    await person.begin()
    player = await given(person, "/bench/tone-3.mp3", downloadName="reply.mp3")
    async with person.page.expect_download() as download:
        await player.get_by_role("button", name="Download").click()
    file = await download.value
    assert file.suggested_filename == "reply.mp3"
    await file.save_as(tmp_path / "kept.mp3")
    assert (tmp_path / "kept.mp3").read_bytes() == mp3_of(3)


async def test_what_cannot_be_fetched_is_said_and_tried_again(person: Bench, watch: Watch) -> None:
    watch.allow("503 .Service Unavailable")
    await person.begin()
    answers = iter([503])
    await person.page.route("**/flaky.mp3", lambda route: route.fulfill(status=next(answers, 200), body=mp3_of(3)))
    await person.page.evaluate(
        "document.querySelector('#players').prepend(Object.assign(document.createElement('div'), {className: 'far'}))"
    )
    player = await given(person, "/flaky.mp3")
    await player.get_by_role("button", name="Play").evaluate("button => button.click()")
    await expect(player.locator(".player-error")).to_have_text(person.words["play.failed"])
    await player.get_by_role("button", name="Play").click()
    await expect(player).to_have_attribute("data-state", "playing")
    await expect(player.locator(".player-error")).to_be_hidden()


async def test_what_is_no_sound_is_said(person: Bench) -> None:
    await person.begin()
    player = await given(person, "/bench/bad_04_garbage.mp3")
    await player.get_by_role("button", name="Play").click()
    await expect(player.locator(".player-error")).to_have_text(person.words["play.failed"])
    await expect(player).to_have_attribute("data-state", "error")


async def test_thousands_cost_nothing_until_they_are_seen(person: Bench) -> None:
    await person.begin()
    await person.page.evaluate("for (let n = 0; n < 2000; n += 1) bench.player('/bench/tone-2.mp3', {durationS: 2})")
    await person.page.wait_for_selector("[data-drawn]")
    assert await person.ask("loads") < 40
    last = person.page.locator(".player").nth(1_999)
    await expect(last).not_to_have_attribute("data-drawn", "")
    await last.scroll_into_view_if_needed()
    await expect(last).to_have_attribute("data-drawn", "")
    assert await person.ask("loads") < 80, "those between were not loaded"
    await last.get_by_role("button", name="Play").click()
    await expect(last).to_have_attribute("data-state", "playing")
    await person.ask("players.forEach((player) => player.destroy())")
    assert await person.page.locator(".player").count() == 0


async def test_those_that_were_seen_long_ago_are_forgotten_and_found_again(person: Bench) -> None:
    await person.begin()
    await person.page.evaluate("for (let n = 0; n < 70; n += 1) bench.player('/bench/tone-2.mp3', {durationS: 2})")
    players = person.page.locator(".player")
    for number in (0, 30, 69):
        await players.nth(number).scroll_into_view_if_needed()
        await expect(players.nth(number)).to_have_attribute("data-drawn", "")
    await expect(players.first).not_to_have_attribute("data-drawn", "")
    assert await person.page.locator(".player audio[src]").count() <= 40
    await players.first.scroll_into_view_if_needed()
    await expect(players.first).to_have_attribute("data-drawn", "")
