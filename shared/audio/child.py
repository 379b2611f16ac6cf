"""What an audio process does before its first task: everything is loaded, and nothing outlives the parent."""

import multiprocessing
import os
import signal
import sys
import threading

from shared.audio import decode, mp3, probe  # noqa: F401 - loaded once, before the first task

if sys.platform != "win32":
    import resource

# Far above any honest file: a header that asks for more gets no memory rather than the machine's.
MAX_MEMORY_BYTES = 2_000_000_000


def start() -> None:
    """Prepare an audio process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = MAX_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MAX_MEMORY_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_follow_parent, daemon=True).start()


def ready() -> int:
    """Return the process id: the process is loaded."""
    return os.getpid()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
