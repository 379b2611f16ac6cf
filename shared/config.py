"""Settings: read once from the environment and `.env`, checked, and handed to whoever needs them."""

import os
import secrets
from contextlib import suppress
from decimal import Decimal
from functools import cached_property, lru_cache
from ipaddress import ip_network
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import Annotated, Literal, NamedTuple, Self, get_args
from urllib.parse import quote, urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from shared.models.user import Username
from shared.money import MOST, PLACES, ZERO
from shared.passwords import Password
from shared.provider_presets import (
    DOES,
    OFFLINE,
    PRESETS,
    ROLES,
    ModelRef,
    Preset,
    Role,
    checked_key,
    checked_url,
    preset_of,
)
from shared.secret_files import SecretFiles, read_drivers_secrets
from shared.sql.url import database_url, sqlite_url
from shared.store_urls import blob_url, redis_url

DEFAULT_SECRETS = ("change-me", "changeme", "parley:parley@", "postgres:postgres@", "minioadmin")
SECRET_FILE = "jwt_secret"  # noqa: S105 - its name, under DATA_DIR

DRIVERS = {"postgres": "postgresql+asyncpg", "postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}

OPENAI_DEFAULTS: dict[Role, ModelRef] = {
    "chat": ModelRef("openai", "gpt-6-luna"),
    "stt": ModelRef("openai", "gpt-transcribe"),
    "tts": ModelRef("openai", "gpt-4o-mini-tts"),  # the catalogue says who follows it when it ends
}


TAKEN = {
    "openai": "OPENAI_API_KEY, or OPENAI_BASE_URL",
    "watsonx": "WX_API_KEY, WX_URL and WX_PROJECT_ID",
    "offline": "nothing: the offline engine is always there",
}
"""Providers that have variables of their own."""


class ProviderSettings(BaseModel):
    """A model server: where it is, unless that is known, and with what key."""

    model_config = ConfigDict(extra="forbid")

    base_url: str | None = None
    api_key: SecretStr | None = None
    api_key_file: Path | None = None  # `SecretFiles` reads it


class ModelServer(NamedTuple):
    """A model server as it is configured."""

    base_url: str | None
    api_key: str | None
    preset: Preset


class Settings(BaseSettings):
    """Each field is one environment variable of the same name in capitals; `.env.example` explains them."""

    model_config = SettingsConfigDict(
        env_file=".env", env_nested_delimiter="__", extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    env: Literal["DEV", "TEST", "PRODUCTION"] = "DEV"
    app_version: str = "0.1.0"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535)
    data_dir: Path = Path("data")

    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    redis_password: SecretStr | None = None
    blob_url: SecretStr | None = None

    auth: Literal["on", "off"] = "off"
    registration: Literal["open", "closed"] | None = None
    default_balance: Annotated[Decimal, Field(ge=0, le=MOST, decimal_places=PLACES)] | Literal["unlimited"] | None = (
        None
    )
    admin_username: Username | None = None
    admin_password: Password | None = None
    jwt_secret: SecretStr | None = None
    access_token_s: float = Field(3_600.0, gt=0)
    refresh_token_s: float = Field(2_592_000.0, gt=0)
    trusted_proxies: str = ""
    cors_origins: Annotated[list[str], NoDecode] = []
    docs: Literal["on", "off"] = "on"
    user_requests_per_minute: int = Field(600, ge=1)
    user_jobs_at_a_time: int = Field(100, ge=1)
    user_audio_minutes_per_day: int | None = Field(None, ge=1)
    user_tokens_per_day: int | None = Field(None, ge=1)

    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    providers: dict[str, ProviderSettings] = {}
    wx_api_key: SecretStr | None = None
    wx_url: str | None = None
    wx_project_id: str | None = None
    wx_iam_url: str = "https://iam.cloud.ibm.com/identity/token"
    ai_chat: str | None = None
    ai_stt: str | None = None
    ai_tts: str | None = None
    model_catalogue: Path | None = None
    max_reply_tokens: int = Field(4_096, ge=1)
    connect_timeout_s: float = Field(5.0, gt=0)
    first_byte_timeout_s: float = Field(60.0, gt=0)
    idle_timeout_s: float = Field(30.0, gt=0)
    total_timeout_s: float = Field(300.0, gt=0)

    max_upload_mb: float = Field(25.0, gt=0)
    max_audio_s: float = Field(600.0, gt=0)
    max_chat_history_context: int = Field(20, ge=1)
    max_unfinished_jobs: int = Field(20_000, ge=1)

    worker_concurrency: int = Field(20, ge=1)
    max_attempts: int = Field(4, ge=1)
    lease_s: float = Field(15.0, gt=0)
    reconcile_s: float = Field(1.0, gt=0)
    job_deadline: float = Field(3_600.0, gt=0)
    shutdown_grace: float = Field(20.0, ge=0)
    tts_concurrency: int = Field(6, ge=1)

    @field_validator("data_dir")
    @classmethod
    def _is_a_path(cls, folder: Path) -> Path:
        """A path is text, everywhere that it goes; `~` is the home of whoever runs this."""
        try:
            os.fspath(folder).encode()
            return folder.expanduser()
        except UnicodeEncodeError:
            raise ValueError("must be UTF-8") from None
        except RuntimeError:
            raise ValueError("names the home of a user who is not there") from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no folder of secrets is named
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """A secret's file wins over its value, the environment over `.env`."""
        named = [one for one in (env_settings, dotenv_settings) if isinstance(one, EnvSettingsSource)]
        return init_settings, SecretFiles(settings_cls, *named), env_settings, dotenv_settings

    @field_validator("database_url")
    @classmethod
    def _knows_the_database(cls, url: SecretStr | None) -> SecretStr | None:
        """Take the URLs that hosts hand out, too: their drivers are ours to choose."""
        if url is None:
            return None
        database_url(url.get_secret_value())
        scheme, _, rest = url.get_secret_value().strip().partition("://")
        return SecretStr(f"{DRIVERS[scheme.lower().partition('+')[0]]}://{rest}")

    @field_validator("redis_url")
    @classmethod
    def _knows_the_queue(cls, url: SecretStr | None) -> SecretStr | None:
        return url and SecretStr(redis_url(url.get_secret_value()))

    @field_validator("blob_url")
    @classmethod
    def _knows_the_blobs(cls, url: SecretStr | None) -> SecretStr | None:
        return url and SecretStr(blob_url(url.get_secret_value()))

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _splits_origins(cls, origins: object) -> object:
        return (
            [origin.strip() for origin in origins.split(",") if origin.strip()] if isinstance(origins, str) else origins
        )

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in {"http", "https"}
                or not parts.netloc
                or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise ValueError(f"{origin!r} is not an origin, like https://app.example.com; * is not taken")
        return origins

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, proxies: str) -> str:
        """With `*` anybody could claim any address: the one that counts is found from the near end."""
        for proxy in filter(None, map(str.strip, proxies.split(","))):
            ip_network(proxy)
        return proxies.strip()

    @field_validator("openai_base_url", "wx_url", "wx_iam_url")
    @classmethod
    def _is_http(cls, url: str | None, info: ValidationInfo) -> str | None:
        return url and checked_url(str(info.field_name), url)

    @property
    def max_upload_bytes(self) -> int:
        """The limit of one voice note, in bytes."""
        return int(self.max_upload_mb * 1_000_000)

    @property
    def embedded_database_url(self) -> str:
        """Where SQL lives: `DATABASE_URL`, or a SQLite file under `DATA_DIR`."""
        if self.database_url:
            return self.database_url.get_secret_value()
        return sqlite_url(self.data_dir.resolve() / "parley.db")

    @property
    def embedded_blob_url(self) -> str:
        """Where bytes live: `BLOB_URL`, or a folder under `DATA_DIR`."""
        return self.blob_url.get_secret_value() if self.blob_url else (self.data_dir.resolve() / "blobs").as_uri()

    @property
    def is_registration_open(self) -> bool:
        """Whether anybody may make an account: by default everywhere but in PRODUCTION."""
        return (self.registration or ("closed" if self.env == "PRODUCTION" else "open")) == "open"

    @property
    def starting_balance(self) -> Decimal | None:
        """What a new account has, in dollars; None is no limit, the default everywhere but in PRODUCTION."""
        if self.default_balance is None:
            return ZERO if self.env == "PRODUCTION" else None
        return None if self.default_balance == "unlimited" else self.default_balance

    def make_data_dir(self) -> None:
        """Make `DATA_DIR` unless it is there; raises SystemExit when it can't be written."""
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.data_dir):
                pass
        except OSError as error:
            raise SystemExit(unwritable(self.data_dir, error)) from None

    @cached_property
    def signing_key(self) -> str:
        """What signs tokens: `JWT_SECRET`, or a secret made once and kept in `DATA_DIR`."""
        if self.jwt_secret:
            return self.jwt_secret.get_secret_value()
        path = self.data_dir / SECRET_FILE
        try:
            with suppress(FileNotFoundError):
                return path.read_text()
            self.data_dir.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile("w", dir=self.data_dir) as new, suppress(FileExistsError):  # its owner's alone
                new.write(secrets.token_hex(32))
                new.flush()
                os.link(new.name, path)  # whole, or not at all: others may start just now
            return path.read_text()
        except OSError as error:
            raise SystemExit(unwritable(self.data_dir, error)) from None

    def model_refs(self, role: Role) -> tuple[ModelRef, ...]:
        """Who plays `role`, the first choice first: those named, else OpenAI's if it is configured, else offline."""
        named: str | None = getattr(self, f"ai_{role}")
        if named:
            return ModelRef.parse_list(named)
        return (OPENAI_DEFAULTS[role] if self.openai_api_key or self.openai_base_url else OFFLINE,)

    @cached_property
    def model_servers(self) -> dict[str, ModelServer]:
        """The servers that may be named before the slash of `provider/model`.

        A preset is one of them when it has a key or a URL here, or a role's models name it.
        """
        servers = {OFFLINE.provider: ModelServer(None, None, PRESETS[OFFLINE.provider])}
        if self.openai_api_key or self.openai_base_url:
            servers["openai"] = _server("openai", self.openai_base_url, self.openai_api_key)
        if self.wx_api_key and self.wx_url:
            servers["watsonx"] = _server("watsonx", self.wx_url, self.wx_api_key)
        named = {ref.provider for role in ROLES for ref in self.model_refs(role)} & PRESETS.keys()
        unset = dict.fromkeys(named - {"openai", "watsonx"} - servers.keys(), ProviderSettings())
        for name, told in {**unset, **self.providers}.items():
            server = _server(name, told.base_url, told.api_key)
            if server.base_url and (server.api_key or told.base_url or not server.preset.needs_key):
                servers[name] = server
        return servers

    @model_validator(mode="after")
    def _models_are_known(self) -> Self:
        self.providers = {name.lower(): provider for name, provider in self.providers.items()}
        if taken := TAKEN.keys() & self.providers.keys():
            msg = f"PROVIDERS__{min(taken).upper()} is taken: set {TAKEN[min(taken)]}"
            raise ValueError(msg)
        if any((self.wx_api_key, self.wx_url, self.wx_project_id)) and not (
            self.wx_api_key and self.wx_url and self.wx_project_id
        ):
            raise ValueError("WX_API_KEY, WX_URL and WX_PROJECT_ID go together")
        wanted: list[tuple[Role, ModelRef]] = []
        for role in get_args(Role):
            try:
                wanted += ((role, ref) for ref in self.model_refs(role))
            except ValueError as error:
                msg = f"AI_{role.upper()}: {error}"
                raise ValueError(msg) from None
        for role, ref in wanted:
            self._check(role, ref)
        return self

    def _check(self, role: Role, ref: ModelRef) -> None:
        server = self.model_servers.get(ref.provider)
        if server is None:
            missing = TAKEN.get(ref.provider) or f"PROVIDERS__{ref.provider.upper()}__" + (
                "API_KEY" if preset_of(ref.provider).base_url else "BASE_URL"
            )
            raise ValueError(f"AI_{role.upper()} names {ref.provider!r}: set {missing}")
        if ref.provider == OFFLINE.provider and ref != OFFLINE:
            raise ValueError(f"AI_{role.upper()}: the offline engine has one model: {OFFLINE}")
        if role not in server.preset.roles:
            raise ValueError(f"AI_{role.upper()} names {ref.provider!r}, which can't {DOES[role]}")

    @model_validator(mode="after")
    def _redis_has_its_password(self) -> Self:
        """`REDIS_PASSWORD` is for a URL with a user and no password: any character may be in it."""
        parts = urlsplit(self.redis_url.get_secret_value() if self.redis_url else "")
        if self.redis_password and parts.username and parts.password is None:
            user, _, host = parts.netloc.rpartition("@")
            password = quote(self.redis_password.get_secret_value(), safe="")
            netloc = f"{user.removesuffix(':')}:{password}@{host}"
            self.redis_url = SecretStr(parts._replace(netloc=netloc).geturl())
        return self

    @model_validator(mode="after")
    def _admin_is_whole(self) -> Self:
        if bool(self.admin_username) != bool(self.admin_password):
            msg = "ADMIN_USERNAME and ADMIN_PASSWORD go together"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _production_is_safe(self) -> Self:
        if self.env != "PRODUCTION":
            return self
        wrong = []
        if self.auth != "on":
            wrong.append("AUTH must be on")
        if self.jwt_secret is None or len(self.jwt_secret.get_secret_value()) < 32:  # noqa: PLR2004 - HS256 wants 256 bits
            wrong.append("JWT_SECRET must be a secret of your own, at least 32 characters long")
        held: dict[str, SecretStr | None] = {
            "JWT_SECRET": self.jwt_secret,
            "ADMIN_PASSWORD": self.admin_password,
            "OPENAI_API_KEY": self.openai_api_key,
            "WX_API_KEY": self.wx_api_key,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "REDIS_PASSWORD": self.redis_password,
            "BLOB_URL": self.blob_url,
            **{f"PROVIDERS__{name.upper()}__API_KEY": provider.api_key for name, provider in self.providers.items()},
        }
        for name, value in held.items():
            if value and any(default in value.get_secret_value().lower() for default in DEFAULT_SECRETS):
                wrong.append(f"{name} holds a default password")
        if not (self.openai_api_key or self.openai_base_url or (self.ai_chat and self.ai_stt and self.ai_tts)):
            wrong.append("models would be the offline engine: set OPENAI_API_KEY, or AI_CHAT, AI_STT and AI_TTS")
        if wrong:
            msg = "not safe for PRODUCTION: " + "; ".join(wrong)
            raise ValueError(msg)
        return self


def _server(name: str, base_url: str | None, api_key: SecretStr | None) -> ModelServer:
    preset = preset_of(name, base_url)
    url = checked_url(name, base_url) if base_url else preset.base_url
    return ModelServer(url, checked_key(name, api_key.get_secret_value()) if api_key else None, preset)


def unwritable(folder: Path, error: OSError) -> str:
    """The line by which Parley ends when it can't use `DATA_DIR`."""
    why = "it is a file, not a folder" if folder.is_file() else error.strerror
    return f"Parley can't write to {str(folder.absolute())!r}: {why}. Set DATA_DIR to a folder that it may write."


def _mistake(error: ErrorDetails) -> str:
    """One line for one mistake, by the variable's name, without the value."""
    cause = error.get("ctx", {}).get("error")
    message = str(cause) if isinstance(cause, ValueError) else error["msg"]
    name = "__".join(map(str, error["loc"])).upper()
    return f"  {name}: {message}" if name else f"  {message}"


@lru_cache
def get_settings() -> Settings:
    """The process's settings. Exits with one clear line per mistake instead of a traceback."""
    try:
        read_drivers_secrets()
        return Settings()
    except SettingsError as error:
        raise SystemExit(f"Parley can't read these settings: {error}") from None
    except ValidationError as error:
        lines = [_mistake(one) for one in error.errors(include_input=False)]
        raise SystemExit("Parley can't start with these settings:\n" + "\n".join(lines)) from None
    except OSError as error:
        raise SystemExit(f"Parley can't read {str(Path('.env').absolute())!r}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SystemExit(f"Parley can't read {str(Path('.env').absolute())!r}: it is not UTF-8.") from None
