import random
import subprocess
import sys
import wave
from array import array
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from shared.audio.decode import Prepared, decode, is_silent, prepare
from shared.audio.probe import probe
from shared.errors import AppError, Invalid, Unsupported
from tests.unit.audio.build import EXTENSIONS, FOLDER, MANIFEST, SPEECH, encoded, quieter, spread, tone, wav
from tests.unit.audio.test_probe import STATUS, mutated

Save = Callable[..., str]
MAX_S = 600.0


def ready(path: str, **limits: Any) -> Prepared:
    given: dict[str, Any] = {"extensions": EXTENSIONS, "max_s": MAX_S, "max_part_s": 1_400.0, "max_bytes": 25_000_000}
    return prepare(path, **{**given, **limits})


def spoken(*, pause_s: float, times: int) -> bytes:
    speech = decode(str(SPEECH), max_s=MAX_S)
    return (speech + bytes(int(pause_s * 16_000) * 2)) * times


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda e: str(e["file"]))
def test_gives_every_sample_file_the_verdict_of_probe(entry: dict[str, Any]) -> None:
    path = str(FOLDER / entry["file"])
    if entry["expected"] == "reject":
        kind, code = STATUS[entry["file"]]
        for work in (lambda: decode(path, max_s=MAX_S), lambda: ready(path)):
            with pytest.raises(kind) as caught:
                work()
            assert isinstance(caught.value, AppError)
            assert caught.value.code == code
        return

    pcm = decode(path, max_s=MAX_S)
    prepared = ready(path)

    assert len(pcm) / 2 / 16_000 == pytest.approx(entry["duration_s"], abs=0.02)
    assert prepared.silent == (entry["file"] == "odd_23_silence_2s.ogg")
    assert len(prepared.parts) == (0 if prepared.silent else 1)
    assert all(part.extension in EXTENSIONS for part in prepared.parts)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
def test_decodes_to_the_rate_that_is_asked_for(rate: int) -> None:
    pcm = decode(str(FOLDER / "en_04_opus_stereo.opus"), max_s=MAX_S, rate=rate)

    assert len(pcm) / 2 / rate == pytest.approx(2.646, abs=0.02)


def test_keeps_the_samples_of_what_is_pcm_already() -> None:
    with wave.open(str(SPEECH)) as file:
        assert decode(str(SPEECH), max_s=MAX_S) == file.readframes(file.getnframes())


@pytest.mark.parametrize("channels", range(1, 9))
def test_mixes_any_number_of_channels_down(channels: int, save: Save) -> None:
    pcm = spread(tone(0.5, rate=8_000), channels)

    sound = decode(save(wav(pcm, rate=8_000, channels=channels)), max_s=MAX_S)

    assert len(sound) == 16_000
    assert not is_silent(sound, rate=16_000)


def test_follows_a_stream_that_changes_its_shape_on_the_way(save: Save) -> None:
    one = encoded("mp3", "libmp3lame", tone(1.0, rate=24_000), rate=24_000)
    two = encoded("mp3", "libmp3lame", spread(tone(1.0, rate=48_000), 2), rate=48_000, channels=2)

    assert len(decode(save(one + two), max_s=MAX_S)) / 2 / 16_000 == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize(
    "name", ["en_01_pcm16_16k.wav", "en_11_cbr_id3.mp3", "en_13.flac", "ar_03_opus.ogg", "en_07_opus_live.webm"]
)
def test_sends_common_files_as_they_are(name: str) -> None:
    (part,) = ready(str(FOLDER / name)).parts

    assert part.data == (FOLDER / name).read_bytes()
    assert part.extension == name.rsplit(".", 1)[1]


@pytest.mark.parametrize(
    "name",
    [
        "en_08_aac_faststart.m4a",
        "en_20_video_note.mp4",
        "ar_19_aac.3gp",
        "en_14_nb.amr",
        "bad_07_lying_sizes.wav",
        "bad_19_declares_huge_duration.m4a",
    ],
)
@pytest.mark.parametrize("wanted", ["flac", "wav"])
def test_transcodes_the_rest(name: str, wanted: str, save: Save) -> None:
    extensions = frozenset({wanted, "m4a", "mp4"}) | ({"wav"} if wanted == "flac" else frozenset())

    (part,) = ready(str(FOLDER / name), extensions=extensions).parts

    sound = probe(save(part.data), max_s=MAX_S)
    assert (part.extension, sound.container, sound.sample_rate, sound.channels) == (wanted, wanted, 16_000, 1)
    assert sound.duration_s == pytest.approx(part.duration_s, abs=0.01)


def test_transcodes_a_file_with_faults(save: Save) -> None:
    data = bytearray((FOLDER / "en_13.flac").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = random.Random(2).randbytes(300)

    (part,) = ready(save(bytes(data))).parts

    assert part.data != bytes(data)


def test_cuts_what_is_too_long_in_the_pauses(save: Save) -> None:
    pcm = spoken(pause_s=0.6, times=8)

    parts = ready(save(wav(pcm)), max_part_s=6.0).parts

    assert len(parts) > 1
    assert all(0.1 < part.duration_s <= 6.0 for part in parts)
    assert sum(part.duration_s for part in parts) == pytest.approx(len(pcm) / 2 / 16_000, abs=0.01)
    for part in parts:
        edge = array("h", decode(save(part.data), max_s=MAX_S))
        assert max(map(abs, edge[-1_000:])) < 200


def test_cuts_hard_where_there_is_no_pause(save: Save) -> None:
    parts = ready(save(wav(tone(10.0))), max_part_s=3.0).parts

    assert [part.duration_s for part in parts[:3]] == [3.0, 3.0, 3.0]
    assert sum(part.duration_s for part in parts) == pytest.approx(10.0)


def test_leaves_no_splinter_at_the_end(save: Save) -> None:
    parts = ready(save(wav(tone(6.02))), max_part_s=3.0).parts

    assert all(part.duration_s >= 1.0 for part in parts)


def test_keeps_every_part_within_the_bytes(save: Save) -> None:
    noise = random.Random(4).randbytes(16_000 * 2 * 12)

    parts = ready(save(wav(noise)), max_bytes=150_000).parts

    assert len(parts) > 1
    assert all(len(part.data) <= 150_000 for part in parts)


def test_leaves_out_parts_without_sound(save: Save) -> None:
    speech = decode(str(SPEECH), max_s=MAX_S)
    pcm = speech + bytes(16_000 * 2 * 30) + speech

    parts = ready(save(wav(pcm)), max_part_s=5.0).parts

    assert 1 < len(parts) < 6


@pytest.mark.parametrize("by_db", [0.0, 20.0, 30.0, 36.0])
def test_hears_quiet_speech(by_db: float, save: Save) -> None:
    quiet = quieter(decode(str(SPEECH), max_s=MAX_S), by_db=by_db)

    assert not ready(save(wav(quiet + bytes(16_000 * 2 * 20)))).silent


@pytest.mark.parametrize("noise", [0, 1, 8])
def test_takes_stillness_for_silence(noise: int, save: Save) -> None:
    dice = random.Random(5)
    pcm = array("h", (dice.randint(-noise, noise) for _ in range(16_000 * 3))).tobytes()

    assert ready(save(wav(pcm))) == Prepared(silent=True, parts=[])


def test_the_limit_is_the_callers(save: Save) -> None:
    path = save(wav(tone(3.0)))

    for work in (lambda: decode(path, max_s=2.0), lambda: ready(path, max_s=2.0)):
        with pytest.raises(Invalid) as caught:
            work()
        assert caught.value.code == "audio_too_long"


@pytest.mark.parametrize("seed", range(100, 112))
def test_no_file_makes_it_fail_otherwise_than_with_a_verdict(seed: int, save: Save) -> None:
    dice = random.Random(seed)
    samples = [FOLDER / e["file"] for e in MANIFEST if e["bytes"]]
    for _ in range(25):
        path = save(mutated(dice.choice(samples).read_bytes(), dice))
        with suppress(Invalid, Unsupported):
            prepared = ready(path)
            assert prepared.silent == (not prepared.parts)


def test_imports_without_a_warning() -> None:
    code = "import shared.audio.decode"

    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=Path(__file__).parents[3])
