"""The same voice note through each pair of who hears and who speaks: the reply is an mp3 as long as it should be."""

import io
import shutil
from array import array
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import pytest

from shared.audio.mp3 import GAP_S
from shared.audio.pool import AudioPool
from shared.config import Settings
from tests.conftest import SAMPLES
from tests.fakes.assemblyai import FakeAssemblyAI
from tests.fakes.openai_replies import seconds_of
from tests.fakes.openai_script import Answer
from tests.fakes.openai_server import FakeOpenAI
from tests.live import Live, live_parley
from worker.turn.reply import NOT_UNDERSTOOD

CHAT = "openai/gpt-6-luna"
HEARS = ["openai/gpt-transcribe", "groq/whisper-large-v3-turbo", "assemblyai/universal-2", "offline/offline"]
SPEAKS = [
    "openai/gpt-4o-mini-tts",  # mp3
    "groq/canopylabs/orpheus-v1-english",  # wav
    "openai/gpt-realtime-2.1-mini",  # pcm
    "offline/offline",  # pcm, of another rate
]
MADE_BY_AN_ENCODER_S = 0.1  # the silence before and behind a sentence, and a last frame that is not full
FRAME_S = 0.1  # what a decoder may leave out at either end


@dataclass(frozen=True)
class Note:
    """A recording, what is said in it, and what the chat model answers."""

    file: str
    language: str
    said: str
    reply: str


NOTES = [
    Note(
        "en_03_opus.ogg",
        "en",
        "Please remind me to call the dentist tomorrow morning",
        "I will remind you tomorrow at nine. Do you want to be reminded twice?",
    ),
    Note("ar_03_opus.ogg", "ar", "مرحبا، كيف حالك اليوم؟", "أنا بخير، شكرا لك على السؤال. كيف يمكنني أن أساعدك اليوم؟"),
]


@pytest.fixture(scope="module")
def openai() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture(scope="module")
def assemblyai() -> Iterator[FakeAssemblyAI]:
    with FakeAssemblyAI() as fake:
        yield fake


@pytest.fixture(scope="module")
async def live(
    openai: FakeOpenAI, assemblyai: FakeAssemblyAI, audio_pool: AudioPool, tmp_path_factory: pytest.TempPathFactory,
    sqlite_template: Path,
) -> AsyncIterator[Live]:  # fmt: skip
    """One Parley for all pairs: an agent names its models."""
    folder = tmp_path_factory.mktemp("pairs")
    shutil.copy(sqlite_template, folder / "parley.db")
    settings = Settings(
        _env_file=None,
        env="TEST",
        data_dir=folder,
        port=0,
        openai_api_key="sk-x",
        openai_base_url=openai.url,
        providers={
            "groq": {"base_url": openai.url, "api_key": "gsk-x"},
            "assemblyai": {"base_url": assemblyai.url, "api_key": "x"},
        },
    )
    async with live_parley(settings, audio_pool) as parley:
        yield parley


def played(mp3: bytes) -> tuple[float, float]:
    """Its seconds and its loudest sample of 1.0, decoded to the end."""
    with av.open(io.BytesIO(mp3), mode="r", format="mp3") as container:
        frames = list(container.decode(audio=0))
    seconds = sum(frame.samples / frame.sample_rate for frame in frames)
    return seconds, max(max(array("f", bytes(frame.planes[0]))) for frame in frames)


@pytest.mark.parametrize("note", NOTES, ids=lambda note: note.language)
@pytest.mark.parametrize("speaks", SPEAKS)
@pytest.mark.parametrize("hears", HEARS)
async def test_a_voice_note_is_answered_in_sound_of_the_right_length(
    live: Live, openai: FakeOpenAI, assemblyai: FakeAssemblyAI, hears: str, speaks: str, note: Note
) -> None:
    openai.script.reset()
    heard = Answer(text=note.said, language=note.language, languages=[note.language])
    openai.script.always("transcriptions", heard)
    assemblyai.script.always("transcript", heard)
    openai.script.always("chat", Answer(text=note.reply))
    is_deaf = hears == "offline/offline" and note.language == "ar"  # it knows English only, and says so

    session = await live.session(agent_id=(await live.agent(ai_chat=CHAT, ai_stt=hears, ai_tts=speaks))["id"])
    job = await live.done(await live.voice(session["id"], SAMPLES / note.file, language=note.language))

    assert job["status"] == "succeeded", job["error"]
    result = job["result"]
    reply = NOT_UNDERSTOOD["ar"] if is_deaf else note.reply
    assert (result["transcript"], result["text"]) == ("" if is_deaf else note.said, reply)
    assert result["language"] == note.language
    steps = {step["name"]: step["model"] for step in job["steps"]}
    spoken = [name for name in steps if name.startswith("speak/")]
    assert steps == {"transcribe": hears, "reply": None if is_deaf else CHAT, **dict.fromkeys(spoken, speaks)}

    sound = await live.http.get(job["links"]["audio"])
    assert (sound.status_code, sound.headers["content-type"]) == (200, "audio/mpeg")
    seconds, peak = played(sound.content)
    assert seconds == pytest.approx(result["audio"]["duration_s"], abs=FRAME_S)
    assert seconds > 0.5
    assert peak > 0.05
    if speaks != "offline/offline":
        calls = [*openai.script.of("speech"), *openai.script.of("realtime")]
        texts = sorted((call.text for call in calls), key=reply.index)
        assert " ".join(texts) == reply
        assert len(texts) == len(spoken)
        expected = sum(map(seconds_of, texts)) + GAP_S * (len(texts) - 1)
        assert seconds == pytest.approx(expected, abs=MADE_BY_AN_ENCODER_S * len(texts))
