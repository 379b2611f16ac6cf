"""The last step of a spoken turn: the reply sentence by sentence, each saved when it is spoken, joined into one mp3."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

from shared.audio import mp3
from shared.audio.mp3 import Mp3
from shared.errors import Invalid, NotFound, Upstream
from shared.models import Blob, BlobPurpose
from shared.process.cancellation import end
from shared.redis.job_events import JobPublisher
from shared.services.blob import BlobContent
from shared.services.job import step as steps
from shared.services.job.turn import StepDone, Turn, Used
from worker.context import WorkerContext
from worker.providers.base import TextToSpeech
from worker.providers.fallback import first_to_answer
from worker.providers.registry import Model
from worker.turn import spending
from worker.turn.saving import keep, put, save
from worker.turn.sentences import SPEECH_LIMIT, SentenceCutter
from worker.turn.step_timer import StepFailedError, sha256, step

MIME, CODEC = "audio/mpeg", "mp3"


class Speaker:
    """Speaks a reply while it is being written: fed with its words, it speaks each sentence as soon as it is whole.

    Up to `TTS_CONCURRENCY` at a time, begun in order. When a sentence fails no further one is begun, and those under
    way are still finished and saved, as they are when the reply itself fails: they are paid for. Leaving the block
    for any other reason takes all of it along.
    """

    def __init__(self, worker: WorkerContext, turn: Turn, language: str, told: JobPublisher) -> None:
        self._worker = worker
        self._turn = turn
        self._language = language
        self._told = told
        self._voice = turn.agent.voice_in(language)
        self._sentences: list[asyncio.Task[Mp3 | None]] = []
        self._hashes: dict[str, str] = {}
        self._at_once = asyncio.Semaphore(worker.settings.tts_concurrency)
        self._failed: BaseException | None = None
        self._rate: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._models: list[Model[TextToSpeech]] = []
        spoken = (step for name, step in turn.steps.items() if name.startswith("speak/"))
        self._speaker = next(((step.provider, step.model) for step in spoken), None)  # one voice, if it can be had
        try:
            with step("speak"):
                self._models = spending.usable(turn, worker.models.tts(turn.agent.ai_tts))
        except StepFailedError as error:
            self._failed = error
        self._limit = min((model.entry.max_characters or SPEECH_LIMIT for model in self._models), default=SPEECH_LIMIT)
        self._cutter = SentenceCutter(language, limit=self._limit)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, StepFailedError):
            self._failed = self._failed or error
            await self._under_way()
        await end(*self._sentences)

    async def _under_way(self) -> None:
        """Wait until no sentence is spoken any more, or the job is not ours."""
        pending = {sentence for sentence in self._sentences if not sentence.done()}
        while pending and (self._failed is None or isinstance(self._failed, StepFailedError)):
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)

    def feed(self, text: str) -> None:
        """Take in more of the reply; raises what says that the job is not ours any more."""
        if self._failed and not isinstance(self._failed, StepFailedError):
            raise self._failed
        self._begin(self._cutter.feed(text))

    @property
    def has_begun(self) -> bool:
        """Whether a sentence has been whole."""
        return bool(self._hashes)

    def drop(self) -> None:
        """Forget what was fed, before it has begun."""
        self._cutter = SentenceCutter(self._language, limit=self._limit)

    def hashes(self) -> dict[str, str]:
        """What each sentence of the whole reply, by its step's name, is spoken from: nothing is fed after this."""
        self._begin(self._cutter.finish())
        return self._hashes

    async def finish(self) -> None:
        """Speak what is left, store the whole, and end the job; a reply with nothing to say ends it without sound."""
        reply = self._turn.reply
        if reply is None:
            msg = "a reply is saved before its speech is finished"
            raise RuntimeError(msg)
        if not self.hashes():
            await self._told.flush()
            await save(self._worker, lambda db: steps.save_silence(db, self._turn, reply))
            return
        await self._under_way()
        if self._failed:
            raise self._failed
        sounds = [sentence.result() for sentence in self._sentences]
        with step("speak"):
            whole = await self._measured(mp3.join, [sound.data for sound in sounds if sound])
            blob, content = await self._store(whole, BlobPurpose.REPLY)
            await self._told.flush()
            await keep(
                self._worker, blob, lambda db: steps.save_speech(db, self._turn, reply, blob=blob, content=content)
            )

    def _begin(self, sentences: list[str]) -> None:
        for text in sentences:
            name = f"speak/{len(self._hashes) + 1}"
            # Whoever of them spoke it: what one attempt has paid for is the next one's too.
            models = ",".join(sorted(f"{model.provider_name}/{model.model}" for model in self._models))
            self._hashes[name] = sha256(f"{models}|{self._voice}|{self._language}|{text}")
            if self._failed is None:
                try:
                    with step(name):
                        if not self._is_saved(name):
                            spending.spend(self._turn, self._models, characters=len(text))
                except StepFailedError as error:
                    self._failed = error
                    return
                self._sentences.append(asyncio.create_task(self._run(name, text)))

    def _is_saved(self, name: str) -> bool:
        saved = self._turn.steps.get(name)
        return bool(saved and saved.input_hash == self._hashes[name] and name in self._turn.sentence_keys)

    async def _run(self, name: str, text: str) -> Mp3 | None:
        first = name == "speak/1"
        try:
            async with self._at_once:
                if self._failed:
                    return None
                sound = await self._sentence(name, text, first=first)
        except Exception as error:  # noqa: BLE001 - `feed` and `finish` raise it
            self._failed = self._failed or error
            return None
        finally:
            if first and not self._rate.done():
                self._rate.set_result(None)
        self._told.audio(int(name.partition("/")[2]), text, sound.duration_s)
        return sound

    async def _sentence(self, name: str, text: str, *, first: bool) -> Mp3:
        with step(name) as timer:
            timer.model = self._models[0]
            if self._is_saved(name):
                with suppress(NotFound):  # bytes that went missing are spoken again
                    kept = await self._worker.blobs.read(self._turn.sentence_keys[name])
                    return await self._like_the_first(await self._measured(bytes, kept), first=first)

            async def ask(model: Model[TextToSpeech]) -> tuple[Mp3, Model[TextToSpeech]]:
                timer.model = model
                return await self._speak(text, model), model

            sound, model = await first_to_answer(self._worker.circuits, self._models, ask, first=self._speaker)
            self._speaker = (model.provider_name, model.model)
            with _sent_no_sound():
                sound = await self._like_the_first(sound, first=first)
            blob, content = await self._store(sound, BlobPurpose.SENTENCE)
            done = StepDone(
                name=name,
                duration_ms=timer.ms,
                provider=model.provider_name,
                model=model.model,
                input_hash=self._hashes[name],
                used=Used(
                    characters=len(text),
                    audio_s=content.duration_s,
                    cost=model.entry.cost(characters=len(text)),
                ),
            )
            await keep(
                self._worker,
                blob,
                lambda db: steps.save_sentence(db, self._turn, blob=blob, content=content, done=done),
            )
        return sound

    async def _speak(self, text: str, model: Model[TextToSpeech]) -> Mp3:
        voice = model.voice(self._voice, is_first=model is self._models[0])
        speech = await model.provider.speak(text, model=model.model, language=self._language, voice=voice)
        with _sent_no_sound():
            return await self._measured(mp3.to_mp3, speech.data, format=speech.format, rate=speech.sample_rate)

    async def _measured(self, make: Callable[..., bytes], *args: Any, **kwargs: Any) -> Mp3:
        return await self._worker.audio.run(mp3.measured, make, *args, **kwargs)

    async def _like_the_first(self, sound: Mp3, *, first: bool) -> Mp3:
        """Frames of the first sentence's shape: what listeners hear as it is made is then what is stored."""
        rate = None if first else await self._rate
        if not mp3.is_uniform(sound.data, rate=rate):
            sound = await self._measured(mp3.uniform, sound.data, rate=rate)
        if first:
            self._rate.set_result(mp3.sample_rate(sound.data))
        return sound

    async def _store(self, sound: Mp3, purpose: BlobPurpose) -> tuple[Blob, BlobContent]:
        blob = await save(self._worker, lambda db: steps.announce_sound(db, self._turn, purpose=purpose))
        await put(self._worker, blob.key, sound.data)
        return blob, BlobContent(MIME, CODEC, sound.duration_s, len(sound.data), sound.sha256)


@contextmanager
def _sent_no_sound() -> Iterator[None]:
    """What can't be used is the speech model's failure, and may go better another time."""
    try:
        yield
    except Invalid as error:
        raise Upstream("The speech model sent no sound.", code="bad_speech", transient=True) from error
