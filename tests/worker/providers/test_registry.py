"""Which model plays which role."""

from collections.abc import AsyncIterator, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.config import Settings
from shared.errors import Upstream
from tests.fakes.openai_server import FakeOpenAI
from worker.providers.assemblyai import AssemblyAIProvider
from worker.providers.base import ChatMessage, ChatUsage
from worker.providers.offline import OfflineProvider
from worker.providers.openai import OpenAIProvider
from worker.providers.realtime import RealtimeProvider
from worker.providers.registry import Models
from worker.providers.watsonx import WatsonxProvider

SERVERS = {"Groq": {"base_url": "http://127.0.0.1:9/v1", "api_key": "gsk-secret"}}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AI_CHAT", "AI_STT", "AI_TTS", "ENV"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


class Opened:
    """Opens registries and closes them all."""

    def __init__(self) -> None:
        self._models: list[Models] = []

    def __call__(self, today: date | None = None, **values: Any) -> Models:
        settings = Settings(_env_file=None, **values)
        self._models.append(Models(settings, lambda: today) if today else Models(settings))
        return self._models[-1]

    async def close(self) -> None:
        for models in self._models:
            await models.close()


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    opened = Opened()
    yield opened
    await opened.close()


def names(models: Models) -> list[list[str]]:
    return [[model.entry.id for model in role] for role in (models.chat(), models.stt(), models.tts())]


async def test_nothing_configured_is_the_offline_engine(opened: Opened) -> None:
    models = opened()
    assert names(models) == [["offline/offline"]] * 3
    assert isinstance(models.chat()[0].provider, OfflineProvider)


@pytest.mark.parametrize("values", [{"openai_api_key": "sk-x"}, {"openai_base_url": "http://127.0.0.1:9/v1"}])
async def test_a_key_or_a_base_url_is_enough_for_openai(opened: Opened, values: dict[str, Any]) -> None:
    models = opened(**values)
    assert names(models) == [
        ["openai/gpt-6-luna"],
        ["openai/gpt-transcribe"],
        ["openai/gpt-4o-mini-tts", "openai/gpt-realtime-2.1-mini"],
    ]
    assert isinstance(models.chat()[0].provider, OpenAIProvider)


async def test_each_role_has_its_own_provider_and_each_server_one_instance(opened: Opened) -> None:
    models = opened(ai_chat="groq/meta/llama-4", ai_stt="GROQ/whisper", ai_tts="offline/offline", providers=SERVERS)
    assert names(models) == [["groq/meta/llama-4"], ["groq/whisper"], ["offline/offline"]]
    assert id(models.chat()[0].provider) == id(models.stt()[0].provider)
    assert isinstance(models.tts()[0].provider, OfflineProvider)


async def test_each_wire_has_its_own_provider(opened: Opened) -> None:
    models = opened(
        ai_chat="watsonx/ibm/granite,groq/x",
        ai_stt="assemblyai/universal-2",
        ai_tts="openai/gpt-realtime-2.1-mini",
        openai_api_key="sk-x",
        wx_api_key="k",
        wx_url="https://wx.example",
        wx_project_id="p",
        providers={**SERVERS, "assemblyai": {"api_key": "k"}},
    )
    kinds = [type(model.provider) for model in (*models.chat(), *models.stt(), *models.tts())]
    assert kinds == [WatsonxProvider, OpenAIProvider, AssemblyAIProvider, RealtimeProvider]


async def test_an_agents_own_models_stand_in_place_of_the_default(opened: Opened) -> None:
    models = opened(openai_api_key="sk-x", providers=SERVERS)
    own = models.chat("groq/llama, openai/gpt-6-sol")
    assert [(model.provider_name, model.model) for model in own] == [("groq", "llama"), ("openai", "gpt-6-sol")]
    assert id(models.stt("groq/whisper")[0].provider) == id(own[0].provider)


@pytest.mark.parametrize(
    "ref", ["nobody/model", "nothing", "", "/", "openai/", "openai/x,/", "nobody/model,offline/else"]
)
async def test_an_agents_unknown_model_fails_for_good(opened: Opened, ref: str) -> None:
    with pytest.raises(Upstream) as caught:
        opened(openai_api_key="sk-x").chat(ref)
    assert (caught.value.code, caught.value.transient) == ("model_not_found", False)


async def test_of_several_those_that_nobody_serves_are_left_out(opened: Opened) -> None:
    models = opened(openai_api_key="sk-x", providers={"assemblyai": {"api_key": "k"}})
    listed = models.chat("nobody/model, assemblyai/x, openai/gpt-6-sol, offline/else")
    assert [model.entry.id for model in listed] == ["openai/gpt-6-sol"]


@pytest.mark.parametrize("variable", ["AI_CHAT", "AI_STT", "AI_TTS"])
@pytest.mark.parametrize("value", ["gpt-6-luna", "nobody/model", "/model", "openai/", "offline/else"])
async def test_a_wrong_default_stops_the_start_and_names_the_variable(
    opened: Opened, variable: str, value: str
) -> None:
    with pytest.raises(ValueError, match=variable):
        opened(None, **{variable.lower(): value})


async def test_a_wrong_base_url_stops_the_start_without_telling_the_key(opened: Opened) -> None:
    with pytest.raises(ValueError, match="openai_base_url") as caught:
        opened(openai_api_key="sk-secret", openai_base_url="localhost:8000")
    assert "sk-secret" not in str(caught.value)


async def test_the_chosen_provider_talks_to_its_own_server(opened: Opened, server: FakeOpenAI) -> None:
    (chat,) = opened(ai_chat="local/tiny", providers={"local": {"base_url": server.url}}).chat()
    pieces = chat.provider.stream_chat([ChatMessage("user", "Hi")], model=chat.model, usage=ChatUsage())
    assert "".join([piece async for piece in pieces]).startswith("You said: Hi")
    assert server.script.of("chat")[0].model == "tiny"


THE_DAY = date(2027, 1, 6)


@pytest.mark.parametrize(
    ("today", "first", "follows"),
    [
        (THE_DAY - timedelta(days=1), "openai/gpt-4o-mini-tts", [set(), {"openai/gpt-4o-mini-tts"}]),
        (THE_DAY, "openai/gpt-realtime-2.1-mini", [set(), set()]),
    ],
)
async def test_what_speaks_by_default_outlives_the_end_of_openais_speech_endpoint(
    opened: Opened, today: date, first: str, follows: list[set[str]]
) -> None:
    models = opened(openai_api_key="sk-x", today=today)
    assert models.tts()[0].entry.id == first
    assert len(models.tts()) == 2
    assert [model.follows for model in models.tts()] == follows


@pytest.mark.parametrize("url", ["https://api.openai.com/v1/", "https://eu.api.openai.com/v1", None])
async def test_openai_is_at_home_at_each_of_its_addresses(opened: Opened, url: str | None) -> None:
    models = opened(openai_api_key="sk-x", openai_base_url=url, today=THE_DAY)
    assert models.tts()[0].entry.id == "openai/gpt-realtime-2.1-mini"
    assert models.tts()[0].voice("nova") == "marin"


async def test_two_models_with_one_follower_have_it_once(opened: Opened) -> None:
    models = opened(openai_api_key="sk-x", today=date(2026, 11, 25)).chat("openai/gpt-4o,openai/gpt-4.1")
    assert [(model.entry.id, set(model.follows)) for model in models] == [
        ("openai/gpt-4o", set()),
        ("openai/gpt-6-sol", {"openai/gpt-4o", "openai/gpt-4.1"}),
        ("openai/gpt-4.1", set()),
    ]
    later = opened(openai_api_key="sk-x", today=date(2027, 2, 1)).chat("openai/gpt-4o,openai/gpt-4.1")
    assert [model.entry.id for model in later] == ["openai/gpt-6-sol", "openai/gpt-4o", "openai/gpt-4.1"]
    assert not any(model.follows for model in later)


async def test_another_servers_model_does_not_end_with_openais_of_the_same_name(opened: Opened) -> None:
    models = opened(openai_base_url="http://127.0.0.1:9/v1", today=THE_DAY)
    assert models.tts()[0].entry.id == "openai/gpt-4o-mini-tts"


async def test_an_unknown_voice_gives_way_to_the_models_own_where_its_voices_are_known(opened: Opened) -> None:
    groq = {"groq": {"api_key": "gsk"}}
    speech, live, arabic, custom = opened(openai_api_key="sk-x", providers=groq).tts(
        "openai/tts-1,openai/gpt-realtime-2.1-mini,groq/canopylabs/orpheus-arabic-saudi,openai/of-my-own"  # no follower
    )
    assert [model.voice("nova") for model in (speech, live, arabic, custom)] == ["nova", "marin", "fahad", "nova"]
    assert custom.voice(None) is None
    elsewhere, _ = opened(openai_base_url="http://127.0.0.1:9/v1").tts("openai/tts-1")
    assert elsewhere.voice("af_heart") == "af_heart"
    assert [custom.voice("nova", is_first=False), speech.voice("nova", is_first=False)] == [None, "nova"]


async def test_what_an_operator_tells_of_a_server_of_their_own_holds(opened: Opened, tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(
        '[[model]]\nid = "mine/kokoro"\nkind = "tts"\nvoices = ["af_heart", "am_puck"]\n'
        'retires_on = 2027-01-06\nfollowed_by = "mine/kokoro-2"\n'
    )
    mine = {"mine": {"base_url": "http://127.0.0.1:9/v1"}}
    old, new = opened(
        ai_tts="mine/kokoro", model_catalogue=file, providers=mine, today=THE_DAY - timedelta(days=1)
    ).tts()
    assert [old.voice(None), old.voice("alloy"), old.voice("am_puck")] == ["af_heart", "af_heart", "am_puck"]
    assert new.entry.id == "mine/kokoro-2"
    ended = opened(ai_tts="mine/kokoro", model_catalogue=file, providers=mine, today=THE_DAY)
    assert [model.entry.id for model in ended.tts()] == ["mine/kokoro-2", "mine/kokoro"]
