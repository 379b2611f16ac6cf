"""The second step of a turn: the reply."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from shared.errors import Upstream
from shared.language import choose, is_warm
from shared.models import LOCAL_USER_ID, MessageKind
from shared.redis.job_events import JobPublisher
from shared.services.job import step as steps
from shared.services.job.step import TurnReply
from shared.services.job.turn import StepDone, Turn, Used
from worker.context import WorkerContext
from worker.providers.base import ChatMessage, ChatProvider, ChatUsage
from worker.providers.failures import FINAL, NO_ANSWER, RETRIED_ONCE, THOUGHT_ALOUD, failure
from worker.providers.fallback import BrokenOffError, FinalError, first_to_answer
from worker.providers.offline import OfflineProvider
from worker.providers.registry import Model
from worker.turn import spending
from worker.turn.prompt import WINDOW_TOKENS, build, most_tokens_of, tokens_of
from worker.turn.saving import save
from worker.turn.speak import Speaker
from worker.turn.step_timer import Timer, sha256, step
from worker.turn.storable_text import Words, storable

NO_SPEECH = {
    "en": "I could not hear any speech in that voice note. Could you say it again?",
    "ar": "لم أسمع أي كلام في هذه الرسالة الصوتية. هل يمكنك إعادتها؟",
}
NOT_UNDERSTOOD = {
    "en": "I heard you, but no speech recognition is configured that could understand it. "
    "The offline engine knows only simple English.",
    "ar": "سمعت صوتك، لكن لا يوجد محرك للتعرف على الكلام يستطيع فهمه. المحرك المحلي لا يعرف إلا الإنجليزية البسيطة.",
}


class Draft:
    """A reply while it comes: its words are passed on at once, and taken back when it begins anew."""

    def __init__(self, told: JobPublisher, speech: Speaker | None) -> None:
        self._told = told
        self._speech = speech
        self._words = Words()

    @property
    def text(self) -> str:
        """All that was said so far."""
        return self._words.text

    def add(self, piece: str) -> None:
        """Take in a piece as it came from a model."""
        self._say(self._words.add(piece))

    def finish(self) -> None:
        """Nothing comes any more."""
        self._say(self._words.finish())

    @property
    def is_spoken(self) -> bool:
        """Whether some of it has begun to be spoken: only another attempt may take it back."""
        return self._speech is not None and self._speech.has_begun

    def begin(self) -> None:
        """Take back what was said, if anything was."""
        if self._words.text:
            self._told.reset()
        if self._speech:
            self._speech.drop()
        self._words = Words()

    def _say(self, piece: str) -> None:
        if piece:
            self._told.text(piece)
            if self._speech:
                self._speech.feed(piece)


async def reply(
    worker: WorkerContext, turn: Turn, language: str, told: JobPublisher, speech: Speaker | None = None
) -> None:
    """Write the reply and save it, passing on its words as they come.

    A voice note without speech gets an answer that says so, and costs nothing.
    """
    if turn.claim.attempt > 1:
        told.reset()
    draft = Draft(told, speech)
    with step("reply") as timer:
        if turn.message.text:
            try:
                done = await _ask(worker, turn, language, timer, draft)
            except Upstream as error:
                await _count_tokens(worker, turn, timer.used)
                if error.code in RETRIED_ONCE and turn.claim.attempt > 1:
                    error.transient = False
                raise
        else:
            done = StepDone(name="reply", duration_ms=timer.ms)
            draft.add(_without_speech(turn, language))
            draft.finish()
        first = speech is None and turn.claim.attempt == 1
        if not (first and await worker.replies.save(TurnReply(turn, draft.text, language, done))):
            spoken = speech.hashes() if speech else {}
            await save(
                worker,
                lambda db: steps.save_reply(db, turn, text=draft.text, language=language, done=done, spoken=spoken),
            )
    turn.unpaid = None
    await _count_tokens(worker, turn, done.used)


async def _count_tokens(worker: WorkerContext, turn: Turn, used: Used | None) -> None:
    if used and turn.job.owner_id != LOCAL_USER_ID:
        await worker.limits.tokens_used(turn.job.owner_id, (used.input_tokens or 0) + (used.output_tokens or 0))


async def _ask(worker: WorkerContext, turn: Turn, language: str, timer: Timer, draft: Draft) -> StepDone:
    """Ask the chat models until one has answered. What was told of its answer is kept in `turn.unpaid`.

    Tokens of failed calls are paid too: they go into `timer.used`, and into the step of the model that answers.
    """
    models = spending.usable(turn, worker.models.chat(turn.agent.ai_chat))
    timer.model = models[0]
    most = worker.settings.max_reply_tokens if turn.left is not None else None
    most_read = spending.input_tokens(worker, turn, models)
    longest = build(turn, language=language, window=max(map(_window, models)), most=most_read)
    spending.spend(turn, models, input_tokens=most_tokens_of(longest), output_tokens=most)

    async def ask(model: Model[ChatProvider]) -> StepDone:
        timer.model = model
        draft.begin()
        asked = build(turn, language=language, window=_window(model), most=most_read)

        def restart() -> None:
            if draft.is_spoken:
                raise failure(THOUGHT_ALOUD, provider=model.provider_name, model=model.model)
            draft.begin()

        usage = ChatUsage(on_restart=restart)
        before = timer.used

        def used() -> Used:
            mine = _used(turn, model, usage, asked, draft.text)
            return before + mine if before else mine

        streamed = model.provider.stream_chat(asked, model=model.model, usage=usage, max_tokens=most)
        try:
            await _read(streamed, draft)
        except Upstream as error:
            if _is_paid(error, usage):
                timer.used = used()
            if error.code in FINAL:
                raise FinalError(error) from None
            if draft.is_spoken:
                raise BrokenOffError(error) from None
            raise
        finally:
            done = _done(turn, model, timer, usage, used())
            turn.unpaid = done if draft.text else None
        return done

    return await first_to_answer(worker.circuits, models, ask, last=turn.failed.get("reply"))


async def _read(streamed: AsyncGenerator[str], draft: Draft) -> None:
    async with aclosing(streamed) as pieces:
        async for piece in pieces:
            draft.add(piece)
    draft.finish()


def _is_paid(error: Upstream, usage: ChatUsage) -> bool:
    """Whether a failed call is charged: when the model completed its answer, or the server has counted tokens."""
    is_counted = usage.input_tokens is not None or usage.output_tokens is not None
    return is_counted or error.code in FINAL or error.code == NO_ANSWER.code


def _window(model: Model[ChatProvider]) -> int:
    """How many tokens a model may be given to read; the rest of its window is for what it writes."""
    known = model.entry.context_window
    return min(WINDOW_TOKENS, known * 3 // 4) if known else WINDOW_TOKENS


async def language_of(turn: Turn) -> str:
    """The language of the reply: the one in which the user spoke."""
    if turn.reply and turn.reply.language:
        return turn.reply.language
    if turn.message.kind == MessageKind.VOICE:
        return turn.message.language or turn.language
    judge = partial(choose, turn.message.text or "", turn.language, allowed=turn.agent.languages)
    return judge() if is_warm() else await asyncio.to_thread(judge)


def _done(turn: Turn, model: Model[ChatProvider], timer: Timer, usage: ChatUsage, used: Used) -> StepDone:
    return StepDone(
        name="reply",
        duration_ms=timer.ms,
        provider=model.provider_name,
        model=model.model,
        input_hash=sha256(turn.message.text or ""),
        used=used,
        finish_reason=usage.finish_reason,
        reasoning=storable(usage.reasoning) or None if turn.agent.show_reasoning else None,
    )


def _used(turn: Turn, model: Model[ChatProvider], usage: ChatUsage, asked: list[ChatMessage], said: str) -> Used:
    """What a reply used. Where somebody has to answer for it and the server did not count, it is estimated."""
    counted = Used(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
    if turn.job.owner_id != LOCAL_USER_ID and None in {usage.input_tokens, usage.output_tokens}:
        read = sum(tokens_of(message.content) for message in asked)
        written = tokens_of(usage.reasoning + said)
        counted = Used(input_tokens=usage.input_tokens or read, output_tokens=usage.output_tokens or written)
    cost = model.entry.cost(input_tokens=counted.input_tokens, output_tokens=counted.output_tokens)
    return replace(counted, cost=cost)


def _without_speech(turn: Turn, language: str) -> str:
    asked = turn.steps.get("transcribe")
    texts = NOT_UNDERSTOOD if asked and asked.provider == OfflineProvider.name else NO_SPEECH
    return texts.get(language, texts["en"])
