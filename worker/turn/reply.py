"""The second step of a turn: the reply."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from shared.events import Telling
from shared.language import choose, is_warm
from shared.models import LOCAL_USER_ID, MessageKind
from shared.services import step as steps
from shared.services.step import Reply
from shared.services.turn import StepDone, Turn, Used
from worker.providers.base import ChatMessage, ChatUsage
from worker.providers.offline import OfflineProvider
from worker.providers.registry import Model
from worker.state import Worker
from worker.turn import money
from worker.turn.context import build, most_tokens_of, tokens_of
from worker.turn.save import save
from worker.turn.speak import Speech
from worker.turn.step import Timer, sha256, step
from worker.turn.words import Words

NO_SPEECH = {
    "en": "I could not hear any speech in that voice note. Could you say it again?",
    "ar": "لم أسمع أي كلام في هذه الرسالة الصوتية. هل يمكنك إعادتها؟",
}
NOT_UNDERSTOOD = {
    "en": "I heard you, but no speech recognition is configured that could understand it. "
    "The offline engine knows only simple English.",
    "ar": "سمعت صوتك، لكن لا يوجد محرك للتعرف على الكلام يستطيع فهمه. المحرك المحلي لا يعرف إلا الإنجليزية البسيطة.",
}


async def reply(worker: Worker, turn: Turn, language: str, told: Telling, speech: Speech | None = None) -> None:
    """Write the reply and save it, passing on its words as they come.

    A voice note without speech gets an answer that says so, and costs nothing.
    """
    if turn.claim.attempt > 1:
        told.reset()
    words = Words()

    def say(piece: str) -> None:
        if piece:
            told.text(piece)
            if speech:
                speech.feed(piece)

    with step("reply") as timer:
        text = turn.message.text or ""
        done = StepDone(name="reply", duration_ms=timer.ms)
        if not text:
            say(words.add(_without_speech(turn, language)))
        else:
            done = await _ask(worker, turn, language, timer, words, say)
        first = speech is None and turn.claim.attempt == 1
        if not (first and await worker.replies.save(Reply(turn, words.text, language, done))):
            spoken = speech.hashes() if speech else {}
            await save(
                worker,
                lambda db: steps.save_reply(db, turn, text=words.text, language=language, done=done, spoken=spoken),
            )
    turn.unpaid = None
    if done.used and turn.job.owner_id != LOCAL_USER_ID:
        tokens = (done.used.input_tokens or 0) + (done.used.output_tokens or 0)
        await worker.limits.tokens_used(turn.job.owner_id, tokens)


async def _ask(
    worker: Worker, turn: Turn, language: str, timer: Timer, words: Words, say: Callable[[str], None]
) -> StepDone:
    """Ask the chat model. What was told of its answer is kept in `turn.unpaid`, however it ends."""
    timer.model = model = worker.models.resolve("chat", turn.agent.ai_chat)
    money.allow(turn, model)
    usage = ChatUsage()
    asked = build(turn, language=language, most=money.input_tokens(worker, turn, model))
    most = worker.settings.max_reply_tokens if turn.left is not None else None
    money.spend(turn, model, input_tokens=most_tokens_of(asked), output_tokens=most)
    streamed = model.provider.stream_chat(asked, model=model.model, usage=usage, max_tokens=most)
    try:
        async with aclosing(streamed) as pieces:
            async for piece in pieces:
                say(words.add(piece))
        say(words.finish())
    finally:
        done = StepDone(
            name="reply",
            duration_ms=timer.ms,
            provider=model.provider_name,
            model=model.model,
            input_hash=sha256(turn.message.text or ""),
            used=_used(turn, model, usage, asked, words.text),
        )
        turn.unpaid = done if words.text else None
    return done


async def language_of(turn: Turn) -> str:
    """The language of the reply: the one in which the user spoke."""
    if turn.reply and turn.reply.language:
        return turn.reply.language
    if turn.message.kind == MessageKind.VOICE:
        return turn.message.language or turn.language
    text = turn.message.text or ""
    return choose(text, turn.language) if is_warm() else await asyncio.to_thread(choose, text, turn.language)


def _used(turn: Turn, model: Model, usage: ChatUsage, asked: list[ChatMessage], said: str) -> Used:
    """What a reply used. Where somebody has to answer for it and the server did not count, it is estimated."""
    counted = Used(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
    if turn.job.owner_id != LOCAL_USER_ID and None in {usage.input_tokens, usage.output_tokens}:
        read = sum(tokens_of(message.content) for message in asked)
        counted = Used(input_tokens=usage.input_tokens or read, output_tokens=usage.output_tokens or tokens_of(said))
    cost = model.entry.cost(input_tokens=counted.input_tokens, output_tokens=counted.output_tokens)
    return replace(counted, cost=cost)


def _without_speech(turn: Turn, language: str) -> str:
    asked = turn.steps.get("transcribe")
    texts = NOT_UNDERSTOOD if asked and asked.provider == OfflineProvider.name else NO_SPEECH
    return texts.get(language, texts["en"])
