"""The sessions of an engine over its store: one run at a time takes part in each, and what is said is added when it leaves.

Within a process runs come in the order in which they asked; between processes that share a store, a claim in the store
says whose turn it is, and one whose process has died counts for nothing.
"""

import logging
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import trio

from motet.errors import MotetError, Unavailable
from motet.model import reason
from motet.model.outcome import Failure
from motet.model.session import SessionEntry, SessionSettings, WhenBusy
from motet.ports import Claimed, Conversation, Store, Summary
from motet.sessions.turns import Turns

FIRST_LOOK: Final = 0.05
LONGEST_LOOK: Final = 1.0
"""Seconds between looks at a session that another process uses: there is nobody here to tell of its end."""
STORE_PATIENCE: Final = 30.0
"""Seconds that the store may take to add what was said."""
_log = logging.getLogger("motet.sessions")


def session_key(tenant: str, session_id: str) -> str:
    """What a store keeps a session of a tenant under. Two tenants never share one, whatever their names are."""
    return f"{quote(tenant, safe='')}/{session_id}" if tenant else session_id.replace("/", "%2F")


class SessionBook:
    """The sessions that the runs of one engine take part in. See `motet.ports.Sessions`."""

    def __init__(self, store: Store, settings: SessionSettings) -> None:
        self.store = store
        self._settings = settings
        self.turns = Turns()

    @property
    def settings(self) -> SessionSettings:
        return self._settings

    async def begin(
        self, tenant: str, session_id: str, run_id: str, around: Sequence[str] = (), *, again: bool = False
    ) -> Conversation | Failure:
        key = session_key(tenant, session_id)
        if self.turns.holder(key) in around:
            return _busy(session_id, "the run that this one runs in takes part in it; it would wait for itself")
        waits = again or self.settings.when_busy is WhenBusy.WAIT
        if self.turns.holder(key) and not waits:
            return _busy(session_id, "another run takes part in it")
        try:
            await self.turns.take(key, run_id)
            return await self._claimed(key, session_id, run_id, waits=waits)
        except MotetError as error:
            message = f"what was said in session {session_id!r} before is not known: {error.message}"
            return Failure(error.reason, message, error.details)
        except Exception as error:  # noqa: BLE001 - a store is foreign code; its failure is the run's
            _log.exception("the store failed")
            message = f"what was said in session {session_id!r} before is not known: {type(error).__name__}: {error}"
            return Failure(reason.STORE_UNAVAILABLE, message)

    async def entries(self, tenant: str, session_id: str) -> Sequence[SessionEntry]:
        return await self.store.session(session_key(tenant, session_id))

    async def forget(self, tenant: str, session_id: str) -> None:
        key = session_key(tenant, session_id)
        if self.turns.holder(key):
            message = f"a run takes part in session {session_id!r}; forget it when the run has ended"
            raise Unavailable(message, reason=reason.SESSION_BUSY)
        await self.store.forget_session(key)

    async def _claimed(self, key: str, session_id: str, run_id: str, *, waits: bool) -> Conversation | Failure:
        """The turn is ours in this process: get it in the store too."""
        kept = False
        epoch = 0
        try:
            if self.store.shared:
                claim = await self._claim(key, waits=waits)
                if claim is None:
                    return _busy(session_id, "a run in another process takes part in it")
                epoch = claim.epoch
            try:
                entries = await self.store.session(key)
            except BaseException:
                await give_up(self.store, key, epoch)  # noqa: ASYNC102 - shielded and bounded inside
                raise
            kept = True
            return OpenConversation(self, key, run_id, epoch, entries)
        finally:
            if not kept:
                self.turns.give(key)

    async def _claim(self, key: str, *, waits: bool) -> Claimed | None:
        look = FIRST_LOOK
        while True:
            claim = await self.store.claim(_claim_key(key), "session")
            if isinstance(claim, Claimed):
                return claim
            if not waits:
                return None
            await trio.sleep(look)
            look = min(2 * look, LONGEST_LOOK)


class OpenConversation:
    """A session while a run takes part in it. See `motet.ports.Conversation`."""

    def __init__(self, book: SessionBook, key: str, run_id: str, epoch: int, entries: Sequence[SessionEntry]) -> None:
        self._book = book
        self._key = key
        self._run_id = run_id
        self._epoch = epoch
        self._left = False
        self._added = any(entry.run_id == run_id for entry in entries)
        """This run has added its part before a crash, which came before its end was recorded."""
        self.history = tuple(entry for entry in entries if entry.run_id != run_id)

    def excess(self, coming: int) -> Sequence[SessionEntry]:
        settings = self._book.settings
        whole = len(self.history) + coming
        if not settings.summary_agent or self._added or whole <= settings.max_entries:
            return ()
        # Half is left, so that not each run has to be followed by a summary; the summary itself takes one place.
        return self.history[: whole - max(0, settings.max_entries // 2 - 1)]

    async def leave(self, entries: Sequence[SessionEntry], summary: Summary | None = None) -> Failure | None:
        if self._left:
            raise RuntimeError("the session has been left")
        self._left = True
        failure: Failure | None = None
        store = self._book.store
        with trio.move_on_after(STORE_PATIENCE, shield=True) as patience:  # noqa: ASYNC912 - with nothing to add it need not wait
            try:
                await self._add(entries, summary)
            except MotetError as error:
                failure = Failure(
                    reason.SESSION_NOT_KEPT, f"what was said was not kept: {error.message}", error.details
                )
            except Exception as error:  # noqa: BLE001 - a store is foreign code; its failure is the run's
                _log.exception("the store failed")
                failure = Failure(
                    reason.SESSION_NOT_KEPT, f"what was said was not kept: {type(error).__name__}: {error}"
                )
        if patience.cancelled_caught:
            message = f"what was said may not have been kept: the store took longer than {STORE_PATIENCE:g} s"
            failure = Failure(reason.SESSION_NOT_KEPT, message)
        await give_up(store, self._key, self._epoch)
        self._book.turns.give(self._key)
        return failure

    async def _add(self, entries: Sequence[SessionEntry], summary: Summary | None) -> None:
        if self._added or not entries:
            return
        most = self._book.settings.max_entries
        if summary is None:
            await self._book.store.remember(self._key, entries, most)
            return
        # Appended whole and in its new order, so that one step replaces what was there.
        rest = [*self.history[summary.replaces :], *entries]
        whole = [summary.entry, *rest[max(0, len(rest) - most + 1) :]]
        await self._book.store.remember(self._key, whole, len(whole))


async def give_up(store: Store, key: str, epoch: int) -> None:
    """Let other processes have their turn. Shielded and bounded; a claim that cannot be given up ends with the process."""
    if not epoch:
        return
    with trio.move_on_after(STORE_PATIENCE, shield=True):  # noqa: ASYNC912 - the store waits as it needs
        try:
            await store.settle(_claim_key(key), epoch, None)
        except Exception as error:  # noqa: BLE001 - a store is foreign code, and the run is over
            _log.warning("session %s could not be given up: %s", key, error)


def _claim_key(key: str) -> str:
    return f"session:{key}"


def _busy(session_id: str, why: str) -> Failure:
    return Failure(reason.SESSION_BUSY, f"session {session_id!r} is in use: {why}", {"session_id": session_id})
