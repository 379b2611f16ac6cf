"""mp3 (MPEG audio layer III) taken apart into frames and put together again, without decoding."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

_RATES = (44_100, 48_000, 32_000)
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MONO = 3
_TOC_ENTRIES = 100
_INFO_MARKS = (b"Xing", b"Info")
_VBRI_AT = 36


@dataclass(frozen=True)
class Header:
    """What the four bytes before an mp3 frame say."""

    version: int  # 1, 2, or 3 for MPEG 2.5
    sample_rate: int
    channels: int
    samples: int
    size: int
    side: int  # bytes of side information behind the header and its checksum

    @property
    def shape(self) -> tuple[int, int, int]:
        """What all frames of one file must share."""
        return self.version, self.sample_rate, self.channels


@dataclass(frozen=True)
class Frames:
    """A clean run of frames of one shape, without tags or an Info header."""

    header: Header
    data: list[bytes]

    @property
    def duration_s(self) -> float:
        """Seconds that the frames last."""
        return len(self.data) * self.header.samples / self.header.sample_rate


@lru_cache(maxsize=512)
def header(word: bytes) -> Header | None:
    """Read the four bytes of a layer III frame header; None if they are none, or of a free bit rate."""
    bits = int.from_bytes(word, "big")
    if len(word) < 4 or bits >> 21 != 0x7FF:  # noqa: PLR2004
        return None
    version = {3: 1, 2: 2, 0: 3}.get(bits >> 19 & 3)
    kbits, rate = bits >> 12 & 15, bits >> 10 & 3
    if version is None or bits >> 17 & 3 != 1 or kbits in (0, 15) or rate == 3:  # noqa: PLR2004
        return None
    hertz = _RATES[rate] >> (version - 1)
    channels = 1 if bits >> 6 & 3 == _MONO else 2
    samples = 1152 if version == 1 else 576
    kbit_s = (_KBITS_1 if version == 1 else _KBITS_2)[kbits]
    size = samples * 125 * kbit_s // hertz + (bits >> 9 & 1)
    side = (32, 17)[channels == 1] if version == 1 else (17, 9)[channels == 1]
    return Header(version, hertz, channels, samples, size, side)


def split(mp3: bytes) -> Frames | None:
    """Take `mp3` apart; None unless it is tags around one clean run of frames (the last one may be cut off)."""
    at, end = _without_tags(mp3)
    first, data = header(mp3[at : at + 4]), []
    if first is None:
        return None
    while at + 4 <= end:
        here = header(mp3[at : at + 4])
        if here is None or here.shape != first.shape:
            return None
        if at + here.size > end:
            break
        data.append(mp3[at : at + here.size])
        at += here.size
    if data and is_info(data[0]):
        del data[0]
    return Frames(first, data) if data else None


def is_info(frame: bytes) -> bool:
    """Say whether a frame is a Xing, Info or VBRI header rather than sound."""
    head = header(frame[:4])
    if head is None:
        return False
    place = 4 + head.side
    checked = place + (0 if frame[1] & 1 else 2)
    return any(frame[p : p + 4] in _INFO_MARKS for p in (place, checked)) or frame[_VBRI_AT : _VBRI_AT + 4] == b"VBRI"


def silence(frame: bytes, *, duration_s: float) -> list[bytes]:
    """Return the nearest number of silent frames of the shape and bit rate of `frame`."""
    head = bytes((frame[0], frame[1] | 1, frame[2] & ~2, frame[3] & 0xCF))
    like = header(head)
    if like is None:
        msg = "not an mp3 frame"
        raise ValueError(msg)
    # All zero: no bits of sound, and none borrowed from the frame before.
    count = max(round(duration_s * like.sample_rate / like.samples), 0)
    return [head + bytes(like.size - 4)] * count


def with_info(data: Sequence[bytes]) -> bytes:
    """Put an Info header before frames: their number and bytes, and a table to seek by."""
    info = _room_for_info(data[0])
    head = header(info[:4])
    if head is None:
        msg = "not an mp3 frame"
        raise ValueError(msg)
    total = len(info) + sum(map(len, data))
    mark = b"Info" if len({frame[2] >> 4 for frame in data}) == 1 else b"Xing"
    fields = mark + (7).to_bytes(4, "big") + len(data).to_bytes(4, "big") + total.to_bytes(4, "big")
    fields += _table(data, first=len(info), total=total)
    place = 4 + head.side
    return b"".join((info[:place], fields, info[place + len(fields) :], *data))


def _room_for_info(frame: bytes) -> bytes:
    """An empty frame like `frame`, of the lowest bit rate from its own upwards that holds an Info header."""
    for kbits in range(frame[2] >> 4, 15):
        word = bytes((frame[0], frame[1] | 1, kbits << 4 | frame[2] & 0x0C, frame[3] & 0xCF))
        head = header(word)
        if head is not None and head.size >= 4 + head.side + 16 + _TOC_ENTRIES:
            return word + bytes(head.size - 4)
    msg = "not an mp3 frame"
    raise ValueError(msg)


def _table(data: Sequence[bytes], *, first: int, total: int) -> bytes:
    """For each hundredth of the time, the place in the file in 256ths."""
    places, at = [], first
    for frame in data:
        places.append(at)
        at += len(frame)
    return bytes(min(places[i * len(places) // _TOC_ENTRIES] * 256 // total, 255) for i in range(_TOC_ENTRIES))


def _without_tags(mp3: bytes) -> tuple[int, int]:
    """Where the frames begin and end between ID3v2 before and ID3v1, APE and zero padding behind."""
    at, end = 0, len(mp3)
    while mp3[at : at + 3] == b"ID3" and at + 10 <= end:
        size = sum((byte & 127) << shift for byte, shift in zip(mp3[at + 6 : at + 10], (21, 14, 7, 0), strict=True))
        at += 10 + size + (10 if mp3[at + 5] & 0x10 else 0)
    if end - at >= 128 and mp3[end - 128 : end - 125] == b"TAG":  # noqa: PLR2004
        end -= 128
    if end - at >= 32 and mp3[end - 32 : end - 24] == b"APETAGEX":  # noqa: PLR2004
        end -= int.from_bytes(mp3[end - 20 : end - 16], "little") + (32 if mp3[end - 9] & 0x80 else 0)
    return at, end


def joined(parts: Iterable[Sequence[bytes]], *, gap_s: float) -> list[bytes]:
    """Put runs of frames of one shape behind each other, with silence between them."""
    data: list[bytes] = []
    for part in parts:
        if data:
            data.extend(silence(data[0], duration_s=gap_s))
        data.extend(part)
    return data
