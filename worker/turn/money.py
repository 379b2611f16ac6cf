"""What a turn may still spend, asked before each model: agents and prompts may have changed since the submit."""

from typing import Any

from shared.errors import Invalid, PaymentRequired
from shared.services.bound import input_tokens_for
from shared.services.turn import Turn
from worker.providers.registry import Model
from worker.state import Worker


def too_dear() -> PaymentRequired:
    """What is held back for the job does not cover it any more."""
    return PaymentRequired("The job would cost more than when it was submitted. Retry it to have it counted anew.")


def allow(turn: Turn, model: Model) -> None:
    """Raise Invalid when the turn's owner may not use a model."""
    if turn.allowed_models is not None and model.entry.id not in turn.allowed_models:
        raise Invalid(f"This account may not use {model.entry.id}.", code="model_not_allowed")


def spend(turn: Turn, model: Model, **used: Any) -> None:
    """Take what so much of a model costs off what is left; raises PaymentRequired when that is less."""
    if turn.left is None:
        return
    cost = model.entry.cost(**used)
    if not model.entry.is_priced or cost > turn.left:
        raise too_dear()
    turn.left -= cost


def input_tokens(worker: Worker, turn: Turn, chat: Model) -> int | None:
    """How many tokens a chat model may read for what is left, when it answers and the answer is spoken; None: any."""
    if turn.left is None:
        return None
    tts = worker.models.resolve("tts", turn.agent.ai_tts).entry if turn.job.reply_audio else None
    if not (chat.entry.is_priced and (tts is None or tts.is_priced)):
        raise too_dear()
    return input_tokens_for(turn.left, chat.entry, tts, max_reply_tokens=worker.settings.max_reply_tokens)
