"""What stands between a server and its sessions: which one is open, who waits for one, and when the next may start. Must
not import `mcp`."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import trio

from motet.agents.mcp import convert
from motet.agents.model.reasons import TOOL_SERVER_LOST
from motet.errors import AgentError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from motet.agents.mcp.session import Session

BACKOFF_MOST: Final = 30.0
"""Seconds: the longest pause between two starts."""
PATIENCE: Final = 1.0
"""A pause up to so many seconds is waited out; in a longer one calls fail at once and say how long it lasts."""
_CLOSED: Final = convert.Cause("it closed the connection")
_STEADY: Final = 30.0
"""A session that lasted so many seconds, or answered a call, has not failed at once."""


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """What a session needs to know of its server."""

    name: str
    program: tuple[Sequence[str], Mapping[str, str], str | None] | None
    """Command, environment and folder; None means that there is a URL."""
    url: str
    headers: Mapping[str, str]
    start_timeout: float


@dataclass(frozen=True, slots=True)
class Listed:
    """A tool as its server lists it."""

    name: str
    """The server's own name for it."""
    description: str
    schema: Mapping[str, Any]
    replay_safe: bool | None

    @classmethod
    def of(
        cls, name: str, description: str, schema: Mapping[str, Any], *, read_only: bool | None, idempotent: bool | None
    ) -> "Listed":
        return cls(name, description, schema, convert.replay_safe(read_only=read_only, idempotent=idempotent))


Open: TypeAlias = Callable[[convert.Trouble], "AbstractAsyncContextManager[Session]"]


class Link:
    """The sessions of one server in one run of trio, one after another. One task owns them."""

    def __init__(self, name: str, *, restart: bool, backoff: float) -> None:
        self.name = name
        self.session: Session | None = None
        self.owned = False
        """A task sees to it that sessions start. Whoever does so sets this, and calls `release` at its end."""
        self._wanted = trio.Event()
        self._restart = restart
        self._backoff = backoff
        self._settled = trio.Event()
        """The start that is under way, or the next one, has come to something."""
        self._failures = 0
        self._starts = 0
        self._not_before = -math.inf
        self._cause = _CLOSED

    async def get(self) -> "Session":
        """The open session, or the next one. Raises AgentError when there is none to be had."""
        if self.session is None:
            self._wanted.set()
            settled = self._settled
            await settled.wait()
        if self.session is None:
            raise self._error()
        return self.session

    async def own(self, open_session: Open, cause_of: Callable[[BaseException], convert.Cause]) -> None:
        """Start a session whenever one is wanted, and see it to its end. Ends only by cancellation."""
        while True:
            await self._wanted.wait()
            if self._over() or self._pause() > PATIENCE:
                self._settle()
                continue
            await trio.sleep(self._pause())
            await self._attend(open_session, cause_of)

    def release(self) -> None:
        """The owner ends, and with it all that it knows: the next one begins anew."""
        self.owned = False
        self._cause = convert.Cause("its engine closed")
        self._failures = self._starts = 0
        self._not_before = -math.inf
        self._settle()

    async def _attend(self, open_session: Open, cause_of: Callable[[BaseException], convert.Cause]) -> None:
        trouble, began, session = convert.Trouble(), trio.current_time(), None
        self._starts += 1
        cause = _CLOSED
        try:
            async with open_session(trouble) as session:
                self.session = session
                self._settle()
                await session.watch()
                self.session = None
        except Exception as error:  # noqa: BLE001 - whatever ends a session, the next one is another
            cause = cause_of(error)
        finally:
            self.session = None
            steady = session is not None and (session.useful or trio.current_time() - began >= _STEADY)
            self._failures = 0 if steady else self._failures + 1
            self._cause = replace(cause, text=trouble.words(cause.text))
            trouble.say(self._cause.text)
            if self._failures:
                pause = min(BACKOFF_MOST, self._backoff * 2.0 ** min(self._failures - 1, 16))
                self._not_before = trio.current_time() + pause
            if session is None:
                self._settle()
            else:
                session.down.set()

    def _settle(self) -> None:
        """All that wait now have their answer; those that come later ask anew."""
        self._wanted = trio.Event()
        settled, self._settled = self._settled, trio.Event()
        settled.set()

    def _over(self) -> bool:
        return not self._restart and self._starts > 0

    def _pause(self) -> float:
        return max(0.0, self._not_before - trio.current_time())

    def _error(self) -> AgentError:
        if self._over():
            message = f"MCP server '{self.name}' has ended and is not started again (restart=False): {self._cause.text}"
            return AgentError(message, reason=TOOL_SERVER_LOST)
        pause = self._pause()
        return AgentError(
            f"MCP server '{self.name}' is not there: {self._cause.text}",
            reason=self._cause.reason,
            retryable=self._cause.retryable,
            retry_after=(pause or None) if self._cause.retryable else None,
            details={"starts_failed": self._failures},
        )
