"""Which AI models there are: their prices, windows and end dates, from one data file that an operator may overrule."""

import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from shared.money import UNIT, ZERO
from shared.provider_presets import ModelRef, Role

OURS = Path(__file__).with_name("catalogue.toml")
NEAR = timedelta(days=60)  # how long before its end a model in use is warned of
MILLION = Decimal(1_000_000)
PRICES: dict[Role, tuple[str, ...]] = {
    "chat": ("per_million_input_tokens", "per_million_output_tokens"),
    "stt": ("per_audio_minute",),
    "tts": ("per_million_characters",),
}

ModelRefPattern = Annotated[str, StringConstraints(pattern=r"^[^/\s,]+/[^\s,]+$", max_length=200)]
Price = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=8)]


class CatalogueModel(BaseModel):
    """A model in one role; its prices in dollars."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: ModelRefPattern
    kind: Role
    context_window: int | None = Field(default=None, ge=1)
    per_million_input_tokens: Price | None = None
    per_million_output_tokens: Price | None = None
    per_audio_minute: Price | None = None
    per_million_characters: Price | None = None
    max_characters: int | None = Field(default=None, ge=20)  # that a model speaks at once
    voices: tuple[str, ...] = ()
    retires_on: date | None = None
    followed_by: ModelRefPattern | None = None  # who takes its place when its provider has ended it

    @field_validator("id")
    @classmethod
    def _is_named_as_elsewhere(cls, name: str) -> str:
        return str(ModelRef.parse(name))

    @model_validator(mode="after")
    def _has_the_prices_of_its_kind(self) -> Self:
        told = {name for names in PRICES.values() for name in names if getattr(self, name) is not None}
        if told and told != set(PRICES[self.kind]):
            msg = f"{self.id}: a model of kind {self.kind} has the prices {', '.join(PRICES[self.kind])}, or none"
            raise ValueError(msg)
        return self

    @property
    def is_priced(self) -> bool:
        """Whether it is known what it costs: only then may an account with a balance use it."""
        return getattr(self, PRICES[self.kind][0]) is not None

    def has_ended(self, today: date) -> bool:
        """Whether its provider has ended it."""
        return self.retires_on is not None and self.retires_on <= today

    def cost(
        self,
        *,
        input_tokens: int | None = None,
        output_tokens: int | None = None,
        audio_s: float | None = None,
        characters: int | None = None,
    ) -> Decimal:
        """What so much of it costs in dollars, rounded up to the unit; nothing without a price."""
        cost = (
            (self.per_million_input_tokens or ZERO) * (input_tokens or 0) / MILLION
            + (self.per_million_output_tokens or ZERO) * (output_tokens or 0) / MILLION
            + (self.per_audio_minute or ZERO) * Decimal(round((audio_s or 0) * 1_000)) / 60_000
            + (self.per_million_characters or ZERO) * (characters or 0) / MILLION
        )
        return cost.quantize(UNIT, ROUND_UP)


def dearest(models: Iterable[CatalogueModel]) -> CatalogueModel:
    """One that costs as much as the dearest of these does, in each of its prices: who answers is not known yet."""
    first, *others = models
    prices = [name for name in PRICES[first.kind] if any(getattr(one, name) is not None for one in (first, *others))]
    most = {name: max(getattr(one, name) or ZERO for one in (first, *others)) for name in prices}
    return first.model_copy(update=most)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: list[CatalogueModel]


class Catalogue:
    """The models by kind and name."""

    def __init__(self, models: Iterable[CatalogueModel]) -> None:
        self._models = {(model.kind, model.id): model for model in models}

    @classmethod
    def load(cls, theirs: Path | None = None) -> Self:
        """Read our file, and `theirs` over it; exits with one clear line for a file that is not as it should be."""
        try:
            return cls([model for path in (OURS, theirs) if path for model in _read(path)])
        except ValueError as error:
            raise SystemExit(f"Parley can't read its models: {error}") from None

    def get(self, kind: Role, ref: ModelRef) -> CatalogueModel:
        """A model; one that is not in the catalogue has no price."""
        known = self._models.get((kind, str(ref)))
        return known or CatalogueModel.model_construct(id=str(ref), kind=kind)

    def is_of_another_kind(self, kind: Role, ref: ModelRef) -> bool:
        """Whether a model is known, and not for this role."""
        kinds = {known for known, name in self._models if name == str(ref)}
        return bool(kinds) and kind not in kinds

    def line(self, kind: Role, ref: ModelRef) -> list[CatalogueModel]:
        """A model and those that follow it, each when the one before has ended."""
        line = [self.get(kind, ref)]
        while (name := line[-1].followed_by) and name not in {model.id for model in line}:
            line.append(self.get(kind, ModelRef.parse(name)))
        return line

    def current(self, kind: Role, ref: ModelRef, today: date) -> CatalogueModel:
        """A model, or the first that follows it and has not ended; itself when all have."""
        line = self.line(kind, ref)
        return next((model for model in line if not model.has_ended(today)), line[0])

    def served_by(self, providers: Mapping[str, Collection[Role]]) -> list[CatalogueModel]:
        """The models of these providers, in the roles that each plays."""
        return [
            model
            for model in self._models.values()
            if model.kind in providers.get(ModelRef.parse(model.id).provider, ())
        ]


def retiring(lists: Iterable[Sequence[CatalogueModel]], today: date) -> list[str]:
    """A sentence for each model that has ended or is about to, and who follows it in its list."""
    found: dict[str, str] = {}
    for models in lists:
        stay = [model.id for model in models if model.retires_on is None or model.retires_on - today > NEAR]
        follower = f"{stay[0]} follows" if stay else "choose another model"
        for model in models:
            if (end := model.retires_on) and model.id not in stay:
                verb = "ends" if end > today else "has ended"
                found[model.id] = f"{model.id} {verb} on {end}: {follower}"
    return [sentence for _, sentence in sorted(found.items())]


def _read(path: Path) -> list[CatalogueModel]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
        return _File.model_validate(tables).model
    except ValidationError as error:
        first = error.errors()[0]
        msg = f"{path}: {'.'.join(map(str, first['loc']))} {first['msg']}"
        raise ValueError(msg) from None
    except (OSError, ValueError) as error:
        msg = f"{path}: {error}"
        raise ValueError(msg) from None
