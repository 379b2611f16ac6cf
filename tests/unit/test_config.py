"""Settings: where they come from, and what PRODUCTION refuses."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared.config import Settings
from shared.provider_presets import ModelRef, Preset

ROOT = Path(__file__).parent.parent.parent
SAFE: dict[str, Any] = {
    "env": "PRODUCTION",
    "auth": "on",
    "jwt_secret": "0123456789abcdef0123456789abcdef",
    "openai_api_key": "sk-x",
}


def settings(**values: Any) -> Settings:
    return Settings(_env_file=None, **values)


def test_models_default_to_openai_with_a_key_and_to_the_offline_engine_without() -> None:
    assert settings().model_refs("chat") == (("offline", "offline"),)
    assert settings(openai_api_key="sk-x").model_refs("chat") == (("openai", "gpt-6-luna"),)
    with_url = settings(openai_base_url="http://localhost:1/v1")
    assert with_url.model_refs("tts") == (("openai", "gpt-4o-mini-tts"),)
    named = settings(ai_chat="groq/meta/llama", providers={"GROQ": {"base_url": "http://x"}})
    assert named.model_refs("chat") == (("groq", "meta/llama"),)
    assert named.model_refs("stt") == (("offline", "offline"),)


def test_a_role_may_have_several_models_the_first_choice_first() -> None:
    named = settings(
        ai_chat=" OpenAI/x , groq/y/z,openai/x", openai_api_key="sk-x", providers={"groq": {"api_key": "k"}}
    )
    assert named.model_refs("chat") == (("openai", "x"), ("groq", "y/z"))
    for wrong in ("openai/x,", "openai/x,,openai/y", ","):
        with pytest.raises(ValidationError, match="AI_CHAT"):
            settings(ai_chat=wrong, openai_api_key="sk-x")


def test_known_servers_need_no_address_and_others_no_key() -> None:
    groq = settings(ai_stt="groq/whisper-large-v3", providers={"groq": {"api_key": "gsk"}}).model_servers["groq"]
    assert (groq.base_url, groq.api_key, groq.preset.speech_format) == ("https://api.groq.com/openai/v1", "gsk", "wav")
    ollama = settings(ai_chat="ollama/llama3.2").model_servers["ollama"]
    assert (ollama.base_url, ollama.api_key) == ("http://localhost:11434/v1", None)
    mine = settings(providers={"mine": {"base_url": "http://x/v1"}}).model_servers["mine"]
    assert (mine.base_url, mine.api_key, mine.preset) == ("http://x/v1", None, Preset())


def test_only_what_was_configured_may_be_named() -> None:
    """A server on this very machine, say, is nobody's to reach but the operator's."""
    assert settings().model_servers.keys() == {"offline"}
    assert settings(openai_api_key="sk-x").model_servers.keys() == {"offline", "openai"}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"ai_chat": "groq/x"}, "AI_CHAT names 'groq': set PROVIDERS__GROQ__API_KEY"),
        ({"ai_chat": "azure/x"}, "AI_CHAT names 'azure': set PROVIDERS__AZURE__BASE_URL"),
        ({"ai_chat": "openai/x"}, "AI_CHAT names 'openai': set OPENAI_API_KEY"),
        ({"ai_chat": "watsonx/x"}, "AI_CHAT names 'watsonx': set WX_API_KEY, WX_URL and WX_PROJECT_ID"),
        ({"ai_chat": "offline/offline,groq/x"}, "AI_CHAT names 'groq'"),
        (
            {"ai_tts": "assemblyai/x", "providers": {"assemblyai": {"api_key": "k"}}},
            "AI_TTS names 'assemblyai', which can't speak",
        ),
        ({"wx_api_key": "k", "wx_url": "https://x"}, "WX_API_KEY, WX_URL and WX_PROJECT_ID go together"),
        ({"wx_api_key": "k", "wx_url": "x", "wx_project_id": "p"}, "wx_url\n.*must start with http"),
        ({"providers": {"OpenAI": {"api_key": "k"}}}, "PROVIDERS__OPENAI is taken: set OPENAI_API_KEY"),
        ({"providers": {"offline": {"api_key": "k"}}}, "PROVIDERS__OFFLINE is taken"),
    ],
)
def test_what_a_models_server_lacks_is_told_by_the_variables_name(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        settings(**values)


@pytest.mark.parametrize("ref", ["gpt", "/gpt", "openai/", "", " / "])
def test_a_model_needs_both_sides_of_its_slash(ref: str) -> None:
    with pytest.raises(ValueError, match="provider/model"):
        ModelRef.parse(ref)


def test_a_model_of_an_unknown_provider_is_refused_by_the_variables_name() -> None:
    with pytest.raises(ValidationError, match="AI_STT names 'whisperer': set PROVIDERS__WHISPERER__BASE_URL"):
        settings(ai_stt="whisperer/large")
    with pytest.raises(ValidationError, match="AI_TTS"):
        settings(ai_tts="tts-1")


def test_production_starts_when_it_is_safe() -> None:
    assert settings(**SAFE).env == "PRODUCTION"
    by_name = {"ai_chat": "offline/offline", "ai_stt": "offline/offline", "ai_tts": "offline/offline"}
    assert settings(**{**SAFE, "openai_api_key": None}, **by_name).model_refs("tts") == (("offline", "offline"),)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"auth": "off"}, "AUTH must be on"),
        ({"jwt_secret": None}, "JWT_SECRET"),
        ({"jwt_secret": "short"}, "JWT_SECRET"),
        ({"openai_api_key": None}, "offline engine"),
        ({"openai_api_key": None, "ai_chat": "offline/offline"}, "offline engine"),
        ({"database_url": "postgresql+asyncpg://parley:parley@db/parley"}, "DATABASE_URL holds a default password"),
        ({"redis_url": "redis://:changeme@redis/0"}, "REDIS_URL holds a default password"),
        ({"providers": {"groq": {"api_key": "change-me"}}}, "PROVIDERS__GROQ__API_KEY holds a default password"),
    ],
)
def test_production_refuses_to_start(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        settings(**{**SAFE, **change})


def test_the_environment_wins_over_the_file_and_a_mistake_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("PORT=7001\nHOST=::1\nPROVIDERS__GROQ__BASE_URL=http://groq\n")
    code = "from shared.config import get_settings as s; print(s().port, s().host, list(s().providers))"

    def run(**env: str) -> subprocess.CompletedProcess[str]:
        env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **env}
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )

    assert run(PORT="7002").stdout.split() == ["7002", "::1", "['groq']"]
    wrong = run(PORT="many", ENV="PRODUCTION")
    assert wrong.returncode == 1
    assert "Traceback" not in wrong.stderr
    assert "PORT" in wrong.stderr


def test_every_setting_is_explained_in_the_example_with_its_default() -> None:
    example = (ROOT / ".env.example").read_text()
    shown = dict(re.findall(r"^# ([A-Z][A-Z_]+)=(.*)$", example, re.MULTILINE))
    fields = {name.upper(): field for name, field in Settings.model_fields.items() if name != "providers"}
    assert set(fields) <= set(shown)
    for name, value in shown.items():
        if name in fields and name not in {"AI_CHAT", "AI_STT", "AI_TTS", "JWT_SECRET"} and value:
            assert str(fields[name].default) == value or float(fields[name].default) == float(value), name
    others = {name for name in set(shown) - set(fields) if not name.startswith("PROVIDERS__")}
    compose = {"CPUS", "POSTGRES_PASSWORD", "PUBLISH_HTTP", "PUBLISH_HTTPS", "DOMAIN"}
    assert others == compose | {"OLLAMA_CONTEXT_LENGTH", "MORE_SPEECH_MODELS"}


def test_no_secret_shows_in_a_representation() -> None:
    shown = repr(settings(openai_api_key="sk-canary", jwt_secret="canary-secret", redis_url="redis://:canary@x"))
    assert "canary" not in shown
    with pytest.raises(ValidationError) as caught:
        settings(openai_api_key="sk-canary", ai_chat="nobody/model")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("postgres://u:p@h/db", "postgresql+asyncpg://u:p@h/db"),
        ("postgresql://u:p@h/db", "postgresql+asyncpg://u:p@h/db"),
        ("postgresql+psycopg2://u:p@h/db", "postgresql+asyncpg://u:p@h/db"),
        ("sqlite:///some/file.db", "sqlite+aiosqlite:///some/file.db"),
    ],
)
def test_database_urls_as_hosts_hand_them_out_are_understood(given: str, meant: str) -> None:
    assert settings(database_url=given).embedded_database_url == meant


@pytest.mark.parametrize(
    "wrong",
    [
        {"database_url": "mysql://h/db"},
        {"database_url": "nonsense"},
        {"redis_url": "localhost:6379"},
        {"blob_url": "/blobs"},
        {"blob_url": "ftp://h/x"},
        {"openai_base_url": "localhost:1234"},
        {"ai_chat": "openai/gpt"},
        {"trusted_proxies": "*"},
        {"trusted_proxies": "10.0.0.1/8"},
        {"trusted_proxies": "127.0.0.1, proxy"},
        {"admin_username": "root"},
        {"admin_password": "correct horse"},
        {"admin_username": "root", "admin_password": "short"},
        {"admin_username": "a\nb", "admin_password": "correct horse"},
    ],
)
def test_settings_that_cannot_work_are_refused_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)
