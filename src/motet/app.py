"""The place where implementations are wired together: an engine with its catalog, guards and store."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from motet.engine.engine import Engine
from motet.engine.resolve import Bounds
from motet.errors import InvalidRequest, Violation
from motet.guards.attempts import AttemptBudget
from motet.guards.breaker import CircuitBreaker
from motet.guards.capacity import Capacity
from motet.guards.depth import Depth
from motet.guards.members import MaxMembers
from motet.guards.quota import TenantQuota
from motet.guards.rate import RateLimit
from motet.guards.scoped import guards_of
from motet.model.bounds import EVERYONE, TenantBounds
from motet.model.plan import Limits
from motet.ports import Guard, Observer, Store
from motet.sessions.book import SessionBook
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
    providers = catalog.providers
    quota = None
    built_in: list[Guard] = [
        Depth(),
        MaxMembers(),
        CircuitBreaker({name: bounds.breaker for name, bounds in providers.items() if bounds.breaker is not None}),
        AttemptBudget(settings.retry_share, settings.hedge_share),
    ]
    if catalog.tenants:
        quota = TenantQuota(catalog.tenants, wall_origin=time.time() - trio.current_time())
        built_in.append(quota)
    built_in += [
        RateLimit({name: bounds.rate for name, bounds in providers.items() if bounds.rate is not None}),
        Capacity(engine=width, providers={name: bounds.max_parallel for name, bounds in providers.items()}),
    ]

    def run_limits(tenant: str) -> Limits | None:
        own = bounds_of(catalog.tenants, tenant)
        of_tenant = own.limits if own is not None else None
        return of_tenant if catalog.limits is None else catalog.limits.tightened(of_tenant)

    kept = store if store is not None else MemoryStore()
    try:
        async with trio.open_nursery() as nursery:
            engine = Engine(
                nursery,
                catalog,
                guards=(*guards, *built_in),
                guards_of=guards_of,
                run_limits=run_limits,
                account=quota,
                store=kept,
                sessions=SessionBook(kept, catalog.sessions),
                observers=observers,
                bounds=bounds,
                stop_grace=grace,
            )
            try:
                await engine.open(tenant for tenant in catalog.tenants if tenant != EVERYONE)
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


def bounds_of(tenants: Mapping[str, TenantBounds], tenant: str) -> TenantBounds | None:
    """Those that hold for a tenant: its own, else everyone's; None when it has none, and for nobody's account."""
    return tenants.get(tenant, tenants.get(EVERYONE)) if tenant else None


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
