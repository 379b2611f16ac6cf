"""`NAME_FILE` in place of `NAME`: for every secret setting, from the environment and from `.env`."""

import os
from pathlib import Path
from typing import get_args

import pytest
from pydantic import SecretStr
from pydantic_settings import SettingsError
from redis.asyncio.connection import parse_url

from shared.config import Settings
from shared.secret_files import DRIVERS, read_drivers_secrets
from tests.processes import ROOT, running

VALUES = {
    "DATABASE_URL": "postgresql+asyncpg://parley@db:5432/parley",
    "REDIS_URL": "redis://redis:6379/0",
    "REDIS_PASSWORD": "a password",
    "BLOB_URL": "s3://bucket/prefix",
    "ADMIN_PASSWORD": "correct horse battery",
    "JWT_SECRET": "0123456789abcdef" * 2,
    "OPENAI_API_KEY": "sk-from-a-file",
    "WX_API_KEY": "wx-from-a-file",
}
BESIDE = {"ADMIN_USERNAME": "ann", "WX_URL": "https://wx.example.com", "WX_PROJECT_ID": "p"}
ANY_CHARACTER = "p w:/@\"\\'%#?&é"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file for each secret, where no `.env` is."""
    monkeypatch.chdir(tmp_path)
    for name, value in VALUES.items():
        (tmp_path / name).write_text(f"{value}\n")
    return tmp_path


def is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(is_secret, get_args(annotation)))


def test_these_are_all_secret_settings() -> None:
    assert {name.upper() for name, field in Settings.model_fields.items() if is_secret(field.annotation)} == set(VALUES)


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("told_in", ["environment", ".env"])
def test_a_secret_is_read_from_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, told_in: str) -> None:
    variables = {f"{one}_FILE": str(folder / one) for one in {name, "ADMIN_PASSWORD", "WX_API_KEY"}} | BESIDE
    if told_in == ".env":
        Path(".env").write_text("".join(f"{key}={value}\n" for key, value in variables.items()))
    else:
        for key, value in variables.items():
            monkeypatch.setenv(key, value)
    assert getattr(Settings(), name.lower()).get_secret_value() == VALUES[name]


def test_a_providers_key_is_read_from_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDERS__MINE__BASE_URL", "https://models.example.com/v1")
    monkeypatch.setenv("PROVIDERS__MINE__API_KEY_FILE", str(folder / "OPENAI_API_KEY"))
    assert Settings().model_servers["mine"].api_key == "sk-from-a-file"


def test_a_file_wins_over_a_value(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JWT_SECRET", "of the environment")
    Path(".env").write_text(f"JWT_SECRET_FILE={folder / 'JWT_SECRET'}\n")
    assert Settings().signing_key == VALUES["JWT_SECRET"]


def test_an_empty_file_or_name_is_as_if_unset(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "empty").write_text("\n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(folder / "empty"))
    monkeypatch.setenv("JWT_SECRET_FILE", "")
    assert (Settings().openai_api_key, Settings().jwt_secret) == (None, None)


def test_only_newlines_at_the_end_are_taken_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "key").write_bytes(b" sk \r\n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(folder / "key"))
    key = Settings().openai_api_key
    assert key
    assert key.get_secret_value() == " sk "


@pytest.mark.parametrize("command", ["standalone", "api", "worker", "worker check-models"])
def test_a_file_that_can_not_be_read_is_one_line(tmp_path: Path, command: str) -> None:
    env = {"JWT_SECRET_FILE": str(tmp_path / "nothing"), "DATA_DIR": str(tmp_path)}
    with running("-m", *command.split(), log=tmp_path / "log", env=env, cwd=ROOT) as process:
        assert process.ended() == 1
    told = f"Parley can't read these settings: JWT_SECRET_FILE: {tmp_path / 'nothing'} can't be read: "
    assert (tmp_path / "log").read_text() == f"{told}No such file or directory\n"


def test_what_is_not_text_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "key").write_bytes(b"\xff\xfe")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(folder / "key"))
    with pytest.raises(SettingsError, match=r"OPENAI_API_KEY_FILE: .* can't be read: it is not UTF-8"):
        Settings()


def test_the_drivers_secrets_are_read_from_files_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DRIVERS:
        monkeypatch.setenv(name, "of the environment")
        monkeypatch.setenv(f"{name}_FILE", str(folder / "REDIS_PASSWORD"))
    read_drivers_secrets()
    assert {os.environ[name] for name in DRIVERS} == {"a password"}


@pytest.mark.parametrize(
    ("url", "password"),
    [
        ("redis://default@redis:6379/0", ANY_CHARACTER),
        ("rediss://someone@redis/3", ANY_CHARACTER),
        ("redis://redis:6379/0", None),
        ("redis://default:own@redis:6379/0", "own"),
    ],
)
def test_redis_takes_a_password_for_a_user_without_one(url: str, password: str | None) -> None:
    settings = Settings(_env_file=None, redis_url=SecretStr(url), redis_password=SecretStr(ANY_CHARACTER))
    assert settings.redis_url
    assert parse_url(settings.redis_url.get_secret_value()).get("password") == password
