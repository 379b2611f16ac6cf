"""Processes whose clock is wrong: the wall clock by libfaketime, the monotonic one stays."""

import importlib
import os
import subprocess
import sys
import time
from datetime import datetime
from functools import cache
from importlib.util import find_spec

from tests.services import missing

NEAR_S = 60  # much less than a clock here is wrong by, much more than a start takes


@cache
def clock(ahead_s: int) -> dict[str, str]:
    """The environment of a process whose clock is `ahead_s` seconds ahead."""
    if find_spec("libfaketime") is None:
        missing("libfaketime")
    _, preload = importlib.import_module("libfaketime").get_reload_information()
    env = {**preload, "NO_FAKE_STAT": "1", "FAKETIME": f"{ahead_s:+d}"}
    told = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        check=True, capture_output=True, text=True, env={"PATH": os.environ["PATH"], **env},
    )  # fmt: skip
    if not is_ahead(float(told.stdout), ahead_s):
        missing("libfaketime for this machine")
    return env


def is_ahead(at: float | str, ahead_s: int) -> bool:
    """Whether a clock that shows `at` now, or has in a log line of just now, is that far ahead."""
    shown = at if isinstance(at, float) else datetime.fromisoformat(at).timestamp()
    return abs(shown - time.time() - ahead_s) < NEAR_S
