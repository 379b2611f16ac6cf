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
from shared.providers import ModelRef

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
    assert settings().model_ref("chat") == ("offline", "offline")
    assert settings(openai_api_key="sk-x").model_ref("chat").provider == "openai"
    assert settings(openai_base_url="http://localhost:1/v1").model_ref("tts").provider == "openai"
    named = settings(ai_chat="groq/meta/llama", providers={"GROQ": {"base_url": "http://x"}})
    assert named.model_ref("chat") == ("groq", "meta/llama")
    assert named.model_ref("stt").provider == "offline"


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
    assert settings(**{**SAFE, "openai_api_key": None}, **by_name).model_ref("tts").provider == "offline"


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
    assert others == {"POSTGRES_PASSWORD", "PUBLISH_HTTP", "PUBLISH_HTTPS", "DOMAIN"}  # compose's own


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
