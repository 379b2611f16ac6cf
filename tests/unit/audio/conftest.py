"""Fixtures for tests of `shared.audio`."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from shared.audio.pool import AudioPool


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """Write bytes to a file and return its path."""

    def _save(data: bytes, name: str = "note.mp3") -> str:
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    return _save


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[AudioPool]:
    """A pool of two processes."""
    made = AudioPool()
    yield made
    await made.close()
