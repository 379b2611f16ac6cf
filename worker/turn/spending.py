"""What a turn may still spend, asked before each model: agents and prompts may have changed since the submit."""

from collections.abc import Sequence
from typing import Any, TypeVar

from shared.catalogue import CatalogueModel, dearest
from shared.errors import Invalid, PaymentRequired
from shared.services.cost_estimate import input_tokens_for
from shared.services.job.turn import Turn
from worker.context import WorkerContext
from worker.providers.base import Provider
from worker.providers.registry import Model

P = TypeVar("P", bound=Provider)


def too_dear() -> PaymentRequired:
    """What is held back for the job does not cover it any more."""
    return PaymentRequired("The job would cost more than when it was submitted. Retry it to have it counted anew.")


def usable(turn: Turn, models: Sequence[Model[P]]) -> list[Model[P]]:
    """Those that the turn's owner may use and, if they have a balance, that have a price.

    Raises Invalid or PaymentRequired when there are none.
    """
    allowed = [model for model in models if turn.allowed_models is None or model.entry.id in turn.allowed_models]
    if not allowed:
        raise Invalid(f"This account may not use {models[0].entry.id}.", code="model_not_allowed")
    priced = [model for model in allowed if turn.left is None or model.entry.is_priced]
    if not priced:
        raise too_dear()
    return priced


def spend(turn: Turn, models: Sequence[Model[P]], **used: Any) -> None:
    """Take what so much of the dearest model costs off what is left; raises PaymentRequired when that is less."""
    if turn.left is None:
        return
    cost = _dearest(models).cost(**used)
    if cost > turn.left:
        raise too_dear()
    turn.left -= cost


def input_tokens(worker: WorkerContext, turn: Turn, chat: Sequence[Model[P]]) -> int | None:
    """How many tokens a chat model may read for what is left, when it answers and the answer is spoken; None: any."""
    if turn.left is None:
        return None
    tts = _dearest(usable(turn, worker.models.tts(turn.agent.ai_tts))) if turn.job.reply_audio else None
    return input_tokens_for(turn.left, _dearest(chat), tts, max_reply_tokens=worker.settings.max_reply_tokens)


def _dearest(models: Sequence[Model[P]]) -> CatalogueModel:
    return dearest(model.entry for model in models)
