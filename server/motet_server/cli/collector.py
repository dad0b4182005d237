"""Python's garbage collector in a process that only serves: what the start has made is left out of its rounds, and they come
less often. Knows nothing of what is served."""

import gc
from typing import Final

UNTOUCHED: Final = gc.get_threshold()
"""As the interpreter has it before modules of a catalog are there: a round for each 700 objects or so that came and stay."""
CALM: Final = (50_000, 10, 10)
"""Instead of it. What a run has made goes with its last reference, without the collector; while thousands of runs wait, its
rounds walk them all and find nothing. Cycles that agents leave are found after 50,000 objects."""


def calm() -> None:
    """Set the collector for serving. Called once all that lasts as long as the process is there.

    Thresholds that the catalog's own modules have set stay as they are.
    """
    gc.collect()
    gc.freeze()
    if gc.get_threshold() == UNTOUCHED:
        gc.set_threshold(*CALM)
