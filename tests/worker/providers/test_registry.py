"""Which model plays which role."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from shared.config import Settings
from shared.errors import Upstream
from tests.fakes.openai_server import FakeOpenAI
from worker.providers.base import ChatMessage, ChatUsage
from worker.providers.offline import OfflineProvider
from worker.providers.openai import OpenAIProvider
from worker.providers.registry import Models

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

    def __call__(self, **values: Any) -> Models:
        self._models.append(Models(Settings(_env_file=None, **values)))
        return self._models[-1]

    async def close(self) -> None:
        for models in self._models:
            await models.close()


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    opened = Opened()
    yield opened
    await opened.close()


def names(models: Models) -> list[tuple[str, str]]:
    return [(model.provider_name, model.model) for model in (models.chat, models.stt, models.tts)]


async def test_nothing_configured_is_the_offline_engine(opened: Opened) -> None:
    models = opened()
    assert names(models) == [("offline", "offline")] * 3
    assert isinstance(models.chat.provider, OfflineProvider)


@pytest.mark.parametrize("values", [{"openai_api_key": "sk-x"}, {"openai_base_url": "http://127.0.0.1:9/v1"}])
async def test_a_key_or_a_base_url_is_enough_for_openai(opened: Opened, values: dict[str, str]) -> None:
    models = opened(**values)
    assert names(models) == [("openai", "gpt-6-luna"), ("openai", "gpt-transcribe"), ("openai", "gpt-4o-mini-tts")]
    assert isinstance(models.chat.provider, OpenAIProvider)


async def test_each_role_has_its_own_provider_and_each_provider_one_instance(opened: Opened) -> None:
    models = opened(ai_chat="groq/meta/llama-4", ai_stt="GROQ/whisper", ai_tts="offline/offline", providers=SERVERS)
    assert names(models) == [("groq", "meta/llama-4"), ("groq", "whisper"), ("offline", "offline")]
    assert models.chat.provider is models.stt.provider
    assert isinstance(models.tts.provider, OfflineProvider)


async def test_an_agents_own_model_stands_before_the_default(opened: Opened) -> None:
    models = opened(openai_api_key="sk-x", providers=SERVERS)
    assert models.resolve("chat", None) is models.chat
    own = models.resolve("chat", "groq/llama")
    assert (own.provider_name, own.model) == ("groq", "llama")
    assert models.resolve("stt", "groq/whisper").provider is own.provider


@pytest.mark.parametrize("ref", ["nobody/model", "nothing", "", "/", "openai/"])
async def test_an_agents_unknown_model_fails_for_good(opened: Opened, ref: str) -> None:
    with pytest.raises(Upstream) as caught:
        opened().resolve("chat", ref)
    assert (caught.value.code, caught.value.transient) == ("model_not_found", False)


@pytest.mark.parametrize("variable", ["AI_CHAT", "AI_STT", "AI_TTS"])
@pytest.mark.parametrize("value", ["gpt-6-luna", "nobody/model", "/model", "openai/"])
async def test_a_wrong_default_stops_the_start_and_names_the_variable(
    opened: Opened, variable: str, value: str
) -> None:
    with pytest.raises(ValueError, match=variable):
        opened(**{variable.lower(): value})


async def test_a_wrong_base_url_stops_the_start_without_telling_the_key(opened: Opened) -> None:
    with pytest.raises(ValueError, match="openai_base_url") as caught:
        opened(openai_api_key="sk-secret", openai_base_url="localhost:8000")
    assert "sk-secret" not in str(caught.value)


async def test_the_chosen_provider_talks_to_its_own_server(opened: Opened, server: FakeOpenAI) -> None:
    models = opened(ai_chat="local/tiny", providers={"local": {"base_url": server.url}})
    chat = models.chat
    pieces = chat.provider.stream_chat([ChatMessage("user", "Hi")], model=chat.model, usage=ChatUsage())
    assert "".join([piece async for piece in pieces]).startswith("You said: Hi")
    assert server.script.of("chat")[0].model == "tiny"
