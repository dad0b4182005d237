"""TenantQuota: what each tenant may run at once, and use in an hour, a day and ever. Counts here, kept by the store."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final

import trio

from motet.guards._amounts import needs_of, said, told, truth_of, use_of
from motet.guards._ledger import Estimate, Figure
from motet.guards._tenant import FIELDS, LENGTHS, Handover, TenantAccount, quotas_of
from motet.model import reason
from motet.model.bounds import EVERYONE, TenantBounds
from motet.model.limit_use import LimitUse
from motet.model.outcome import Failure
from motet.model.quota_use import QuotaUse
from motet.ports import ADMIT, Account, Admission, End, Guard, Refuse, RunTicket, Start, Wait

MAX_IDLE: Final = 10_000
"""Tenants at rest whose counts are remembered. A name beyond is forgotten here, and its totals asked of the store again."""

WINDOW_WORDS: Final = {"total": "", "day": " in this day", "hour": " in this hour"}


class TenantQuota(Guard, Account):
    """Refuses runs and calls of a tenant that has used up a quota, refuses runs beyond `max_runs`, and delays calls beyond
    `max_parallel` or while others of the tenant hold what is left.

    A tenant has the bounds under its own name in `tenants`, else those under `*`, counted for each tenant apart. The
    empty tenant is nobody's account and is not bounded. `wall_origin` is the wall clock, in seconds since 1970, at
    moment 0 of trio's clock; hours and days are those of UTC, and a call counts in the window in which it ends.

    As an `Account` it queues true use for the store: `taken` gives again what no `known` has confirmed, so of one account
    one hand-over may be under way at a time. Raises ValueError for bounds that are none.
    """

    name = "quota"

    def __init__(
        self,
        tenants: Mapping[str, TenantBounds],
        *,
        wall_origin: float,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        for tenant, bounds in tenants.items():
            _check(tenant, bounds)
        self.changed: Callable[[], None] = _nobody
        self._tenants = dict(tenants)
        self._origin = wall_origin
        self._clock = clock
        self._accounts: dict[str, TenantAccount] = {}
        self._idle: dict[str, None] = {}
        """Tenants at rest, the longest first."""
        self._handover = Handover()

    def may_run(self, run: RunTicket, now: float) -> Admission:
        account = self._account(run.tenant, now)
        if account is None:
            return ADMIT
        for figure in account.ledger.figures:
            if figure.spent >= figure.limit:
                return Refuse(self._used_up(account, figure, None, now))
        most = account.bounds.max_runs
        if run.nested or most is None or account.runs < most:
            return ADMIT
        details = {"tenant": run.tenant, "what": "runs", "limit": most, "used": account.runs}
        message = f"tenant {run.tenant!r} has {account.runs} runs going and may have {most}; wait for one to end"
        return Refuse(Failure(reason.QUOTA_EXCEEDED, message, details))

    def run_started(self, run: RunTicket, now: float) -> None:
        account = self._account(run.tenant, now)
        if account is not None and not run.nested:
            account.runs += 1
            self._place(account)

    def run_ended(self, run: RunTicket, now: float) -> None:
        account = self._account(run.tenant, now)
        if account is not None and not run.nested:
            if not account.runs:
                raise RuntimeError(f"a run of tenant {run.tenant!r} ended that had not started")
            account.runs -= 1
            self._place(account)

    def may_start(self, start: Start, now: float) -> Admission:
        account = self._account(start.ticket.tenant, now)
        if account is None:
            return ADMIT
        short = account.ledger.short(needs_of(account.ledger.figures, start))
        if short is not None and not short.ever:
            return Refuse(self._used_up(account, short.figure, short.need, now))
        if _full(account):
            return Wait(_key(account))
        if short is not None:
            turns = account.end_of(short.figure.window) - self._origin if short.fits_anew else math.inf
            return Wait(_key(account), turns)
        return ADMIT

    def started(self, start: Start, now: float) -> None:
        account = self._account(start.ticket.tenant, now)
        if account is not None:
            account.running += 1
            account.ledger.reserve(start, needs_of(account.ledger.figures, start))
            self._place(account)

    def ended(self, start: Start, now: float) -> Sequence[Hashable]:
        account = self._account(start.ticket.tenant, now)
        if account is None:
            return ()
        if not account.running:
            raise RuntimeError(f"a call of tenant {account.tenant!r} ended that had not started")
        account.running -= 1
        self._place(account)
        return (_key(account),)

    def paused(self, start: Start, now: float) -> Sequence[Hashable]:
        account = self._account(start.ticket.tenant, now)
        if account is not None:
            account.ledger.pause(start)
        return self.ended(start, now)

    def may_resume(self, start: Start, now: float) -> Admission:
        account = self._account(start.ticket.tenant, now)
        return Wait(_key(account)) if account is not None and _full(account) else ADMIT

    def resumed(self, start: Start, now: float) -> None:
        account = self._account(start.ticket.tenant, now)
        if account is not None:
            account.running += 1
            self._place(account)

    def settled(self, start: Start, end: End, now: float) -> Sequence[Hashable]:
        account = self._account(start.ticket.tenant, now)
        if account is None:
            return ()
        changed = account.ledger.settle(start, truth_of(account.ledger.figures, start, end))
        news = self._handover.add(account, use_of(start, end))
        self._place(account)
        if news:
            self.changed()
        return (_key(account),) if changed else ()

    def uses(self) -> Sequence[LimitUse]:
        """Of tenants named in the catalog, and of others while they run or have used something in a current window."""
        now = self._clock()
        for tenant in self._tenants:
            if tenant != EVERYONE:
                self._account(tenant, now)
        found: list[LimitUse] = []
        for account in self._accounts.values():
            account.turn(self._origin + now)
            if account.tenant in self._tenants or not account.at_rest or account.has_used:
                found += _uses(account)
        return found

    def taken(self) -> Sequence[QuotaUse]:
        return self._handover.take()

    def known(self, totals: Sequence[QuotaUse]) -> None:
        now = self._clock()
        for total in totals:
            used = self._handover.confirm(total)
            account = self._account(total.tenant, now)
            if account is not None and account.starts.get(total.window) == total.start:
                account.tell(used)

    def wanted(self, tenant: str) -> Sequence[QuotaUse]:
        account = self._account(tenant, self._clock())
        if account is None:
            return ()
        windows = [window for window in account.starts if window not in account.told]
        return tuple(QuotaUse(tenant=tenant, window=window, start=account.starts[window]) for window in windows)

    def _account(self, tenant: str, now: float) -> TenantAccount | None:
        """With its windows turned; None for a tenant that is not bounded."""
        account = self._accounts.get(tenant)
        if account is not None:
            account.turn(self._origin + now)
            return account
        bounds = self._tenants.get(tenant, self._tenants.get(EVERYONE)) if tenant else None
        if bounds is None:
            return None
        account = self._accounts[tenant] = TenantAccount(tenant, bounds, self._origin + now)
        self._place(account)
        return account

    def _place(self, account: TenantAccount) -> None:
        """Among those at rest, the last, or not; and forget one of them when there are many."""
        self._idle.pop(account.tenant, None)
        if not account.at_rest:
            return
        self._idle[account.tenant] = None
        if len(self._idle) > MAX_IDLE:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            if self._handover.holds(self._accounts[oldest]):
                self._idle[oldest] = None
            else:
                del self._accounts[oldest]

    def _used_up(self, account: TenantAccount, figure: Figure, need: Estimate | None, now: float) -> Failure:
        used = figure.spent + figure.certain
        details: dict[str, Any] = {
            "tenant": account.tenant,
            "window": figure.window,
            "what": figure.what,
            "limit": told(figure.what, figure.limit),
            "used": told(figure.what, used),
        }
        left = account.end_of(figure.window) - self._origin - now
        if not math.isinf(left):
            details["retry_after_seconds"] = left
        asks = f" and the call is expected to use {said(figure.what, need)} more" if isinstance(need, int) else ""
        message = (
            f"tenant {account.tenant!r} has used {said(figure.what, used)}{WINDOW_WORDS[figure.window]}{asks}; "
            f"its quota is {said(figure.what, figure.limit)}"
        )
        return Failure(reason.QUOTA_EXCEEDED, message, details)


def _nobody() -> None:
    """Without an engine nobody keeps what is used."""


def _key(account: TenantAccount) -> Hashable:
    return ("quota", account.tenant)


def _full(account: TenantAccount) -> bool:
    return account.bounds.max_parallel is not None and account.running >= account.bounds.max_parallel


def _uses(account: TenantAccount) -> list[LimitUse]:
    counted = (
        ("runs", account.runs, account.bounds.max_runs),
        ("running", account.running, account.bounds.max_parallel),
    )
    found = [
        LimitUse(guard="quota", scope="tenant", name=account.tenant, what=what, limit=limit, used=used)
        for what, used, limit in counted
        if limit is not None
    ]
    for figure in account.ledger.figures:
        length = LENGTHS[figure.window]
        found.append(
            LimitUse(
                guard="quota",
                scope="tenant",
                name=account.tenant,
                what=figure.what,
                limit=told(figure.what, figure.limit),
                used=told(figure.what, figure.spent),
                reserved=told(figure.what, figure.reserved),
                window=None if math.isinf(length) else length,
            )
        )
    return found


def _check(tenant: str, bounds: TenantBounds) -> None:
    whose = f"tenants.{tenant}"
    if not tenant:
        raise ValueError(f"tenants has an empty name; name a tenant, or {EVERYONE!r} for all that are not named")
    if bounds.max_parallel is not None and bounds.max_parallel < 1:
        raise ValueError(f"{whose}.max_parallel is {bounds.max_parallel}; give at least 1, or None for no bound")
    if bounds.max_runs is not None and bounds.max_runs < 0:
        raise ValueError(f"{whose}.max_runs is {bounds.max_runs}; give at least 0, or None for no bound")
    fields = {"total": "total", "day": "per_day", "hour": "per_hour"}
    for window, quota in quotas_of(bounds).items():
        for field in FIELDS.values():
            limit = getattr(quota, field)
            if limit is not None and not limit >= 0:
                raise ValueError(f"{whose}.{fields[window]}.{field} is {limit}; give at least 0, or None for no bound")
