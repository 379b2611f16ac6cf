"""`python -m worker check-models`: one short question to each configured model, and a table of what came of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.audio import mp3
from shared.audio.decode import wav_of
from shared.config import Settings
from shared.errors import AppError
from shared.printable import escaped
from worker.providers.base import (
    Audio,
    ChatMessage,
    ChatProvider,
    ChatUsage,
    Provider,
    Speech,
    SpeechToText,
    TextToSpeech,
)
from worker.providers.espeak import Espeak
from worker.providers.registry import Model, Models

P = TypeVar("P", bound=Provider)

QUESTION = [ChatMessage("system", "Be brief."), ChatMessage("user", "Answer with the one word: Hello")]
SAID = "What time is it?"
CLEAR = "en-us+f2"  # that recognisers understand best
SHOWN_CHARS = 40
ModelTest = Callable[[Model[P]], Awaitable["Answer"]]
HEADINGS = ("role", "model", "reachable", "latency", "first token", "answer", "ends on")


@dataclass
class Answer:
    """What a model did with the question; the first token's time is a chat model's."""

    said: str
    first_token_s: float | None = None


async def check_models(settings: Settings) -> tuple[str, bool]:
    """The table, and whether all models answered."""
    models = Models(settings)
    try:
        note = await asyncio.to_thread(_note)
        probes = [
            *_probes(models.chat(), lambda one: _chat(one, settings.max_reply_tokens)),
            *_probes(models.stt(), lambda one: _hear(one, note)),
            *_probes(models.tts(), _speak),
        ]
        found = await asyncio.gather(*probes)
    finally:
        await models.close()
    return _table([HEADINGS, *(row for row, _ in found)]), all(answered for _, answered in found)


def _probes(models: Sequence[Model[P]], ask: ModelTest[P]) -> Iterator[Awaitable[tuple[Sequence[str], bool]]]:
    """One for each model of a role. What has ended is asked only where nothing else is: as for a job."""
    ids = {model.entry.id for model in models}
    is_replaced = not all(model.has_ended for model in models)
    for model in models:
        if model.has_ended and is_replaced:
            yield _ended(model, ids)
        elif model.is_home or not model.follows:  # a server that only resembles the provider's own has no followers
            yield _probe(model, ask)


async def _ended(model: Model[Any], ids: Collection[str]) -> tuple[Sequence[str], bool]:
    follower = f"{model.entry.followed_by} follows" if model.entry.followed_by in ids else ""
    return (model.role, model.entry.id, "ended", "", "", follower, str(model.entry.retires_on)), True


async def _probe(model: Model[P], ask: ModelTest[P]) -> tuple[Sequence[str], bool]:
    began = time.perf_counter()
    ends_on = str(model.entry.retires_on or "") if model.is_home else ""
    try:
        answer = await ask(model)
    except AppError as error:
        return (model.role, model.entry.id, "no", _ms(time.perf_counter() - began), "", error.detail, ends_on), False
    first_token = "" if answer.first_token_s is None else _ms(answer.first_token_s)
    latency = _ms(time.perf_counter() - began)
    return (model.role, model.entry.id, "yes", latency, first_token, answer.said, ends_on), True


async def _chat(model: Model[ChatProvider], max_tokens: int) -> Answer:
    """Ask as a job does whose reply is paid for, with a limit: what else a job sends is the same for all."""
    began = time.perf_counter()
    first: float | None = None
    said: list[str] = []
    usage = ChatUsage(on_restart=said.clear)
    streamed = model.provider.stream_chat(QUESTION, model=model.model, usage=usage, max_tokens=max_tokens)
    async with aclosing(streamed) as pieces:
        async for piece in pieces:
            first = first or time.perf_counter() - began
            said.append(piece)
    return Answer(_short("".join(said)), first)


async def _hear(model: Model[SpeechToText], note: Audio) -> Answer:
    heard = await model.provider.transcribe(note, model=model.model, languages=["en"])
    return Answer(_short(heard.text or heard.note or "nothing"))


async def _speak(model: Model[TextToSpeech]) -> Answer:
    speech = await model.provider.speak(SAID, model=model.model, language="en", voice=model.voice(None))
    return Answer(await asyncio.to_thread(_sound, speech))  # encoding must not hold up the others, whose time is taken


def _sound(speech: Speech) -> str:
    sound = mp3.to_mp3(speech.data, format=speech.format, rate=speech.sample_rate)
    rate = speech.sample_rate if speech.format == "pcm" else mp3.sample_rate(sound) or 0
    return f"{speech.format}, {rate / 1_000:g} kHz, {mp3.duration(sound):.1f} s"


def _note() -> Audio:
    """A short voice note, as a computer says it."""
    pcm, rate = Espeak().speak(SAID, language="en", voice=CLEAR)
    return Audio(wav_of(pcm, rate=rate), "wav", len(pcm) / 2 / rate)


def _short(text: str) -> str:
    line = " ".join("".join(char for char in text if char.isprintable() or char.isspace()).split())
    return line if len(line) <= SHOWN_CHARS else line[: SHOWN_CHARS - 1] + "…"


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:,.0f} ms"


def _table(rows: Sequence[Sequence[str]]) -> str:
    shown = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in shown)
