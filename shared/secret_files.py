"""Secrets from files: `NAME_FILE=/run/secrets/name` in place of `NAME=value`."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsError

SUFFIX = "_file"
DRIVERS = ("PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
"""Secrets that are no settings: the drivers of the stores read them from the environment."""


class SecretFiles(EnvSettingsSource):
    """A settings source: each secret setting whose file one of the other sources names."""

    def __init__(self, settings_cls: type[BaseSettings], *others: EnvSettingsSource) -> None:
        self._others = others
        super().__init__(settings_cls)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        told: dict[str, str | None] = {}
        for other in reversed(self._others):
            told |= {name.lower(): path for name, path in other.env_vars.items()}
        named = {name.removesuffix(SUFFIX): path for name, path in told.items() if name.endswith(SUFFIX)}
        read = {name: _read(name + SUFFIX, path) for name, path in named.items() if path and self._is_secret(name)}
        return {name: secret for name, secret in read.items() if secret}

    def _is_secret(self, name: str) -> bool:
        field = self.settings_cls.model_fields.get(name)
        if field is None:
            return name.startswith("providers__") and name.endswith("__api_key")
        return _holds_secret(field.annotation)


def read_drivers_secrets() -> None:
    """Put what `DRIVERS` have in files into this process's environment."""
    for name in DRIVERS:
        file = f"{name}_FILE"
        if path := os.environ.get(file):
            os.environ[name] = _read(file, path)


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def _read(name: str, path: str) -> str:
    """The content of a file, without the newline at its end; an empty one counts as unset."""
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SettingsError(f"{name.upper()}: {path} can't be read: {why}") from None
