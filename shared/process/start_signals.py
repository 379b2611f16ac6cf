"""Imported before everything else: until a process handles its signals itself, the first one ends it at once.

Imports take a second or two, and Linux drops the signals that a container's first process has no handler for.
"""

import os
import signal
import sys
from types import FrameType


def _end(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        sys.exit(128 + number)  # a prompt for a password puts the terminal right
    os._exit(128 + number)


for _number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is not signal.SIG_IGN:  # as nohup wants it
        signal.signal(_number, _end)
