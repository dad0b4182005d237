"""What the benchmarks share: a clock, quantiles and a table. Knows nothing of Motet."""

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies; the nearest one, not interpolated."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def seconds_per_call(call: Callable[[], Awaitable[object]], *, at_least: float) -> float:
    """Mean seconds of a call, over as many calls as take `at_least` seconds. CPU time, since the cores may be shared."""
    gc.collect()
    count = 0
    begin = time.process_time()
    while (spent := time.process_time() - begin) < at_least:
        await call()
        count += 1
    return spent / count


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table, ready for benches/README.md."""
    lines = [head, ["---"] * len(head), *rows]
    for line in lines:
        print("| " + " | ".join(line) + " |")
