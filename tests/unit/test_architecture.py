"""docs/architecture.md names files that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NAMED = set(re.findall(r"`((?:api|shared|worker|migrations)/[\w/.-]*)`", (ROOT / "docs/architecture.md").read_text()))


def test_it_names_files() -> None:
    assert len(NAMED) > 20


@pytest.mark.parametrize("path", sorted(NAMED))
def test_what_it_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()
