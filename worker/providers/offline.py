"""The offline engine: espeak-ng speaks, pocketsphinx hears English phrases, and a script says what is missing."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from functools import cached_property

from shared.audio.pool import AudioPool
from shared.errors import Invalid, Unavailable, Unsupported, Upstream
from shared.language import choose
from worker.providers import sphinx
from worker.providers.base import Audio, ChatMessage, ChatUsage, InputLimits, Speech, Transcript
from worker.providers.espeak import Espeak
from worker.providers.failures import RATE_LIMITED, REJECTED

_HEAR_TIMEOUT_S = 90.0
_SILENCE_S = 0.2
_SHOWN_CHARS = 300

_ENGLISH_ONLY = "No speech recognition is configured, and the offline engine hears only English. Set OPENAI_API_KEY."
_NO_RECOGNISER = (
    "No speech recognition is configured, and the offline engine has no recogniser on this platform. "
    "Set OPENAI_API_KEY."
)
_NOT_UNDERSTOOD = (
    "No speech recognition is configured, and the offline engine knows only common English phrases: "
    "it did not understand this. Set OPENAI_API_KEY."
)
_PARTLY = "The offline engine understood only a part of this. Set OPENAI_API_KEY."

_REPLIES = {
    "en": (
        "No AI model is configured, so this is a scripted reply. "
        "To talk to a real model, set OPENAI_API_KEY in the .env file and restart Parley. "
    ),
    "ar": (
        "لم يتم إعداد أي نموذج ذكاء اصطناعي، لذلك هذا رد مكتوب مسبقًا. "
        "للتحدث مع نموذج حقيقي، ضع قيمة OPENAI_API_KEY في ملف .env ثم أعد تشغيل Parley. "
    ),
}
_YOU_SAID = {"en": "You said: “{text}”", "ar": "لقد قلت: «{text}»"}
_SAID_NOTHING = {"en": "Your message was empty.", "ar": "كانت رسالتك فارغة."}


class OfflineProvider:
    """Serves the three roles without a network or a key: for trying Parley, and for tests. Nothing is billed."""

    name = "offline"
    limits = InputLimits(extensions=frozenset({"wav"}), max_s=sphinx.MAX_S, max_bytes=2_000_000)

    def __init__(self) -> None:
        self._espeak = Espeak()

    @cached_property
    def _listener(self) -> AudioPool:
        # pocketsphinx holds the GIL: one process of its own, which starts with `warm` or the first voice note.
        return AudioPool(workers=1)

    async def stream_chat(
        self,
        messages: Sequence[ChatMessage],
        *,
        model: str,  # noqa: ARG002 - there is only one
        usage: ChatUsage,  # noqa: ARG002 - nothing is counted
        max_tokens: int | None = None,  # noqa: ARG002 - it is short
    ) -> AsyncGenerator[str, None]:
        """Yield, word by word, a reply in the last message's language that says no model is configured."""
        said = next((message.content for message in reversed(messages) if message.role == "user"), "").strip()
        language = await asyncio.to_thread(choose, said, "en")
        for word in re.findall(r"\S+\s*", _scripted(said, language)):
            yield word

    async def transcribe(
        self,
        audio: Audio,
        *,
        model: str,  # noqa: ARG002 - there is only one
        languages: Sequence[str],
    ) -> Transcript:
        """Hear common English phrases, in 60 s at most; whatever is not surely one gets no text and a note."""
        if not sphinx.IS_INSTALLED:
            return Transcript("", tuple(languages[:1]), _NO_RECOGNISER)
        if languages and "en" not in languages:
            return Transcript("", tuple(languages[:1]), _ENGLISH_ONLY)
        try:
            heard = await self._listener.run(sphinx.hear, audio.data, timeout_s=_HEAR_TIMEOUT_S)
        except Unavailable as error:
            busy = "The offline recogniser is busy."
            raise Upstream(busy, code=RATE_LIMITED.code, transient=True, retry_after=error.retry_after) from error
        except (Invalid, Unsupported) as error:
            raise Upstream("The offline recogniser could not read this audio.", code=REJECTED.code) from error
        if heard.understood:
            return Transcript(heard.text, ("en",), _PARTLY if heard.rejected else None)
        return Transcript("", tuple(languages[:1]), _NOT_UNDERSTOOD if heard.rejected else None)

    async def speak(
        self,
        text: str,
        *,
        model: str,  # noqa: ARG002 - there is only one
        language: str,
        voice: str | None,
    ) -> Speech:
        """Speak with espeak-ng's voice for `language`, else English; text without a letter or digit is a short pause.

        `voice` is espeak's (`en-gb`, `en-us+f2`); any other name, or one of another language, gives the default.
        """
        samples, sample_rate = await asyncio.to_thread(
            self._espeak.speak, text if any(map(str.isalnum, text)) else "", language=language, voice=voice
        )
        return Speech(samples.ljust(2 * int(_SILENCE_S * sample_rate), b"\0"), "pcm", sample_rate)

    async def warm(self, *, hears: bool, speaks: bool) -> None:
        """Load the recogniser and the voices; raises Upstream or Unavailable."""
        if speaks:
            await asyncio.to_thread(self._espeak.warm)
        if hears:
            await self._listener.run(sphinx.warm)

    async def close(self) -> None:
        """End the recogniser's process, if there is one."""
        await self._listener.close()


def _scripted(said: str, language: str) -> str:
    language = language if language in _REPLIES else "en"
    if not said:
        return _REPLIES[language] + _SAID_NOTHING[language]
    text = said if len(said) <= _SHOWN_CHARS else said[: _SHOWN_CHARS - 1] + "…"
    return _REPLIES[language] + _YOU_SAID[language].format(text=text)
