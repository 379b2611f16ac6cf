"""The models that play each role, in the order in which they are asked, and one provider per server behind them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Generic, TypeVar, get_args

import structlog

from shared.catalogue import Catalogue, CatalogueModel
from shared.config import ModelServer, Settings
from shared.errors import Upstream
from shared.provider_presets import DOES, OFFLINE, PRESETS, ModelRef, Role, is_openai
from worker.providers.assemblyai import AssemblyAIProvider
from worker.providers.base import ChatProvider, Provider, SpeechToText, TextToSpeech
from worker.providers.client import Timeouts
from worker.providers.offline import OfflineProvider
from worker.providers.openai import OpenAIProvider
from worker.providers.realtime import RealtimeProvider
from worker.providers.watsonx import WatsonxProvider

P_co = TypeVar("P_co", bound=Provider, covariant=True)
P = TypeVar("P", bound=Provider)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Model(Generic[P_co]):
    """A model in one role: its own name, who serves it, and what is known of it."""

    role: Role
    provider_name: str
    model: str
    provider: P_co
    entry: CatalogueModel
    is_home: bool  # on its provider's own server: what the catalogue says of its end and its voices holds
    has_ended: bool = False
    follows: frozenset[str] = frozenset()  # the models whose place it takes, should one of them be gone

    def voice(self, wanted: str | None, *, is_first: bool = True) -> str | None:
        """The voice to ask for; None is the provider's own choice.

        An agent's voice is meant for the first model that it names: another one gets it only if it is known to have it.
        """
        if wanted in self.entry.voices or (is_first and not (self.entry.voices and self.is_home)):
            return wanted
        return self.entry.voices[0] if self.entry.voices and self.is_home else None


class Models:
    """Built once per worker. Each role has the models that an agent names, or those of the settings."""

    def __init__(self, settings: Settings, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
        """Raises ValueError, naming the variable, for a model that nobody serves."""
        self._settings = settings
        self._today = today
        self._catalogue = Catalogue.load(settings.model_catalogue)
        self._providers: dict[tuple[str, bool], Provider] = {}
        for role in get_args(Role):
            try:
                for ref in settings.model_refs(role):
                    self._open(role, ref)
            except ValueError as error:
                msg = f"AI_{role.upper()}: {error}"
                raise ValueError(msg) from None

    def chat(self, named: str | None = None) -> list[Model[ChatProvider]]:
        """Who writes replies, the first choice first; raises a permanent `Upstream` for what nobody here serves."""
        return self._models("chat", ChatProvider, named)  # type: ignore[type-abstract]  # it is only looked at

    def stt(self, named: str | None = None) -> list[Model[SpeechToText]]:
        """Who hears voice notes; as `chat`."""
        return self._models("stt", SpeechToText, named)  # type: ignore[type-abstract]

    def tts(self, named: str | None = None) -> list[Model[TextToSpeech]]:
        """Who speaks; as `chat`."""
        return self._models("tts", TextToSpeech, named)  # type: ignore[type-abstract]

    async def warm(self) -> None:
        """Load what the offline engine needs for the roles that the settings give it."""
        offline = self._providers.get((OFFLINE.provider, False))
        if isinstance(offline, OfflineProvider):
            hears = OFFLINE in self._settings.model_refs("stt")
            await offline.warm(hears=hears, speaks=OFFLINE in self._settings.model_refs("tts"))

    async def close(self) -> None:
        """Close every provider."""
        for provider in self._providers.values():
            await provider.close()

    def _models(self, role: Role, kind: type[P], named: str | None) -> list[Model[P]]:
        models: dict[str, Model[P]] = {}
        for model in self._lines(role, kind, named):  # several may have the same follower
            before = models.get(model.entry.id, model)
            follows = before.follows | model.follows if before.follows and model.follows else frozenset[str]()
            models[model.entry.id] = replace(before, follows=follows)
        return sorted(models.values(), key=lambda model: model.has_ended)

    def _lines(self, role: Role, kind: type[P], named: str | None) -> list[Model[P]]:
        """Those that are named and their followers, without those that nobody here serves if there are others."""
        lines: list[Model[P]] = []
        try:
            refs = self._settings.model_refs(role) if named is None else ModelRef.parse_list(named)
        except ValueError:
            refs = ()
        for ref in refs:
            try:
                lines += self._line(role, kind, ref, refs)
            except ValueError as error:
                log.warning("model.not_served", role=role, model=f"{ref.provider}/{ref.model}", why=str(error))
        if not lines:
            msg = f"The agent's model {named!r} is not served here."
            raise Upstream(msg, code="model_not_found")
        return lines

    def _line(self, role: Role, kind: type[P], ref: ModelRef, named: Sequence[ModelRef]) -> list[Model[P]]:
        """A model and those that follow it, as far as they are served here and not named themselves."""
        first = self._model(role, kind, ref)
        line = [first]
        for entry in self._catalogue.line(role, ref)[1:]:
            follower = ModelRef.parse(entry.id)
            if follower.provider in self._settings.model_servers and follower not in named:
                before = frozenset[str]() if line[-1].has_ended else frozenset({line[-1].entry.id})
                line.append(replace(self._model(role, kind, follower), follows=before))
        return line

    def _model(self, role: Role, kind: type[P], ref: ModelRef) -> Model[P]:
        provider = self._open(role, ref)
        if not isinstance(provider, kind):
            msg = f"{ref.provider!r} can't {DOES[role]}"
            raise ValueError(msg)  # noqa: TRY004 - what a setting says is a value
        server = self._settings.model_servers[ref.provider]
        entry = self._catalogue.get(role, ref)
        is_home = _is_home(ref.provider, server)
        ended = is_home and entry.has_ended(self._today())
        return Model(role, ref.provider, ref.model, provider, entry, is_home, ended)

    def _open(self, role: Role, ref: ModelRef) -> Provider:
        if ref.provider == OFFLINE.provider and ref != OFFLINE:
            raise ValueError("the offline engine has one model: offline/offline")
        server = self._settings.model_servers.get(ref.provider)
        if server is None:
            msg = f"no provider is called {ref.provider!r}: set PROVIDERS__{ref.provider.upper()}__BASE_URL"
            raise ValueError(msg)
        speaks_live = role == "tts" and server.preset.wire == "openai" and ref.model.startswith(server.preset.realtime)
        key = (ref.provider, speaks_live)
        if key not in self._providers:
            self._providers[key] = _provider(ref.provider, server, self._settings, speaks_live=speaks_live)
        return self._providers[key]


def _is_home(name: str, server: ModelServer) -> bool:
    """Whether a server is its provider's own; a name that has no home is the operator's, as what is told of it."""
    home = PRESETS.get(name, server.preset).base_url
    if home is None or server.base_url is None:
        return True
    return home == server.base_url.rstrip("/") or (is_openai(home) and is_openai(server.base_url))


def _provider(name: str, server: ModelServer, settings: Settings, *, speaks_live: bool) -> Provider:
    timeouts = Timeouts(
        settings.connect_timeout_s, settings.first_byte_timeout_s, settings.idle_timeout_s, settings.total_timeout_s
    )
    if server.preset.wire == "offline" or server.base_url is None:
        return OfflineProvider()
    if speaks_live:
        return RealtimeProvider(name, server.base_url, server.api_key, timeouts, server.preset)
    if server.preset.wire == "assemblyai":
        return AssemblyAIProvider(name, server.base_url, server.api_key, timeouts)
    if server.preset.wire == "watsonx":
        project, iam_url = settings.wx_project_id or "", settings.wx_iam_url
        return WatsonxProvider(name, server.base_url, server.api_key or "", project, iam_url, timeouts)
    return OpenAIProvider(name, server.base_url, server.api_key, timeouts, server.preset)
