"""espeak-ng through ctypes: text in, 16-bit mono PCM out. It has global state, so one thread at a time."""

import ctypes
import re
import sys
import tempfile
import threading
from pathlib import Path

import espeakng_loader

from shared.errors import Upstream

_SYNCHRONOUS = 2
_DONT_EXIT = 0x8000
_BUFFER_MS = 1_000
_UTF8 = 1
_BY_CHARACTER = 1
_LONGEST_PATH = 130
_ALIASES = {"en": "en-us", "iw": "he"}
_VARIANT = re.compile(r"\+[\w -]*")  # it names a file: no way out of its folder

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class _Voice(ctypes.Structure):
    """The head of espeak_VOICE in speak_lib.h."""

    _fields_ = (("name", ctypes.c_char_p), ("languages", ctypes.c_void_p), ("identifier", ctypes.c_char_p))


class Espeak:
    """One process's espeak-ng, started by `warm` or the first use; its methods block, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._library: ctypes.CDLL | None = None
        self._sample_rate = 0
        self._voices: dict[str, str] = {}
        self._pieces: list[bytes] = []
        self._callback = _Callback(self._collect)
        self._link: tempfile.TemporaryDirectory[str] | None = None

    def speak(self, text: str, *, language: str, voice: str | None = None) -> tuple[bytes, int]:
        """Return PCM and its sample rate; a voice that is unknown, or of another language, gives way to the default."""
        encoded = text.replace("\0", " ").encode("utf-8", "replace")
        with self._lock:
            library = self._start()
            chosen = self._choose(language.lower(), (voice or "").lower())
            if library.espeak_SetVoiceByName(chosen.encode()):
                raise Upstream(f"espeak-ng refused the voice {chosen}.")
            self._pieces.clear()
            if library.espeak_Synth(encoded, len(encoded) + 1, 0, _BY_CHARACTER, 0, _UTF8, None, None):
                raise Upstream("espeak-ng could not speak.")
            return b"".join(self._pieces), self._sample_rate

    def warm(self) -> None:
        """Load the library and its voices; raises Upstream."""
        with self._lock:
            self._start()

    def _choose(self, language: str, voice: str) -> str:
        base, plus, variant = voice.partition("+")
        default = self._find(language) or self._find(language.split("-", maxsplit=1)[0]) or self._voices["en-us"]
        asked = self._find(base)
        if asked is None:
            return default
        file = asked if _family(asked) == _family(default) else default
        return file + plus + variant if _VARIANT.fullmatch(plus + variant) else file

    def _find(self, name: str) -> str | None:
        return self._voices.get(_ALIASES.get(name, name))

    def _start(self) -> ctypes.CDLL:
        if self._library is None:
            try:
                library = ctypes.CDLL(espeakng_loader.get_library_path())
            except OSError as error:
                raise Upstream(f"espeak-ng cannot be loaded here: {error}.") from error
            rate = library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, self._data_path(), _DONT_EXIT)
            if rate <= 0:
                raise Upstream("espeak-ng did not find its voices.")
            library.espeak_SetSynthCallback(self._callback)
            library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
            self._sample_rate, self._voices = rate, _list_voices(library)
            self._library = library
        return self._library

    def _data_path(self) -> bytes:
        path = Path(espeakng_loader.get_data_path())
        if len(str(path)) > _LONGEST_PATH and sys.platform != "win32":
            # espeak-ng keeps the path in a buffer of 160 bytes and does not start in a deep folder.
            self._link = tempfile.TemporaryDirectory(prefix="espeak-")
            link = Path(self._link.name) / path.name
            link.symlink_to(path, target_is_directory=True)
            path = link
        return str(path).encode()

    def _collect(self, samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            self._pieces.append(ctypes.string_at(samples, count * 2))
        return 0


def _list_voices(library: ctypes.CDLL) -> dict[str, str]:
    """Map each language code, file and name, in small letters, to the file that espeak loads; preferred voices win."""
    found: dict[str, tuple[int, str]] = {}
    voices = library.espeak_ListVoices(None)
    index = 0
    while voices[index]:
        voice = voices[index].contents
        file = voice.identifier.decode()
        names = [(0, voice.name.decode()), (0, file), *_languages(voice.languages)]
        for priority, name in names:
            found[name.lower()] = min(found.get(name.lower(), (priority, file)), (priority, file))
        index += 1
    return {name: file for name, (_, file) in found.items()}


def _languages(address: int) -> list[tuple[int, str]]:
    """Read espeak's list: a priority byte and a string, again and again, closed by a zero byte."""
    languages = []
    while priority := ctypes.string_at(address, 1)[0]:
        code = ctypes.string_at(address + 1)
        languages.append((priority, code.decode()))
        address += len(code) + 2
    return languages


def _family(file: str) -> str:
    """`gmw/en-US` is English: the language without its region."""
    return file.rpartition("/")[2].lower().split("-")[0]
