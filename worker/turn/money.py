"""What a turn may still spend, asked before each model: agents and prompts may have changed since the submit."""

from typing import Any

from shared.errors import PaymentRequired
from shared.services.bound import input_tokens_for
from shared.services.turn import Turn
from worker.providers.registry import Model
from worker.state import Worker


def too_dear() -> PaymentRequired:
    """What is held back for the job does not cover it any more."""
    return PaymentRequired("The job would cost more than when it was submitted. Retry it to have it counted anew.")


def check(turn: Turn, model: Model, **used: Any) -> None:
    """Raise PaymentRequired when what is left of a turn's money does not cover so much of a model."""
    if turn.left is not None and not (model.entry.is_priced and model.entry.cost(**used) <= turn.left):
        raise too_dear()


def input_tokens(worker: Worker, turn: Turn, chat: Model) -> int | None:
    """How many tokens a chat model may read for what is left, when it answers and the answer is spoken; None: any."""
    if turn.left is None:
        return None
    tts = worker.models.resolve("tts", turn.agent.ai_tts).entry if turn.job.reply_audio else None
    if not (chat.entry.is_priced and (tts is None or tts.is_priced)):
        raise too_dear()
    return input_tokens_for(turn.left, chat.entry, tts, max_reply_tokens=worker.settings.max_reply_tokens)
