import os
import subprocess
import sys
import zlib

import pytest

from shared.audio.sniff import HEAD_BYTES, claims_sound, sniff
from shared.errors import Unsupported
from tests.unit.audio.build import FOLDER, MANIFEST, encoded, tone

FOREIGN = {
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(17),
    "gif": b"GIF89a" + bytes(30),
    "zip": b"PK\x03\x04" + bytes(60),
    "gzip": b"\x1f\x8b\x08" + bytes(60),
    "pdf": b"%PDF-1.7\n" + bytes(60),
    "elf": b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00\x01\x00\x00\x00" + bytes(40),
    "text": b"hello, this is text\n",
    "json": b'{"error": {"message": "no"}}',
    "html": b"<!DOCTYPE html><html></html>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"></svg>',
    "xml": b'<?xml version="1.0"?><MPD></MPD>',
    "m3u8": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "pls": b"[playlist]\nFile1=/etc/passwd\nNumberOfEntries=1\n",
    "ffconcat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "midi": b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x00\x60MTrk" + bytes(40),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_refuses_what_is_plainly_not_audio(kind: str) -> None:
    with pytest.raises(Unsupported) as refusal:
        sniff(FOREIGN[kind])

    assert refusal.value.errors is not None
    assert refusal.value.errors[0]["field"] == "file"


@pytest.mark.parametrize("entry", [e for e in MANIFEST if e["expected"] == "accept"], ids=lambda e: str(e["file"]))
def test_passes_every_kind_of_sound(entry: dict[str, str]) -> None:
    head = (FOLDER / entry["file"]).read_bytes()[:HEAD_BYTES]

    assert claims_sound(sniff(head), head)


def test_passes_binary_audio_that_libmagic_takes_for_text() -> None:
    head = encoded("au", "pcm_s16be", tone(0.2))

    assert claims_sound(sniff(head), head)


def test_leaves_unknown_bytes_to_the_decoder() -> None:
    noise = zlib.compress(bytes(range(256)) * 20)[2:]

    assert not claims_sound(sniff(noise), noise)


def test_leaves_ctypes_and_the_environment_alone() -> None:
    code = (
        "import ctypes, ctypes.util, os, sys\n"
        "before = dict(os.environ), ctypes.CDLL.__init__, ctypes.util.find_library\n"
        "import shared.audio.sniff\n"
        "assert before == (dict(os.environ), ctypes.CDLL.__init__, ctypes.util.find_library)\n"
        "assert 'pylibmagic' not in sys.modules\n"
    )

    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=FOLDER.parents[1], env=os.environ)
