"""What a model reads before it replies: who it is, where the conversation stands, and the last messages."""

from collections.abc import Sequence

from shared.models import MessageRole
from shared.services.cost_estimate import MESSAGE_TOKENS
from shared.services.job.turn import Turn
from worker.providers.base import ChatMessage
from worker.turn.spending import too_dear

WINDOW_TOKENS = 100_000  # of a model whose window is not known: that of every current one, with room for the reply
BYTES_PER_TOKEN = 3  # below the average of every tokenizer for English and Arabic, so it errs on the safe side

NAMES = {
    "ar": "Arabic", "de": "German", "en": "English", "es": "Spanish", "fa": "Persian", "fr": "French", "hi": "Hindi",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "pl": "Polish",
    "pt": "Portuguese", "ru": "Russian", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "zh": "Chinese",
}  # fmt: skip


def build(turn: Turn, *, language: str, window: int = WINDOW_TOKENS, most: int | None = None) -> list[ChatMessage]:
    """The context of a reply; the last message is the user's own text, unchanged.

    Older messages are left out first when all of it would not fit a window of so many tokens, or could be more than
    `most` tokens.
    Raises PaymentRequired when what must be said is more than that.
    """
    system = ChatMessage("system", _instructions(turn, language))
    left = window - tokens_of(system.content)
    paid = None if most is None else most - most_tokens_of([system])
    kept: list[ChatMessage] = []
    for role, text in [(MessageRole.USER, turn.message.text or ""), *reversed(turn.history)]:
        message = ChatMessage("user" if role == MessageRole.USER else "assistant", text)
        left -= tokens_of(text)
        if paid is not None:
            paid -= most_tokens_of([message])
            if paid < 0 and not kept:
                raise too_dear()
        if kept and (left < 0 or (paid is not None and paid < 0)):
            break
        kept.append(message)
    return [system, *reversed(kept)]


def _instructions(turn: Turn, language: str) -> str:
    parts = [
        turn.agent.prompt,
        turn.agent.personality and f"Personality: {turn.agent.personality}",
        turn.session.prompt,
        turn.session.summary and f"The conversation so far: {turn.session.summary}",
        _in_language(turn, NAMES.get(language, language)),
    ]
    if turn.job.reply_audio:
        parts.append("The reply is spoken aloud: write plain sentences, without markup.")
    return "\n\n".join(part for part in parts if part)


def _in_language(turn: Turn, name: str) -> str:
    """An agent that speaks any language may know better than we do which one it was spoken to in."""
    if turn.agent.languages:
        return f"Reply in {name}, whatever language the user speaks."
    return f"Reply in the language of the user's last message, which is probably {name}."


def tokens_of(text: str) -> int:
    """About how many tokens a message is."""
    return len(text.encode()) // BYTES_PER_TOKEN + 4


def most_tokens_of(messages: Sequence[ChatMessage]) -> int:
    """The most tokens that messages can be: each has at least one byte."""
    return sum(len(message.content.encode()) + MESSAGE_TOKENS for message in messages)
