"""The one place where an error becomes a sentence on standard error and an exit code."""

import os
from collections.abc import Callable, Iterable

from motet_server.cli import exits
from motet_server.cli.output import make_tolerant, say


def guarded(work: Callable[[], int | None]) -> int:
    """Do the work of a whole program. Returns its exit code; an expected error is a sentence, a defect is raised."""
    make_tolerant()
    try:
        return work() or exits.OK
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:  # the unexpected is raised again
        leaves = list(exits.leaves(error))
        codes = [exits.of_error(leaf) for leaf in leaves]
        if None in codes:
            raise
    code = max((code for code in codes if code is not None), default=exits.FAILED)
    if code == exits.BROKEN_PIPE:
        # What the interpreter flushes at its end would fail again, and be reported.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return code
    if code == exits.INTERRUPTED:
        return complain(["interrupted"], code)
    return complain((line for leaf in leaves for line in exits.sentences(leaf)), code)


def complain(lines: Iterable[str], code: int) -> int:
    """Say each line, under the program's name. Returns the code."""
    for line in lines:
        say(f"motet: {line}")
    return code
