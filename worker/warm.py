"""What a worker loads before it claims a job: what can't be loaded stops the start, and fails no job."""

import asyncio
import lzma
import os
from tempfile import gettempdir

from shared import language
from shared.audio.pool import AudioPool
from shared.errors import AppError, StartupError
from worker.providers.registry import Models

MODEL_MB = 70  # of the language model, unpacked: it is gone again once it is read


async def warm(audio: AudioPool, models: Models) -> None:
    """Load the language model, the audio processes and what the models need; raises StartupError."""
    await asyncio.gather(_language(), _audio(audio))
    try:
        await models.warm()
    except (AppError, OSError, RuntimeError) as error:
        raise StartupError(f"Parley's offline engine does not start: {_why(error)}") from error


async def _language() -> None:
    try:
        await asyncio.to_thread(language.warm)
    except (OSError, EOFError, MemoryError, RuntimeError, ValueError, lzma.LZMAError) as error:
        raise StartupError(
            f"Parley can't unpack its language model: {_why(error)}. A worker needs {MODEL_MB} MB, better 256, "
            f"in a temporary folder that it can write to ({_temporary()}): make it larger, or set TMPDIR."
        ) from error


async def _audio(pool: AudioPool) -> None:
    try:
        await pool.warm()
    except (AppError, OSError, RuntimeError) as error:
        raise StartupError(f"Parley's audio processes do not start: {_why(error)}") from error


def _temporary() -> str:
    try:
        return gettempdir()
    except OSError:
        return os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - to be named, not to be written to


def _why(error: BaseException) -> str:
    """The sentence of an error, and what caused it: a full disk, a limit of processes."""
    cause = f" ({error.__cause__})" if error.__cause__ and str(error.__cause__) else ""
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__) + cause
