"""The place where implementations are wired together: an engine with its catalog, guards and store."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from motet.engine.engine import Engine
from motet.engine.resolve import Bounds
from motet.errors import InvalidRequest, Violation
from motet.guards.capacity import Capacity
from motet.ports import Guard, Observer, Store
from motet.store.memory import MemoryStore

if TYPE_CHECKING:
    from motet.catalog import Catalog

MAX_PAYLOAD_BYTES = 16 * 2**20
"""Of one input or variable. Four times the default of gRPC messages: larger things travel by reference."""


@asynccontextmanager
async def open_engine(
    catalog: "Catalog | None" = None,
    *,
    max_parallel: int | None = None,
    max_depth: int | None = None,
    max_members: int | None = None,
    max_payload_bytes: int = MAX_PAYLOAD_BYTES,
    stop_grace: float | None = None,
    guards: Sequence[Guard] = (),
    store: Store | None = None,
    observers: Sequence[Observer] = (),
) -> AsyncIterator[Engine]:
    """Open an engine for as long as this context lasts.

    Without a catalog only agents given as objects can run. `max_parallel` bounds the members that run at once over all
    runs, `max_depth` the nesting of runs, `max_members` one run's members, `stop_grace` the seconds that a cancelled
    member has to stop before it is reported as DETACHED; where None, the catalog's own settings hold. `guards` join
    the built-in capacity; `store` keeps background runs, by default in memory; `observers` hear every event.

    Leaving stops every run and waits for it. A member that does not stop keeps this context open, since a task must not
    outlive its nursery. Raises CatalogError when the catalog has mistakes, InvalidRequest for bounds that are none.
    """
    from motet.catalog import Catalog  # noqa: PLC0415 - `import motet` stays quick

    catalog = catalog if catalog is not None else Catalog()
    catalog.check()
    settings = catalog.settings
    width = settings.max_parallel if max_parallel is None else max_parallel
    bounds = Bounds(
        settings.max_members if max_members is None else max_members,
        settings.max_depth if max_depth is None else max_depth,
        max_payload_bytes,
    )
    grace = settings.stop_grace if stop_grace is None else stop_grace
    _check(width, bounds, grace)
    capacity = Capacity(engine=width, providers=catalog.providers)
    try:
        async with trio.open_nursery() as nursery:
            engine = Engine(
                nursery,
                catalog,
                guards=(capacity, *guards),
                store=store if store is not None else MemoryStore(),
                observers=observers,
                bounds=bounds,
                stop_grace=grace,
            )
            try:
                yield engine
            finally:
                # Bounded by the engine: stopped runs detach members that do not stop, closing has its own patience.
                with trio.CancelScope(shield=True):
                    await engine.close()
    except BaseExceptionGroup as group:
        single = _unwrap(group)
        if single is None:
            raise
        raise single from single.__cause__


def _check(width: int | None, bounds: Bounds, grace: float) -> None:
    wrong: list[Violation] = []
    if width is not None and width < 1:
        wrong.append(Violation("max_parallel", f"{width} lets nothing run; give at least 1, or None for no bound"))
    if bounds.max_depth < 0:
        wrong.append(Violation("max_depth", f"{bounds.max_depth} is not a depth; give 0 or more"))
    if bounds.max_members < 1:
        wrong.append(Violation("max_members", f"{bounds.max_members} lets nothing run; give at least 1"))
    if not grace >= 0:
        wrong.append(Violation("stop_grace", f"{grace} is not a time; give seconds, 0 or more"))
    if wrong:
        raise InvalidRequest(wrong)


def _unwrap(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The one exception that the caller should see in place of a nursery's group: the only one there is, or an exit or
    interrupt among several."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)
        else:
            leaves.append(error)
    urgent = [leaf for leaf in leaves if isinstance(leaf, KeyboardInterrupt | SystemExit)]
    if urgent:
        return urgent[0]
    real = [leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)]
    if not real:
        return leaves[0]
    return real[0] if len(real) == 1 and len(leaves) == 1 else None
