"""Carries what tenants use between the guard that counts it and the store that keeps it: one hand-over at a time."""

import logging
from typing import Final

import trio

from motet.errors import MotetError
from motet.ports import Account, Store

PATIENCE: Final = 30.0
"""Seconds that one hand-over may take."""
FIRST_RETRY: Final = 0.5
LONGEST_RETRY: Final = 30.0
"""Seconds between tries of a store that has failed."""
_log = logging.getLogger("motet.engine")


class Accounts:
    """The accounts of an engine."""

    def __init__(self, account: Account | None, store: Store, nursery: trio.Nursery) -> None:
        self._account = account
        self._store = store
        self._nursery = nursery
        self._turn = trio.Lock()
        self._writing = False
        self._closing = trio.Event()
        if account is not None:
            account.changed = self._changed

    async def know(self, tenant: str) -> None:
        """Make sure that what this tenant has used before is counted. Raises StoreFailed."""
        account = self._account
        if account is None or not tenant or not account.wanted(tenant):
            return
        async with self._turn:
            wanted = account.wanted(tenant)
            if wanted:
                account.known(await self._store.use([*account.taken(), *wanted]))

    def close(self) -> None:
        """The engine closes: a store that fails is not tried again."""
        self._closing.set()

    def _changed(self) -> None:
        if not self._writing:
            self._writing = True
            self._nursery.start_soon(self._write, name="motet accounts")

    async def _write(self) -> None:
        """Until nothing is left to hand over. Shielded, since what was used must be counted when the engine closes too;
        bounded by the patience with the store."""
        account = self._account
        wait = FIRST_RETRY
        with trio.CancelScope(shield=True):  # noqa: ASYNC912 - with nothing to hand over there is nothing to wait for
            while account is not None:
                async with self._turn:
                    taken = account.taken()
                    if not taken:
                        break
                    try:
                        with trio.fail_after(PATIENCE):
                            account.known(await self._store.use(taken))
                        continue
                    except (MotetError, trio.TooSlowError) as error:
                        _log.warning("what tenants have used could not be kept and is tried again: %s", error)
                if self._closing.is_set():
                    break
                with trio.move_on_after(wait):
                    await self._closing.wait()
                wait = min(2 * wait, LONGEST_RETRY)
            self._writing = False
