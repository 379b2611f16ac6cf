"""The last step of a spoken turn: the reply sentence by sentence, each saved when it is spoken, joined into one mp3."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from shared.audio import mp3
from shared.errors import Invalid, NotFound, Upstream
from shared.models import Blob, BlobPurpose, Message
from shared.services import turn as turns
from shared.services.blob import Content
from shared.services.turn import StepDone, Turn, Used
from worker.providers.registry import Model
from worker.state import Worker
from worker.turn.save import save
from worker.turn.sentences import cut
from worker.turn.step import StepFailedError, sha256, step

T = TypeVar("T")

MIME, CODEC = "audio/mpeg", "mp3"


async def speak(worker: Worker, turn: Turn, reply: Message) -> None:
    """Speak every sentence that no earlier attempt has spoken, store the whole, and end the job.

    When a sentence fails, those under way are still finished and saved: they are paid for.
    """
    language = reply.language or turn.language
    with step("speak"):
        model = worker.models.resolve("tts", turn.agent.ai_tts)
    sentences = cut(reply.text or "", language) or [reply.text or ""]
    at_once = asyncio.Semaphore(worker.settings.tts_concurrency)
    failed = asyncio.Event()

    async def one(index: int, sentence: str) -> bytes | None:
        async with at_once:
            if failed.is_set():
                return None
            try:
                return await _sentence(worker, turn, model, f"speak/{index}", sentence, language)
            except StepFailedError:
                failed.set()
                raise

    async with _all(one(index, sentence) for index, sentence in enumerate(sentences, start=1)) as tasks:
        await asyncio.wait(tasks)
        spoken = [task.result() for task in tasks]
    with step("speak"):
        whole = await worker.audio.run(mp3.join, [sound for sound in spoken if sound])
        blob, content = await _store(worker, turn, whole, BlobPurpose.REPLY)
        await save(worker, lambda db: turns.save_speech(db, turn, reply, blob=blob, content=content))


@asynccontextmanager
async def _all(work: Iterable[Coroutine[None, None, T]]) -> AsyncIterator[list["asyncio.Task[T]"]]:
    """Run it side by side; whoever leaves early (a cancel, a lost lease) takes all of it along."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _sentence(worker: Worker, turn: Turn, model: Model, name: str, text: str, language: str) -> bytes:
    input_hash = sha256(f"{model.provider_name}/{model.model}|{turn.agent.voice}|{language}|{text}")
    with step(name) as timer:
        timer.model = model
        saved = turn.steps.get(name)
        if saved and saved.input_hash == input_hash and name in turn.sentence_keys:
            with suppress(NotFound):  # bytes that went missing are spoken again
                return await worker.blobs.read(turn.sentence_keys[name])
        speech = await model.provider.speak(text, model=model.model, language=language, voice=turn.agent.voice)
        try:
            sound = await worker.audio.run(mp3.to_mp3, speech.data, format=speech.format, rate=speech.sample_rate)
        except Invalid as error:
            raise Upstream("The speech model sent no sound.", code="bad_speech", transient=True) from error
        blob, content = await _store(worker, turn, sound, BlobPurpose.SENTENCE)
        done = StepDone(
            name=name,
            duration_ms=timer.ms,
            provider=model.provider_name,
            model=model.model,
            input_hash=input_hash,
            used=Used(characters=len(text), audio_s=content.duration_s),
        )
        await save(worker, lambda db: turns.save_sentence(db, turn, blob=blob, content=content, done=done))
    return sound


async def _store(worker: Worker, turn: Turn, sound: bytes, purpose: BlobPurpose) -> tuple[Blob, Content]:
    blob = await save(worker, lambda db: turns.announce_sound(db, turn, purpose=purpose))
    await worker.blobs.put(blob.key, sound)
    seconds = mp3.duration(sound)
    return blob, Content(MIME, CODEC, seconds, len(sound), hashlib.sha256(sound).hexdigest())
