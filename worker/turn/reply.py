"""The second step of a turn: the reply."""

import asyncio
from contextlib import aclosing

from shared.language import choose
from shared.models import MessageKind
from shared.services import turn as turns
from shared.services.turn import StepDone, Turn, Used
from worker.providers.base import ChatUsage
from worker.providers.offline import OfflineProvider
from worker.providers.registry import Model
from worker.state import Worker
from worker.turn.context import build
from worker.turn.save import save, storable
from worker.turn.step import sha256, step

NO_SPEECH = {
    "en": "I could not hear any speech in that voice note. Could you say it again?",
    "ar": "لم أسمع أي كلام في هذه الرسالة الصوتية. هل يمكنك إعادتها؟",
}
NOT_UNDERSTOOD = {
    "en": "I heard you, but no speech recognition is configured that could understand it. "
    "The offline engine knows only simple English.",
    "ar": "سمعت صوتك، لكن لا يوجد محرك للتعرف على الكلام يستطيع فهمه. المحرك المحلي لا يعرف إلا الإنجليزية البسيطة.",
}


async def reply(worker: Worker, turn: Turn) -> None:
    """Write the reply and save it. A voice note without speech gets an answer that says so, and costs nothing."""
    with step("reply") as timer:
        text = turn.message.text or ""
        language = await _language(turn, text)
        if not text:
            answer, done = _without_speech(turn, language), StepDone(name="reply", duration_ms=timer.ms)
        else:
            timer.model = model = worker.models.resolve("chat", turn.agent.ai_chat)
            answer, usage = await _ask(worker, turn, model, language)
            done = StepDone(
                name="reply",
                duration_ms=timer.ms,
                provider=model.provider_name,
                model=model.model,
                input_hash=sha256(text),
                used=Used(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens),
            )
        await save(worker, lambda db: turns.save_reply(db, turn, text=answer, language=language, done=done))


async def _language(turn: Turn, text: str) -> str:
    if turn.message.kind == MessageKind.VOICE:
        return turn.message.language or turn.language
    return await asyncio.to_thread(choose, text, turn.language)


def _without_speech(turn: Turn, language: str) -> str:
    asked = turn.steps.get("transcribe")
    texts = NOT_UNDERSTOOD if asked and asked.provider == OfflineProvider.name else NO_SPEECH
    return texts.get(language, texts["en"])


async def _ask(worker: Worker, turn: Turn, model: Model, language: str) -> tuple[str, ChatUsage]:
    async with worker.database.read() as db:
        history = await turns.history(db, turn, limit=worker.settings.max_chat_history_context)
    usage = ChatUsage()
    messages = build(turn, history, language=language)
    async with aclosing(model.provider.stream_chat(messages, model=model.model, usage=usage)) as stream:
        pieces = [piece async for piece in stream]
    return storable("".join(pieces)), usage
