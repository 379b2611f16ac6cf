"""What a model reads before it replies: who it is, where the conversation stands, and the last messages."""

from shared.models import MessageRole
from shared.services.turn import Turn
from worker.providers.base import ChatMessage

WINDOW_TOKENS = 100_000  # under the window of every current model, with room for the reply
BYTES_PER_TOKEN = 3  # below the average of every tokenizer for English and Arabic, so it errs on the safe side

NAMES = {
    "ar": "Arabic", "de": "German", "en": "English", "es": "Spanish", "fa": "Persian", "fr": "French", "hi": "Hindi",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean", "nl": "Dutch", "pl": "Polish",
    "pt": "Portuguese", "ru": "Russian", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "zh": "Chinese",
}  # fmt: skip


def build(turn: Turn, *, language: str) -> list[ChatMessage]:
    """The context of a reply; the last message is the user's own text, unchanged.

    Older messages are left out first when all of it would not fit the window.
    """
    system = ChatMessage("system", _instructions(turn, language))
    left = WINDOW_TOKENS - _tokens(system.content)
    kept: list[ChatMessage] = []
    for role, text in [(MessageRole.USER, turn.message.text or ""), *reversed(turn.history)]:
        left -= _tokens(text)
        if left < 0 and kept:
            break
        kept.append(ChatMessage("user" if role == MessageRole.USER else "assistant", text))
    return [system, *reversed(kept)]


def _instructions(turn: Turn, language: str) -> str:
    parts = [
        turn.agent.prompt,
        turn.agent.personality and f"Personality: {turn.agent.personality}",
        turn.session.prompt,
        turn.session.summary and f"The conversation so far: {turn.session.summary}",
        f"Reply in {NAMES.get(language, language)}, the language the user speaks.",
    ]
    if turn.job.reply_audio:
        parts.append("The reply is spoken aloud: write plain sentences, without markup.")
    return "\n\n".join(part for part in parts if part)


def _tokens(text: str) -> int:
    return len(text.encode()) // BYTES_PER_TOKEN + 4
