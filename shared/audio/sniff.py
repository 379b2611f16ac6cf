"""A cheap first look at bytes by libmagic: what is plainly not audio is refused, the decoder judges the rest."""

import ctypes.util
import importlib.util
import sys
from pathlib import Path

from shared.errors import Unsupported


def _carried() -> Path | None:
    """Where pylibmagic keeps its library and database; importing it would patch ctypes and the environment."""
    spec = importlib.util.find_spec("pylibmagic")
    places = spec.submodule_search_locations if spec else None
    return Path(places[0]) if places else None


_FOLDER = None if sys.platform == "win32" else _carried()
if _FOLDER is None:
    import magic

    _LIBMAGIC = magic.Magic(mime=True)
else:
    # Library and database must be of one version, so python-magic is told which, and only while it loads.
    _LIBRARY = str(_FOLDER / ("libmagic.dylib" if sys.platform == "darwin" else "libmagic.so.1"))
    _find_library = ctypes.util.find_library
    ctypes.util.find_library = lambda name: _LIBRARY  # noqa: ARG005 - the parameter is part of the type
    try:
        import magic
    finally:
        ctypes.util.find_library = _find_library
    _LIBMAGIC = magic.Magic(mime=True, magic_file=str(_FOLDER / "magic.mgc"))

HEAD_BYTES = 4096
"""How much of a file's beginning `sniff` wants."""

_REFUSED = frozenset(
    {
        *("application/zip", "application/gzip", "application/x-gzip", "application/x-bzip2", "application/x-xz"),
        *("application/zstd", "application/x-zstd", "application/x-7z-compressed", "application/x-rar"),
        *("application/vnd.rar", "application/x-tar", "application/java-archive", "application/pdf"),
        *("application/json", "application/javascript", "application/postscript", "application/vnd.sqlite3"),
        *("application/x-sharedlib", "application/x-executable", "application/x-pie-executable"),
        *("application/x-object", "application/x-mach-binary", "application/x-java-applet", "application/wasm"),
        *("application/x-dosexec", "application/vnd.microsoft.portable-executable"),
        *("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/tiff", "image/svg+xml"),
        *("image/heic", "image/heif", "image/avif", "audio/midi"),
    }
)
_SOUNDS = frozenset(
    {
        *("audio/ogg", "audio/mpeg", "audio/mp4", "audio/x-m4a", "audio/x-wav", "audio/wav", "audio/vnd.wave"),
        *("audio/flac", "audio/x-flac", "audio/amr", "audio/x-aiff", "audio/aiff", "audio/aac", "audio/basic"),
        *("audio/x-hx-aac-adts", "audio/x-caf", "audio/webm", "audio/3gpp", "application/ogg", "video/ogg"),
        *("video/mp4", "video/webm", "video/x-matroska", "video/x-ms-asf", "video/3gpp", "video/3gpp2"),
        *("video/quicktime", "video/x-m4v"),
    }
)
# What libmagic may not know by these first bytes.
_MARKS = (b"ID3", b"caff", b"#!AMR", b".snd", b"OggS", b"fLaC")


def sniff(head: bytes) -> str:
    """Return the MIME type that libmagic gives the first `HEAD_BYTES` of a file; raises `Unsupported`.

    A type that comes back is a hint: audio-only files often carry a video type, and unknown ones are
    `application/octet-stream`.
    """
    mime = _LIBMAGIC.from_buffer(head[:HEAD_BYTES])
    if mime in _REFUSED or is_text(mime, head):
        message = f"This is {mime}, not audio."
        raise Unsupported(message, errors=[{"field": "file", "message": message}])
    return mime


def is_text(mime: str, head: bytes) -> bool:
    """Say whether the bytes are text; libmagic takes some binary audio for text, but text holds no NUL."""
    return mime.startswith("text/") and b"\0" not in head[:HEAD_BYTES] and not head.startswith(_MARKS)


def claims_sound(mime: str, head: bytes) -> bool:
    """Say whether the bytes begin like a container of sound: if it can't be read, it is broken, not foreign."""
    return mime in _SOUNDS or head.startswith(_MARKS)
