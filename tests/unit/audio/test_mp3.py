import hashlib
import io
import random
from collections.abc import Callable

import av
import pytest

from shared.audio import mp3_frames
from shared.audio.decode import decode, decode_file, is_silent
from shared.audio.mp3 import duration, encode, join, measured, to_mp3
from shared.audio.probe import probe
from shared.errors import AppError, Invalid
from tests.unit.audio.build import FOLDER, SPEECH, encoded, id3, picture, spread, tone, wav

Save = Callable[..., str]
RATES = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]


def heard(mp3: bytes) -> float:
    return len(decode_file(io.BytesIO(mp3), max_s=600.0, rate=16_000)) / 2 / 16_000


def packets(mp3: bytes) -> list[bytes]:
    with av.open(io.BytesIO(mp3), "r") as file:
        return [bytes(packet) for packet in file.demux(audio=0) if packet.size]


@pytest.mark.parametrize("rate", RATES)
def test_encodes_bare_frames_at_every_rate_of_mp3(rate: int, save: Save) -> None:
    made = encode(tone(1.0, rate=rate), rate=rate)

    sound = probe(save(made), max_s=60.0)
    assert (sound.codec, sound.sample_rate, sound.channels) == ("mp3", rate, 1)
    assert made[0] == 0xFF
    assert not mp3_frames.is_info(made)
    assert duration(made) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("rate", [6_000, 23_000, 96_000])
def test_encodes_other_rates_too(rate: int) -> None:
    assert duration(encode(tone(1.0, rate=rate), rate=rate)) == pytest.approx(1.0, abs=0.2)


def test_encodes_64_kbit_a_second() -> None:
    made = encode(tone(10.0, rate=24_000), rate=24_000)

    assert len(made) * 8 / duration(made) == pytest.approx(64_000, rel=0.01)


@pytest.mark.parametrize("pcm", [b"", b"\x00"])
def test_has_nothing_to_encode(pcm: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        encode(pcm, rate=24_000)

    assert caught.value.code == "bad_speech"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (id3(20, bytes(20)), b""),
        (picture(bytes(5_000)), b"TAG" + bytes(125)),
        (b"", b"\xff\xf3\x84\xc4\x00"),
    ],
)
def test_keeps_clean_mp3_bit_for_bit_without_its_tags(before: bytes, after: bytes) -> None:
    bare = encode(tone(1.0, rate=24_000), rate=24_000)

    assert to_mp3(before + bare + after, format="mp3", rate=24_000) == bare
    assert to_mp3(before + bare + after, format="pcm", rate=24_000) == bare


@pytest.mark.parametrize("name", ["en_11_cbr_id3.mp3", "ar_11_vbr.mp3"])
def test_takes_the_info_header_off(name: str) -> None:
    data = (FOLDER / name).read_bytes()

    bare = to_mp3(data, format="mp3", rate=24_000)

    assert not mp3_frames.is_info(bare)
    assert bare in data
    assert packets(bare) == packets(data)


def test_encodes_pcm() -> None:
    pcm = tone(1.0, rate=24_000)

    assert to_mp3(pcm, format="pcm", rate=24_000) == encode(pcm, rate=24_000)
    assert to_mp3(pcm + b"\x01", format="pcm", rate=24_000) == encode(pcm, rate=24_000)


def test_silent_pcm_is_sound() -> None:
    assert duration(to_mp3(bytes(48_000), format="pcm", rate=24_000)) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("name", ["en_01_pcm16_16k.wav", "ar_03_opus.ogg", "en_13.flac", "en_08_aac_faststart.m4a"])
def test_takes_another_format_than_it_asked_for(name: str) -> None:
    data = (FOLDER / name).read_bytes()
    length = len(decode(str(FOLDER / name), max_s=60.0)) / 2 / 16_000

    assert duration(to_mp3(data, format="mp3", rate=24_000)) == pytest.approx(length, abs=0.1)


@pytest.mark.parametrize("name", ["en_01_pcm16_16k.wav", "ar_03_opus.ogg", "en_06_opus.webm"])
def test_takes_a_file_where_pcm_was_asked_for(name: str) -> None:
    length = len(decode(str(FOLDER / name), max_s=60.0)) / 2 / 16_000

    made = to_mp3((FOLDER / name).read_bytes(), format="pcm", rate=24_000)

    assert duration(made) == pytest.approx(length, abs=0.1)


def test_encodes_broken_mp3_anew() -> None:
    bare = bytearray(encode(tone(3.0, rate=24_000), rate=24_000))
    bare[len(bare) // 2 : len(bare) // 2 + 300] = random.Random(6).randbytes(300)

    made = to_mp3(bytes(bare), format="mp3", rate=24_000)

    assert mp3_frames.split(made) is not None
    assert heard(made) == pytest.approx(3.0, abs=0.4)


@pytest.mark.parametrize("form", ["mp3", "pcm"])
@pytest.mark.parametrize(
    "data", [b"", b'{"error": {"message": "quota"}}', b"<html>502</html>", id3(900_000), b"RIFF\x00\x00\x00\x00WAVE"]
)
def test_refuses_what_is_no_speech(data: bytes, form: str) -> None:
    with pytest.raises(Invalid) as caught:
        to_mp3(data, format="pcm" if form == "pcm" else "mp3", rate=24_000)

    assert caught.value.code == "bad_speech"


@pytest.mark.parametrize("rate", RATES)
def test_joins_without_touching_a_frame(rate: int, save: Save) -> None:
    parts = [encode(tone(0.7, rate=rate, hertz=h), rate=rate) for h in (300.0, 500.0, 700.0)]

    whole = join(parts, gap_s=0.4)

    assert mp3_frames.is_info(whole)
    assert all(part in whole for part in parts)
    gap = (duration(whole) - sum(map(duration, parts))) / 2
    assert gap == pytest.approx(0.4 - 0.066, abs=0.08)
    assert duration(whole) == pytest.approx(probe(save(whole), max_s=60.0).duration_s, abs=0.001)
    with av.open(io.BytesIO(whole), "r") as file:
        assert file.duration is not None
        assert file.duration / 1e6 == pytest.approx(duration(whole), abs=0.001)


def test_what_is_made_is_measured() -> None:
    parts = [encode(tone(seconds, rate=24_000), rate=24_000) for seconds in (1.0, 0.5)]
    sound = measured(join, parts, gap_s=0.2)
    assert sound.data == join(parts, gap_s=0.2)
    assert sound.duration_s == duration(sound.data) > 1.5
    assert sound.sha256 == hashlib.sha256(sound.data).hexdigest()
    with pytest.raises(Invalid):
        measured(bytes, b"no mp3")


def test_joined_gaps_are_silent() -> None:
    speech = encode(tone(1.0, rate=24_000), rate=24_000)

    pcm = decode_file(io.BytesIO(join([speech, speech], gap_s=1.0)), max_s=60.0, rate=16_000)

    middle = len(pcm) // 4 * 2
    assert is_silent(pcm[middle - 8_000 : middle + 8_000], rate=16_000)
    assert len(pcm) / 32_000 == pytest.approx(3.0, abs=0.1)


def test_one_part_and_no_gap() -> None:
    speech = encode(tone(1.0, rate=24_000), rate=24_000)

    assert join([speech]).endswith(speech)
    assert duration(join([speech] * 3, gap_s=0.0)) == pytest.approx(duration(speech) * 3)


def test_joined_again_it_has_one_header() -> None:
    speech = encode(tone(1.0, rate=24_000), rate=24_000)
    once = join([speech, speech])

    assert duration(join([once, speech], gap_s=0.0)) == pytest.approx(duration(once) + duration(speech))


def test_seeking_lands_where_the_table_says() -> None:
    parts = [encode(tone(2.0, rate=24_000, hertz=h), rate=24_000) for h in (300.0, 2_000.0)] * 5
    whole = join(parts)

    with av.open(io.BytesIO(whole), "r") as file:
        for second in (3.0, 9.0, 15.0):
            file.seek(int(second * 1_000_000))
            packet = next(iter(file.demux(audio=0)))
            assert packet.pts is not None
            assert packet.time_base is not None
            assert float(packet.pts * packet.time_base) == pytest.approx(second, abs=0.5)


@pytest.mark.parametrize(
    "other",
    [
        encode(tone(1.0, rate=44_100), rate=44_100),
        encoded("mp3", "libmp3lame", spread(tone(1.0, rate=24_000), 2), rate=24_000, channels=2),
        wav(tone(1.0)),
    ],
    ids=["rate", "channels", "wav"],
)
def test_encodes_anew_what_does_not_agree(other: bytes) -> None:
    speech = encode(tone(1.0, rate=24_000), rate=24_000)

    for parts in ([speech, other], [other, speech]):
        whole = join(parts, gap_s=0.2)
        assert mp3_frames.split(whole) is not None
        assert heard(whole) == pytest.approx(2.2, abs=0.35)


@pytest.mark.parametrize("parts", [[], [b""], [b"words"], [id3(10, bytes(10))]])
def test_refuses_to_join_what_is_no_speech(parts: list[bytes]) -> None:
    with pytest.raises(Invalid) as caught:
        join(parts)

    assert caught.value.code == "bad_speech"


def test_duration_refuses_what_is_no_mp3() -> None:
    with pytest.raises(Invalid):
        duration(SPEECH.read_bytes())


@pytest.mark.parametrize("seed", range(8))
def test_no_bytes_make_it_fail_otherwise_than_as_bad_speech(seed: int) -> None:
    dice = random.Random(seed)
    bare = join([encode(tone(0.5, rate=24_000), rate=24_000)] * 2)
    codes = set()
    for _ in range(40):
        data = bytearray(id3(10, bytes(10)) + bare + b"TAG" + bytes(125))
        for _ in range(dice.choice((1, 5, 40))):
            data[dice.randrange(len(data))] = dice.randrange(256)
        cut = bytes(data[: dice.randrange(len(data))])
        try:
            to_mp3(cut, format="mp3", rate=24_000)
            join([cut, bare])
        except AppError as error:
            codes.add(error.code)

    assert codes <= {"bad_speech"}
