"""What an uploaded file is, and how long its sound lasts, measured by decoding it."""

from dataclasses import dataclass
from pathlib import Path

from shared.audio.source import Source, frames, opened


@dataclass(frozen=True)
class ProbedSound:
    """A file that is sound; `extension` is the short format name a speech API knows, `mime` what we serve it as."""

    container: str
    codec: str
    mime: str
    extension: str
    duration_s: float
    sample_rate: int
    channels: int


# libav's format name → our container, MIME type and extension.
_PLAIN = {
    "aac": ("aac", "audio/aac", "aac"),
    "aiff": ("aiff", "audio/aiff", "aiff"),
    "amr": ("amr", "audio/amr", "amr"),
    "asf": ("asf", "audio/x-ms-wma", "wma"),
    "au": ("au", "audio/basic", "au"),
    "caf": ("caf", "audio/x-caf", "caf"),
    "flac": ("flac", "audio/flac", "flac"),
    "mp3": ("mp3", "audio/mpeg", "mp3"),
    "ogg": ("ogg", "audio/ogg", "ogg"),
    "wav": ("wav", "audio/wav", "wav"),
}


def probe(path: str, *, max_s: float) -> ProbedSound:
    """Decode the file at `path` and describe it; raises `Unsupported` (no audio) or `Invalid` (bad, short, long)."""
    with Path(path).open("rb") as file, opened(file) as source:
        for _ in frames(source, max_s=max_s):
            pass
        return describe(source)


def describe(source: Source) -> ProbedSound:
    """Name what has been decoded."""
    container, mime, extension = _names(source)
    return ProbedSound(
        container, source.codec, mime, extension, round(source.duration_s, 3), source.sample_rate, source.channels
    )


def _names(source: Source) -> tuple[str, str, str]:
    name = source.container.format.name
    if name.startswith("mov"):
        return _mp4_names(source)
    if name.startswith("matroska"):
        kind = "video" if source.has_video else "audio"
        if source.mime.endswith("/webm"):
            return "webm", f"{kind}/webm", "webm"
        return "matroska", f"{kind}/x-matroska", "mkv" if source.has_video else "mka"
    return _PLAIN[name]


def _mp4_names(source: Source) -> tuple[str, str, str]:
    kind = "video" if source.has_video else "audio"
    brand = source.container.metadata.get("major_brand", "")
    if brand.startswith(("3gp", "3g2")):
        return "3gp", f"{kind}/3gpp", "3gp"
    if brand == "qt  ":
        return "mov", "video/quicktime", "mov"
    return ("mp4", "video/mp4", "mp4") if source.has_video else ("m4a", "audio/mp4", "m4a")
