"""One place that owns the signals of a process."""

import asyncio
import os
import signal


def stop_on_signals() -> asyncio.Event:
    """An event that the first SIGTERM, SIGINT or SIGHUP sets; the second ends the process at once."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            loop.add_signal_handler(number, stop, number)
    return stopping
