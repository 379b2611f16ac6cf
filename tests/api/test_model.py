"""What models there are, and warnings of those that end."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from shared.audio.pool import AudioPool
from shared.catalogue import Catalogue, retiring
from shared.config import Settings
from shared.provider_presets import ModelRef
from tests.live import API, Live, live_parley

THEIRS = """
[[model]]
id = "openai/gpt-6-luna"
kind = "chat"
per_million_input_tokens = 7
per_million_output_tokens = 8.125

[[model]]
id = "openai/gpt-4o-mini-tts"
kind = "tts"
per_million_characters = 1
retires_on = {end}

[[model]]
id = "openai/whisper-1"
kind = "stt"
per_audio_minute = 0.006
retires_on = {end}
"""


async def test_the_models_are_those_of_the_configured_providers(parley: Live) -> None:
    body = (await parley.http.get(f"{API}/model")).json()
    assert body["next_cursor"] is None
    models = {(one["kind"], one["id"]): one for one in body["items"]}
    assert {one["provider"] for one in body["items"]} == {"openai", "offline"}
    defaults = {kind: name for (kind, name), one in models.items() if one["is_default"]}
    assert defaults == {"chat": "openai/gpt-6-luna", "stt": "openai/gpt-transcribe", "tts": "openai/gpt-4o-mini-tts"}
    chat = models["chat", "openai/gpt-6-luna"]
    assert chat["context_window"] == 1_050_000
    assert chat["prices"] == {
        "per_million_input_tokens": "0.1",
        "per_million_output_tokens": "0.5",
        "per_audio_minute": None,
        "per_million_characters": None,
    }
    assert models["tts", "openai/gpt-4o-mini-tts"]["retires_on"] == "2027-01-06"


async def test_an_operators_file_overrules_ours_and_an_ending_model_in_use_is_warned_of(
    settings: Settings, audio_pool: AudioPool, tmp_path: Path
) -> None:
    end = datetime.now(UTC).date() + timedelta(days=20)
    file = tmp_path / "models.toml"
    file.write_text(THEIRS.format(end=end))
    theirs = settings.model_copy(update={"model_catalogue": file})
    async with live_parley(theirs, audio_pool, work=False) as live:
        models = {one["id"]: one for one in (await live.http.get(f"{API}/model")).json()["items"]}
        assert models["openai/gpt-6-luna"]["prices"]["per_million_output_tokens"] == "8.125"
        assert models["openai/gpt-6-luna"]["context_window"] is None
        assert "openai/whisper-1" in models
        ready: httpx.Response = await live.http.get("/health/ready")
        assert ready.json()["warnings"] == [f"openai/gpt-4o-mini-tts ends on {end}: choose another model"]
        assert ready.status_code == 200
        await live.agent(ai_stt="openai/whisper-1")
    async with live_parley(theirs, audio_pool, work=False) as live:  # what agents name is looked at again
        warnings = (await live.http.get("/health/ready")).json()["warnings"]
        assert [warning.split()[0] for warning in warnings] == ["openai/gpt-4o-mini-tts", "openai/whisper-1"]


def test_a_model_is_warned_of_in_its_last_sixty_days_and_after() -> None:
    model = Catalogue.load().get("chat", ModelRef("openai", "gpt-4o"))
    assert model.retires_on == date(2027, 1, 14)
    assert retiring([[model]], date(2026, 11, 14)) == []
    assert retiring([[model]], date(2026, 11, 15)) == ["openai/gpt-4o ends on 2027-01-14: choose another model"]
    assert retiring([[model]], date(2027, 1, 14)) == ["openai/gpt-4o has ended on 2027-01-14: choose another model"]
    follower = Catalogue.load().get("chat", ModelRef("openai", "gpt-6-luna"))
    assert retiring([[model, follower]], date(2027, 1, 14)) == [
        "openai/gpt-4o has ended on 2027-01-14: openai/gpt-6-luna follows"
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[model", "Expected"),
        ('[[model]]\nid = "x"\nkind = "chat"', "id"),
        ('[[model]]\nid = "x/y"\nkind = "video"', "kind"),
        ('[[model]]\nid = "x/y"\nkind = "chat"\nper_million_input_tokens = -1', "per_million_input_tokens"),
        ('[[model]]\nid = "x/y"\nkind = "chat"\nper_million_input_tokens = 1', "per_million_output_tokens"),
        ('[[model]]\nid = "x/y"\nkind = "tts"\nper_audio_minute = 1', "per_million_characters"),
        ('[[model]]\nid = "x/y"\nkind = "tts"\nprice = 1', "price"),
        ('[[models]]\nid = "x/y"', "models"),
    ],
)
def test_a_file_that_is_not_as_it_should_be_stops_the_start_with_one_line(
    text: str, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "models.toml").write_text(text)
    with pytest.raises(SystemExit, match=complaint) as stopped:
        Catalogue.load(tmp_path / "models.toml")
    assert str(tmp_path / "models.toml") in str(stopped.value)
    with pytest.raises(SystemExit, match="No such file"):
        Catalogue.load(tmp_path / "missing.toml")
