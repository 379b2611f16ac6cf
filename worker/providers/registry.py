"""The models that play each role, and one provider per name behind them."""

from dataclasses import dataclass
from typing import get_args

from shared.catalogue import Catalogue, CatalogueModel
from shared.config import OFFLINE, ModelRef, Role, Settings
from shared.errors import Upstream
from worker.providers.base import Provider
from worker.providers.offline import OfflineProvider
from worker.providers.openai import OpenAIProvider, Timeouts


@dataclass(frozen=True)
class Model:
    """A model's own name, who serves it, and what it costs."""

    provider_name: str
    model: str
    provider: Provider
    entry: CatalogueModel


class Models:
    """Built once per worker; `chat`, `stt` and `tts` are the defaults of the settings."""

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError, naming the variable, for a model that nobody serves."""
        self._settings = settings
        self._catalogue = Catalogue.load(settings.model_catalogue)
        self._providers: dict[str, Provider] = {}
        self._defaults = {role: self._default(role) for role in get_args(Role)}

    @property
    def chat(self) -> Model:
        """Writes replies."""
        return self._defaults["chat"]

    @property
    def stt(self) -> Model:
        """Hears voice notes."""
        return self._defaults["stt"]

    @property
    def tts(self) -> Model:
        """Speaks sentences."""
        return self._defaults["tts"]

    def resolve(self, role: Role, ref: str | None) -> Model:
        """The model that an agent names as `provider/model`, or the role's default; raises a permanent `Upstream`."""
        if ref is None:
            return self._defaults[role]
        try:
            return self._model(role, ModelRef.parse(ref))
        except ValueError:
            msg = f"The agent's model {ref!r} is not served here."
            raise Upstream(msg, code="model_not_found") from None

    async def close(self) -> None:
        """Close every provider."""
        for provider in self._providers.values():
            await provider.close()

    def _default(self, role: Role) -> Model:
        try:
            return self._model(role, self._settings.model_ref(role))
        except ValueError as error:
            msg = f"AI_{role.upper()}: {error}"
            raise ValueError(msg) from None

    def _model(self, role: Role, ref: ModelRef) -> Model:
        name = ref.provider.lower()
        if name == OFFLINE.provider and ref != OFFLINE:
            raise ValueError("the offline engine has one model: offline/offline")
        if name not in self._providers:
            self._providers[name] = _provider(name, self._settings)
        return Model(name, ref.model, self._providers[name], self._catalogue.get(role, ref))


def _provider(name: str, settings: Settings) -> Provider:
    if name == "offline":
        return OfflineProvider()
    timeouts = Timeouts(
        settings.connect_timeout_s, settings.first_byte_timeout_s, settings.idle_timeout_s, settings.total_timeout_s
    )
    if name == "openai":
        base_url, key = settings.openai_base_url, settings.openai_api_key
    else:
        named = {known.lower(): provider for known, provider in settings.providers.items()}
        if name not in named:
            msg = f"no provider is called {name!r}: set PROVIDERS__{name.upper()}__BASE_URL"
            raise ValueError(msg)
        base_url, key = named[name].base_url, named[name].api_key
    return OpenAIProvider(name, base_url, key.get_secret_value() if key else None, timeouts)
