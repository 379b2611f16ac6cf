"""Against the real engines: nothing is faked here."""

import asyncio
import math
import subprocess
import sys
import time
from array import array
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from shared.audio.decode import prepare, wav_of
from shared.errors import Upstream
from worker.providers.base import Audio, ChatMessage, ChatUsage, Provider, Speech, Transcript
from worker.providers.offline import OfflineProvider

SAMPLES = Path(__file__).parents[2] / "audio"
CLEAR = "en-us+f5"


@pytest.fixture(scope="module")
async def offline() -> AsyncIterator[OfflineProvider]:
    provider = OfflineProvider()
    yield provider
    await provider.close()


def wav(pcm: bytes, rate: int) -> Audio:
    return Audio(wav_of(pcm, rate=rate), "wav", len(pcm) / 2 / rate)


def seconds(speech: Speech) -> float:
    return len(speech.data) / 2 / speech.sample_rate


async def say(offline: OfflineProvider, text: str, language: str = "en", voice: str | None = CLEAR) -> Speech:
    return await offline.speak(text, model="offline", language=language, voice=voice)


async def hear(offline: OfflineProvider, audio: Audio, *languages: str) -> Transcript:
    return await offline.transcribe(audio, model="offline", languages=languages)


async def hear_spoken(
    offline: OfflineProvider, text: str, language: str = "en", voice: str | None = CLEAR
) -> Transcript:
    speech = await say(offline, text, language, voice)
    return await hear(offline, wav(speech.data, speech.sample_rate))


def prepared(name: str, offline: OfflineProvider) -> Audio:
    limits = offline.limits
    note = prepare(
        str(SAMPLES / name),
        extensions=limits.extensions,
        max_s=600,
        max_part_s=limits.max_s,
        max_bytes=limits.max_bytes,
    )
    return Audio(note.parts[0].data, note.parts[0].extension, note.parts[0].duration_s)


async def reply(offline: OfflineProvider, *messages: ChatMessage) -> list[str]:
    usage = ChatUsage()
    pieces = [piece async for piece in offline.stream_chat(messages, model="offline", usage=usage)]
    assert usage == ChatUsage(None, None)
    return pieces


def test_it_plays_every_role(offline: OfflineProvider) -> None:
    provider: Provider = offline
    assert provider.name == "offline"


# --- speech in


@pytest.mark.parametrize(
    "text",
    [
        "Hello, can you hear me?",
        "What time is it?",
        "Tell me a joke.",
        "How are you today?",
        "What is the capital of France?",
        "Please remind me to call my mother tomorrow.",
    ],
)
async def test_a_common_english_phrase_is_heard_back(offline: OfflineProvider, text: str) -> None:
    heard = await hear_spoken(offline, text)
    assert heard.text.lower() == text.lower().replace(",", "").strip(".?")
    assert (heard.languages, heard.note) == (("en",), None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("en_01_pcm16_16k.wav", "Hello can you hear me clearly"),
        ("en_03_opus.ogg", "Please remind me to call the dentist tomorrow morning"),
        ("en_11_cbr_id3.mp3", "What is the weather like in London today"),
        ("en_08_aac_faststart.m4a", "I would like to know more about your plans"),
    ],
)
async def test_voice_notes_are_heard_in_the_default_voice(offline: OfflineProvider, name: str, text: str) -> None:
    assert (await hear(offline, prepared(name, offline))).text == text


async def test_phrases_with_a_pause_between_are_all_heard(offline: OfflineProvider) -> None:
    first, second = await say(offline, "How are you today?"), await say(offline, "Tell me a joke.")
    pcm = first.data + bytes(2 * first.sample_rate) + second.data
    assert (await hear(offline, wav(pcm, first.sample_rate))).text == "How are you today. Tell me a joke"


@pytest.mark.parametrize(
    "name", ["ar_01_pcm16_16k.wav", "ar_03_opus.ogg", "ar_11_vbr.mp3", "ar_13.flac", "ar_19_aac.3gp"]
)
async def test_arabic_voice_notes_are_not_turned_into_english(offline: OfflineProvider, name: str) -> None:
    heard = await hear(offline, prepared(name, offline))
    assert heard.text == ""
    assert heard.languages == ()
    assert heard.note


async def test_arabic_in_many_voices_is_not_turned_into_english(offline: OfflineProvider) -> None:
    texts = ["أين أقرب مستشفى؟", "صباح الخير.", "اسمي محمد وأنا من القاهرة.", "ماذا يمكنك أن تفعل؟", "احك لي نكتة."]
    for text in texts:
        for voice in ("ar", "ar+f2", "ar+f5", "ar+m3"):
            assert (await hear_spoken(offline, text, "ar", voice)).text == ""


async def test_english_that_it_does_not_know_is_not_guessed(offline: OfflineProvider) -> None:
    for text in ("The train to the north leaves from platform nine.", "Elephants never forget."):
        heard = await hear_spoken(offline, text)
        assert heard.text == ""
        assert heard.note


async def test_what_was_understood_in_part_says_so(offline: OfflineProvider) -> None:
    known, unknown = await say(offline, "How are you today?"), await say(offline, "Elephants never forget.")
    heard = await hear(offline, wav(known.data + bytes(2 * known.sample_rate) + unknown.data, known.sample_rate))
    assert heard.text == "How are you today"
    assert heard.note


async def test_silence_is_empty_and_needs_no_note(offline: OfflineProvider) -> None:
    assert await hear(offline, wav(bytes(64_000), 16_000)) == Transcript("")


@pytest.mark.parametrize("kind", ["noise", "tone"])
async def test_noise_and_music_are_not_words(offline: OfflineProvider, kind: str) -> None:
    random = Random(7)
    samples = (
        int(random.gauss(0, 4_000)) if kind == "noise" else int(9_000 * math.sin(at / 16_000 * 440 * math.tau))
        for at in range(48_000)
    )
    assert (await hear(offline, wav(array("h", samples).tobytes(), 16_000))).text == ""


async def test_a_hint_of_another_language_is_believed(offline: OfflineProvider) -> None:
    heard = await hear(offline, prepared("en_01_pcm16_16k.wav", offline), "ar")
    assert (heard.text, heard.languages) == ("", ("ar",))
    assert heard.note
    assert (await hear(offline, prepared("en_01_pcm16_16k.wav", offline), "ar", "en")).text


async def test_what_is_not_audio_is_refused(offline: OfflineProvider) -> None:
    with pytest.raises(Upstream) as refused:
        await hear(offline, Audio(b"RIFF, but no more than that", "wav", 1.0))
    assert (refused.value.code, refused.value.transient) == ("upstream_rejected", False)


async def test_the_event_loop_runs_on_while_it_listens(offline: OfflineProvider) -> None:
    speech = await say(offline, "Tell me a joke. " * 4)
    audio = wav(speech.data, speech.sample_rate)
    await hear(offline, audio)
    gaps: list[float] = []

    async def tick() -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    ticker = asyncio.create_task(tick())
    began = time.perf_counter()
    await hear(offline, audio)
    took = time.perf_counter() - began
    ticker.cancel()
    assert max(gaps) < took / 3


async def test_closing_it_unused_starts_nothing() -> None:
    provider = OfflineProvider()
    await provider.close()


# --- speech out


async def test_two_languages_sound_different(offline: OfflineProvider) -> None:
    english = await say(offline, "2026", "en", None)
    arabic = await say(offline, "2026", "ar", None)
    assert english.format == arabic.format == "pcm"
    assert seconds(english) > 0.5
    assert seconds(arabic) > 0.5
    assert abs(seconds(english) - seconds(arabic)) > 0.2


async def test_a_known_voice_is_used_and_an_unknown_one_is_not_an_error(offline: OfflineProvider) -> None:
    text = "Good morning to all of you."
    default = seconds(await say(offline, text, "en", None))
    assert seconds(await say(offline, text, "en", "alloy")) == pytest.approx(default, rel=0.02)
    assert seconds(await say(offline, text, "en", "en-gb-scotland")) != pytest.approx(default, rel=0.02)


async def test_a_voice_of_another_language_does_not_read_this_one(offline: OfflineProvider) -> None:
    text = "كيف حالك اليوم؟"
    default = seconds(await say(offline, text, "ar", None))
    assert seconds(await say(offline, text, "ar", "en-us")) == pytest.approx(default, rel=0.02)


@pytest.mark.parametrize("language", ["fr", "de", "zh", "no", "pt-BR", "xx", "", "../en"])
async def test_any_language_gets_some_voice(offline: OfflineProvider, language: str) -> None:
    assert seconds(await say(offline, "Hello there", language, "en-us+../../../etc/passwd")) > 0.3


@pytest.mark.parametrize("text", ["", "  ", "😀🎉", "…", "\u200f", "\0"])
async def test_nothing_to_say_is_a_short_pause(offline: OfflineProvider, text: str) -> None:
    speech = await say(offline, text)
    assert 0.05 < seconds(speech) < 1
    assert not any(speech.data)


async def test_odd_characters_do_not_cut_the_speech_short(offline: OfflineProvider) -> None:
    whole = seconds(await say(offline, "Hello there. Good morning."))
    assert seconds(await say(offline, "Hello there.\0 Good morning.")) == pytest.approx(whole, rel=0.1)
    assert seconds(await say(offline, "Hello there. \ud800 Good morning.")) >= whole * 0.9


async def test_ten_sentences_at_once_come_out_as_one_by_one(offline: OfflineProvider) -> None:
    texts = [("Good morning. " * count, "en") for count in range(1, 6)]
    texts += [("صباح الخير. " * count, "ar") for count in range(1, 6)]
    alone = [seconds(await say(offline, text, language, None)) for text, language in texts]
    at_once = await asyncio.gather(*(say(offline, text, language, None) for text, language in texts))
    assert [seconds(speech) for speech in at_once] == pytest.approx(alone, rel=0.02)


# --- chat


async def test_the_reply_says_that_no_model_is_configured_and_repeats_the_message(offline: OfflineProvider) -> None:
    pieces = await reply(
        offline,
        ChatMessage("system", "You are kind."),
        ChatMessage("user", "Bonjour"),
        ChatMessage("assistant", "…"),
        ChatMessage("user", "What time is it?"),
    )
    text = "".join(pieces)
    assert len(pieces) > 20
    assert "No AI model is configured" in text
    assert "OPENAI_API_KEY" in text
    assert "You said: “What time is it?”" in text


async def test_arabic_is_answered_in_arabic(offline: OfflineProvider) -> None:
    text = "".join(await reply(offline, ChatMessage("user", "كم الساعة الآن؟")))
    assert "لم يتم إعداد أي نموذج" in text
    assert "OPENAI_API_KEY" in text
    assert "لقد قلت: «كم الساعة الآن؟»" in text


@pytest.mark.parametrize("messages", [[], [ChatMessage("user", "  ")]])
async def test_an_empty_message_is_told_so(offline: OfflineProvider, messages: list[ChatMessage]) -> None:
    assert "Your message was empty." in "".join(await reply(offline, *messages))


async def test_a_long_message_is_not_repeated_whole(offline: OfflineProvider) -> None:
    text = "".join(await reply(offline, ChatMessage("user", "word " * 2_000 + "{text}")))
    assert len(text) < 600
    assert "word…" in text or "word …" in text or "wor…" in text


async def test_the_same_message_gets_the_same_reply(offline: OfflineProvider) -> None:
    message = ChatMessage("user", "Hello {there} %s")
    assert await reply(offline, message) == await reply(offline, message)


WITHOUT_RECOGNISER = """
import asyncio, sys
sys.modules["pocketsphinx"] = None
from worker.providers.base import Audio
from worker.providers.offline import OfflineProvider
async def main():
    offline = OfflineProvider()
    heard = await offline.transcribe(Audio(b"", "wav", 1.0), model="offline", languages=["en"])
    print(repr(heard.text), heard.note)
    print((await offline.speak("Hello.", model="offline", language="en", voice=None)).format)
    await offline.close()
asyncio.run(main())
"""


def test_without_a_recogniser_the_engine_says_so_and_still_speaks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RECOGNISER], cwd=SAMPLES.parents[1], capture_output=True, text=True, check=True
    )
    heard, spoken = done.stdout.splitlines()
    assert heard.startswith("'' ")
    assert "no recogniser on this platform" in heard
    assert spoken == "pcm"
