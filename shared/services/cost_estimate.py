"""The most a turn may cost: by the sizes of what its model reads, `max_tokens`, and the probed length of the sound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from typing import Any, NamedTuple, Self, get_args
from uuid import UUID

from sqlalchemy import Integer, Uuid, bindparam, func, type_coerce
from sqlalchemy import select as sql_select
from sqlmodel.ext.asyncio.session import AsyncSession

from shared.catalogue import MILLION, Catalogue, CatalogueModel, dearest
from shared.config import Settings
from shared.errors import Invalid
from shared.models import Agent, Message, Session, User, table
from shared.money import ZERO, Money
from shared.provider_presets import DOES, OFFLINE, ModelRef, Role
from shared.services.page import padded
from shared.services.user import Account
from shared.sql.functions import octets

CHARACTERS_PER_TOKEN = 5  # of a reply, at most, for what it costs to speak it
MESSAGE_TOKENS = 8  # that a chat model adds around each message
INSTRUCTION_BYTES = 500  # of what is written around the prompts, in `worker/turn/prompt.py`
UNKNOWN_BYTES = 4_000  # of a message that has still to be written when a turn is submitted
HEARD_BYTES_PER_S = 60  # of a transcript
SPARE = 1.05  # what is measured of sound may differ by a little
SPARE_CHARACTERS = 200  # that are said beside a reply's own words
EVERYTHING = 2**31 - 1

_agent, _session, _message, _user = table(Agent), table(Session), table(Message), table(User)
_earlier = (
    sql_select(_message.c.text)
    .where(_message.c.session_id == _session.c.id, _message.c.text.is_not(None))
    .where(_message.c.seq < bindparam("before", type_=Integer()))
    .order_by(_message.c.seq.desc())
    .limit(bindparam("most", type_=Integer()))
    .correlate(_session)
    .subquery()
)
_prompts = (_agent.c.prompt, _agent.c.personality, _session.c.prompt, _session.c.summary)
_spare = sql_select(type_coerce(_user.c.balance - _user.c.reserved, Money())).where(
    _user.c.id == bindparam("user", type_=Uuid())
)
_SIZES = (
    sql_select(
        _session.c.id,
        _agent.c.ai_chat,
        _agent.c.ai_stt,
        _agent.c.ai_tts,
        sum((octets(prompt) for prompt in _prompts[1:]), octets(_prompts[0])),
        sql_select(func.coalesce(func.sum(octets(_earlier.c.text)), 0)).scalar_subquery(),
        _spare.scalar_subquery(),
    )
    .join(_agent, _agent.c.id == _session.c.agent_id)
    .where(_session.c.id.in_(bindparam("sessions", type_=Uuid(), expanding=True)))
)


@dataclass(frozen=True)
class PriceBook:
    """The models and their prices, who serves them, those of agents that name none, and what bounds a turn's use.

    `providers` are the roles that each plays, `defaults` the first choice first. `history` is how many earlier
    messages a model reads at most.
    """

    catalogue: Catalogue
    providers: Mapping[str, frozenset[Role]]
    defaults: Mapping[Role, Sequence[ModelRef]]
    max_reply_tokens: int
    history: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the settings say."""
        defaults = {role: settings.model_refs(role) for role in get_args(Role)}
        catalogue = Catalogue.load(settings.model_catalogue)
        return cls(
            catalogue,
            {name: server.preset.roles for name, server in settings.model_servers.items()},
            defaults,
            settings.max_reply_tokens,
            settings.max_chat_history_context - 1,
        )


class Estimate(NamedTuple):
    """What a turn still has to do: hear so many seconds, answer the text, speak the answer.

    `text` is None until it is heard, `reply` until it is written. `ahead` are the unfinished turns of its session.
    """

    session_id: UUID | None
    speak: bool
    text: str | None = None
    audio_s: float = 0.0
    reply: str | None = None
    ahead: int = 0


async def bounds(
    db: AsyncSession, tariff: PriceBook, account: Account, asks: Sequence[Estimate], *, before: int = EVERYTHING
) -> tuple[list[Decimal], Decimal]:
    """The most that each turn of an account may cost, when its model reads messages below the number `before`.

    And what its balance has to spare just now, without a lock. Raises Invalid for a model that the account may not use.
    """
    params: dict[str, Any] = {"before": before, "most": tariff.history, "user": account.id}
    params["sessions"] = padded([ask.session_id for ask in asks])
    sizes = {row[0]: row[1:] for row in (await db.exec(_SIZES, params=params)).all()}  # type: ignore[call-overload]
    found, spare = [], None
    for ask in asks:
        chat, stt, tts, prompts, history, spare = sizes[ask.session_id]
        named: dict[Role, str | None] = {"chat": chat, "stt": stt, "tts": tts}
        models = {role: _dearest(tariff, account, role, named[role]) for role in _roles(ask)}
        found.append(_bound(tariff, ask, models, context_bytes=prompts + history))
    return found, sum(found, ZERO) if spare is None else spare


def may_use(account: Account, model: CatalogueModel) -> bool:
    """Whether a model is among an account's, and has a price if it is to be paid."""
    allowed = account.allowed_models is None or model.id in account.allowed_models
    return allowed and (account.balance is None or model.is_priced)


def usable_models(tariff: PriceBook, account: Account) -> list[CatalogueModel]:
    """The models that an account may name, and get when it names none; by kind and name."""
    defaults = [
        model for role, refs in tariff.defaults.items() for ref in refs for model in tariff.catalogue.line(role, ref)
    ]
    known = {(model.kind, model.id): model for model in [*defaults, *tariff.catalogue.served_by(tariff.providers)]}
    return [model for _, model in sorted(known.items()) if may_use(account, model)]


def check_named(tariff: PriceBook, account: Account, named: Mapping[str, Any]) -> None:
    """Raise Invalid, with a field each, for the models of an agent that nobody serves, or the account may not use."""
    errors = []
    for role in get_args(Role):
        refs = named.get(f"ai_{role}")
        for ref in ModelRef.parse_list(refs) if refs else ():
            if ref.provider not in tariff.providers:
                errors.append({"field": f"ai_{role}", "message": f"The provider {ref.provider!r} is not configured."})
            elif role not in tariff.providers[ref.provider]:
                errors.append({"field": f"ai_{role}", "message": f"{ref.provider!r} can't {DOES[role]}."})
            elif ref.provider == OFFLINE.provider and ref != OFFLINE:
                errors.append({"field": f"ai_{role}", "message": f"The offline engine has one model: {OFFLINE}."})
            elif tariff.catalogue.is_of_another_kind(role, ref):
                errors.append({"field": f"ai_{role}", "message": f"{ref} can't {DOES[role]}."})
            elif not may_use(account, tariff.catalogue.get(role, ref)):
                errors.append({"field": f"ai_{role}", "message": f"This account may not use {ref}."})
    if errors:
        raise Invalid(errors[0]["message"], errors=errors)


def input_tokens_for(
    left: Decimal, chat: CatalogueModel, tts: CatalogueModel | None, *, max_reply_tokens: int
) -> int | None:
    """How many tokens a chat model may read for what is left of a job's money; None for any number."""
    left -= _reply_cost(chat, tts, max_reply_tokens)
    if left < 0:
        return 0
    return int(left / chat.per_million_input_tokens * MILLION) if chat.per_million_input_tokens else None


def _roles(ask: Estimate) -> list[Role]:
    wanted: dict[Role, bool] = {"stt": ask.text is None, "chat": ask.reply is None, "tts": ask.speak}
    return [role for role, is_wanted in wanted.items() if is_wanted]


def _dearest(tariff: PriceBook, account: Account, role: Role, named: str | None) -> CatalogueModel:
    """The bound of those that an account may use: the others are left out when the turn runs."""
    refs = ModelRef.parse_list(named) if named else tariff.defaults[role]
    models = [model for ref in refs for model in tariff.catalogue.line(role, ref)]
    usable = [model for model in models if may_use(account, model)]
    if not usable:
        raise Invalid(f"This account may not use {models[0].id}.", code="model_not_allowed")
    return dearest(usable)


def _bound(tariff: PriceBook, ask: Estimate, models: Mapping[Role, CatalogueModel], *, context_bytes: int) -> Decimal:
    """In tokens a text is at most as long as in bytes."""
    tts = models.get("tts")
    if ask.reply is not None:
        return tts.cost(characters=len(ask.reply) + SPARE_CHARACTERS) if tts else ZERO
    heard = ceil(ask.audio_s) * HEARD_BYTES_PER_S + UNKNOWN_BYTES
    own = heard if ask.text is None else len(ask.text.encode())
    unknown = min(2 * ask.ahead, tariff.history) * UNKNOWN_BYTES
    tokens = INSTRUCTION_BYTES + context_bytes + unknown + own + MESSAGE_TOKENS * (tariff.history + 2)
    bound = models["chat"].cost(input_tokens=tokens) + _reply_cost(models["chat"], tts, tariff.max_reply_tokens)
    return bound + models["stt"].cost(audio_s=ask.audio_s * SPARE) if ask.text is None else bound


def _reply_cost(chat: CatalogueModel, tts: CatalogueModel | None, max_reply_tokens: int) -> Decimal:
    spoken = tts.cost(characters=max_reply_tokens * CHARACTERS_PER_TOKEN + SPARE_CHARACTERS) if tts else ZERO
    return chat.cost(output_tokens=max_reply_tokens) + spoken
