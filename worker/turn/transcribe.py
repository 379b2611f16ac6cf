"""The first step of a spoken turn: what does the voice note say, and in which language."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from shared.audio.decode import Prepared, prepare
from shared.blank_text import is_blank
from shared.errors import Upstream
from shared.language import choose
from shared.models import Blob
from shared.models.message import MAX_TEXT_CHARS
from shared.services.job import step as steps
from shared.services.job.turn import StepDone, Turn, Used
from worker.context import WorkerContext
from worker.providers.base import Audio, InputLimits, SpeechToText
from worker.providers.failures import TRANSCRIPT_TOO_LONG, failure
from worker.providers.fallback import first_to_answer
from worker.providers.registry import Model
from worker.turn import spending
from worker.turn.saving import save
from worker.turn.step_timer import Timer, step
from worker.turn.storable_text import storable

log = structlog.get_logger(__name__)

MAX_TRANSCRIPT_CHARS = 100_000
CHARS_PER_S = 25  # more for a long note: nobody speaks as fast for hours


@dataclass(frozen=True)
class Transcript:
    """The words of a whole voice note, who heard them, and the languages that they told, if they did."""

    text: str
    languages: tuple[str, ...]
    audio_s: float
    model: Model[SpeechToText]


async def transcribe(worker: WorkerContext, turn: Turn) -> None:
    """Transcribe the turn's voice note and save it. Silence is not sent to any model: they invent words for it."""
    with step("transcribe") as timer:
        if turn.voice_note is None:
            raise Upstream("The voice note is gone.", code="audio_gone")
        heard = await _heard(worker, turn, turn.voice_note, timer)
        text = heard.text if heard else ""
        hint = turn.job.language_hint
        told = (*(heard.languages if heard else ()), *([hint] if hint else []))
        language = await asyncio.to_thread(choose, text, turn.language, told=told, allowed=turn.agent.languages)
        done = StepDone(
            name="transcribe",
            duration_ms=timer.ms,
            provider=heard.model.provider_name if heard else None,
            model=heard.model.model if heard else None,
            input_hash=turn.voice_note.sha256,
            used=Used(audio_s=heard.audio_s, cost=heard.model.entry.cost(audio_s=heard.audio_s)) if heard else None,
        )
        await save(worker, lambda db: steps.save_transcript(db, turn, text=text, language=language, done=done))


async def _heard(worker: WorkerContext, turn: Turn, note: Blob, timer: Timer) -> Transcript | None:
    """What the first model to answer hears, None in silence."""
    models = spending.usable(turn, worker.models.stt(turn.agent.ai_stt))
    timer.model = models[0]
    spending.spend(turn, models, audio_s=note.duration_s)
    limits = models[0].provider.limits
    ready = {limits: await _prepare(worker, note, limits)}
    if ready[limits].silent:
        return None
    hints = _hints(turn)

    async def ask(model: Model[SpeechToText]) -> Transcript:
        timer.model = model
        limits = model.provider.limits
        if limits not in ready:
            ready[limits] = await _prepare(worker, note, limits)
        return await _hear(ready[limits], model, hints)

    return await first_to_answer(worker.circuits, models, ask, last=turn.failed.get("transcribe"))


def _hints(turn: Turn) -> Sequence[str]:
    """The languages to expect: the one that the client named, else those that the agent speaks, its own first."""
    spoken, hint = turn.agent.languages, turn.job.language_hint
    if hint and (not spoken or hint in spoken):
        return [hint]
    return sorted(spoken, key=lambda code: code != turn.language)


async def _prepare(worker: WorkerContext, blob: Blob, limits: InputLimits) -> Prepared:
    async with worker.blobs.as_file(blob.key) as path:
        return await worker.audio.run(
            prepare,
            str(path),
            extensions=limits.extensions,
            max_s=worker.settings.max_audio_s,
            max_part_s=limits.max_s,
            max_bytes=limits.max_bytes,
        )


async def _hear(prepared: Prepared, model: Model[SpeechToText], hints: Sequence[str]) -> Transcript:
    texts: list[str] = []
    languages: list[str] = []
    seconds = sum(part.duration_s for part in prepared.parts)
    most = min(MAX_TEXT_CHARS, MAX_TRANSCRIPT_CHARS + int(seconds) * CHARS_PER_S)
    for part in prepared.parts:
        audio = Audio(part.data, part.extension, part.duration_s)
        transcript = await model.provider.transcribe(audio, model=model.model, languages=hints)
        if transcript.note:
            log.warning("transcribe.note", note=transcript.note)
        texts.append("" if is_blank(transcript.text) else storable(transcript.text))
        languages += transcript.languages
        if sum(map(len, texts)) + len(texts) > most:
            raise failure(TRANSCRIPT_TOO_LONG, provider=model.provider_name, model=model.model)
    return Transcript(" ".join(filter(None, texts)), tuple(dict.fromkeys(languages)), seconds, model)
