"""The first step of a spoken turn: what does the voice note say, and in which language."""

import asyncio
from dataclasses import dataclass

import structlog

from shared.audio.decode import Prepared, prepare
from shared.errors import Upstream
from shared.language import choose
from shared.models import Blob
from shared.services import step as steps
from shared.services.turn import StepDone, Turn, Used
from worker.providers.base import Audio
from worker.providers.registry import Model
from worker.state import Worker
from worker.turn import money
from worker.turn.save import save
from worker.turn.step import step
from worker.turn.words import storable

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Heard:
    """The words of a whole voice note, and the language that the provider told, if it did."""

    text: str
    language: str | None
    audio_s: float


async def transcribe(worker: Worker, turn: Turn) -> None:
    """Transcribe the turn's voice note and save it. Silence is not sent to any model: they invent words for it."""
    with step("transcribe") as timer:
        if turn.voice_note is None:
            raise Upstream("The voice note is gone.", code="audio_gone")
        timer.model = model = worker.models.resolve("stt", turn.agent.ai_stt)
        money.allow(turn, model)
        money.spend(turn, model, audio_s=turn.voice_note.duration_s)
        prepared = await _prepare(worker, turn.voice_note, model)
        hint = turn.job.language_hint
        heard = await _hear(prepared, model, hint) if not prepared.silent else None
        text = heard.text if heard else ""
        told = (heard.language if heard else None) or hint
        language = await asyncio.to_thread(choose, text, told or turn.language)
        done = StepDone(
            name="transcribe",
            duration_ms=timer.ms,
            provider=model.provider_name if heard else None,
            model=model.model if heard else None,
            input_hash=turn.voice_note.sha256,
            used=Used(audio_s=heard.audio_s, cost=model.entry.cost(audio_s=heard.audio_s)) if heard else None,
        )
        await save(worker, lambda db: steps.save_transcript(db, turn, text=text, language=language, done=done))


async def _prepare(worker: Worker, blob: Blob, model: Model) -> Prepared:
    limits = model.provider.limits
    async with worker.blobs.as_file(blob.key) as path:
        return await worker.audio.run(
            prepare,
            str(path),
            extensions=limits.extensions,
            max_s=worker.settings.max_audio_s,
            max_part_s=limits.max_s,
            max_bytes=limits.max_bytes,
        )


async def _hear(prepared: Prepared, model: Model, hint: str | None) -> Heard:
    texts, languages = [], []
    for part in prepared.parts:
        audio = Audio(part.data, part.extension, part.duration_s)
        transcript = await model.provider.transcribe(audio, model=model.model, language=hint)
        if transcript.note:
            log.warning("transcribe.note", note=transcript.note)
        texts.append(storable(transcript.text))
        languages.append(transcript.language)
    told = next((language for language in languages if language), None)
    return Heard(" ".join(filter(None, texts)), told, sum(part.duration_s for part in prepared.parts))
