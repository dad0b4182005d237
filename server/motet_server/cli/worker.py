"""One process of `motet serve --workers`, seen from inside: how it says that it is ready, and how it ends when nobody
supervises it any more. Knows nothing of what it serves."""

import os
import signal
import threading
import time

from motet_server.cli import exits

ORPHAN_BOUND = 15.0
"""Seconds for members to stop once the supervisor has gone, also when the process hangs."""
_STEP = 0.2
"""Seconds between the two signals; each is looked at by itself."""


def ready(descriptor: int, address: str, continued: int) -> None:
    """Tell the supervisor that the address is served, and how many runs go on that an earlier server left."""
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{address} {continued}\n")


def stay(core: int | None) -> None:
    """Keep this process, its threads and what they start on one core; None leaves them all. Linux only."""
    if core is not None:
        os.sched_setaffinity(0, {core})  # threads take over what their maker has; libraries have begun none yet


def follow_supervisor() -> None:
    """End this process with its supervisor, however that ended.

    The supervisor holds the other end of standard input and never writes; the kernel closes it even after `kill -9`. In a
    thread of its own, which also ends a process whose event loop is held up.
    """
    threading.Thread(target=_wait_and_end, name="motet-supervisor", daemon=True).start()


def _wait_and_end() -> None:
    while os.read(0, 1024):
        pass
    # As if asked twice: runs are cancelled at once and waited for, so that no program of a member outlives this one.
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
        time.sleep(_STEP)
    time.sleep(ORPHAN_BOUND)
    os._exit(exits.SIGNALLED + signal.SIGINT)
