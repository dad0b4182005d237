"""Agent: answers one call. What it receives, and what stands behind that."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import trio

from motet.model.agent import AgentInfo, Reply
from motet.model.payload import EMPTY, Payload
from motet.model.plan import Group, Plan
from motet.model.result import GroupResult, RunResult
from motet.model.session import SessionEntry
from motet.model.usage import NONE, Usage
from motet.ports.resident import Resident

Spendable: TypeAlias = Literal["cost_nanos", "tokens"]


class CallHost(Protocol):
    """What stands behind a call: the engine, or a fake."""

    def report(self, call: "Call", report: Payload) -> None: ...

    async def run(
        self,
        call: "Call",
        target: Plan | str,
        input: Payload | None,
        variables: Mapping[str, Payload],
        timeout: float | None,
        *,
        deeper: bool = True,
    ) -> RunResult: ...

    def keep(self, resident: Resident) -> None: ...

    def left(self, what: Spendable) -> int | None: ...

    @property
    def history(self) -> Sequence[SessionEntry]: ...


class Call:
    """What an agent receives. Each member has its own; nothing in it is shared with another member.

    Not a dataclass: one is made for every member, and what few agents ask for is made when they ask.
    """

    __slots__ = (
        "_variables",
        "attempt",
        "deadline",
        "depth",
        "detached",
        "group",
        "host",
        "input",
        "key",
        "member",
        "run_id",
        "session_id",
        "spent",
        "stop_detail",
    )

    def __init__(
        self,
        input: Payload = EMPTY,
        *,
        host: CallHost,
        variables: "Mapping[str, Payload] | Callable[[], Mapping[str, Payload]] | None" = None,
        run_id: str = "",
        group: str = "",
        member: str = "",
        session_id: str = "",
        attempt: int = 1,
        depth: int = 0,
        deadline: float = math.inf,
        idempotency_key: "str | Callable[[], str]" = "",
    ) -> None:
        self.input = input
        """What to answer."""
        self.host = host
        self._variables = variables if variables is not None else {}
        self.run_id = run_id
        self.group = group
        self.member = member
        """Instance name."""
        self.session_id = session_id
        """The conversation; empty means none."""
        self.attempt = attempt
        """From 1."""
        self.depth = depth
        """Of the run this call belongs to; 0 for a run that no other started."""
        self.deadline = deadline
        """On trio's clock; the nearest of member, group, plan and caller; infinite when there is none."""
        self.key = idempotency_key
        """What `idempotency_key` gives, or how to find it."""
        self.spent = NONE
        """What `spend` has told so far."""
        self.stop_detail = ""
        """Set by an agent, before it lets a cancellation through, to say in the receipt how it stopped its work."""
        self.detached = ""
        """Set by an agent, before it lets a cancellation through, to name work that it could not stop and that still runs."""

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this member, also after a crash: services that take one can tell a repeat by it.
        Empty when there is none."""
        return self.key if isinstance(self.key, str) else self.key()

    @property
    def text(self) -> str:
        """The input as text."""
        return self.input.text

    @property
    def value(self) -> Any:
        """The input as a Python value, a new copy each time."""
        return self.input.value

    @property
    def variable_payloads(self) -> Mapping[str, Payload]:
        """Variables as they were given."""
        if callable(self._variables):
            self._variables = self._variables()
        return self._variables

    @property
    def variables(self) -> dict[str, Any]:
        """Variables as Python values, a new copy each time; numbers such as `member_id` arrive as numbers."""
        return {name: payload.value for name, payload in self.variable_payloads.items()}

    def time_left(self) -> float:
        """Seconds until the deadline; infinite when there is none, 0 when it has passed."""
        return max(0.0, self.deadline - trio.current_time())

    def report(self, report: object) -> None:
        """Tell watchers how far the work is. Cheap, never waits; a member that reports very often has reports dropped."""
        self.host.report(self, Payload.of(report))

    def spend(self, usage: Usage) -> None:
        """Tell of what the call has used so far, added to what was told before: it counts also when the call fails or is
        stopped. A reply with a usage of its own replaces the sum."""
        self.spent = self.spent + usage

    async def run(
        self,
        target: Plan | str,
        input: object = None,
        *,
        variables: Mapping[str, object] | None = None,
        timeout: float | None = None,
    ) -> RunResult:
        """Run a group or plan inside this call: one level deeper, within this call's deadline and limits.

        `target` is a plan, or the name of a group in the catalog; without `input` or
        `variables` it gets this call's. While it waits here the call holds no
        width but its own seat in its group. Raises InvalidRequest when the plan is wrong.
        """
        given = self.variable_payloads
        if variables is not None:
            given = {name: Payload.of(value) for name, value in variables.items()}
        own = self.input if input is None else Payload.of(input)
        return await self.host.run(self, target, own, given, timeout)

    @property
    def history(self) -> Sequence[SessionEntry]:
        """What was said in the session before this run, oldest first; empty without a session."""
        return self.host.history if self.session_id else ()

    def left(self, what: Spendable) -> int | None:
        """What the budgets of its group, and of the runs around it, have not spent: tokens, or billionths of a US dollar. None
        without a bound. Others spend it at the same time; what the engine admits is decided when a call starts."""
        return self.host.left(what)

    def keep(self, resident: Resident) -> None:
        """Let something live in a task of the engine's until that closes; what lives already goes on as it is. Raises
        Unavailable once the engine closes."""
        self.host.keep(resident)

    async def ask(self, group: Group, *, variables: Mapping[str, object] | None = None) -> GroupResult:
        """Run what this call itself consists of, such as a turn of a model and the tools that it wants: as `run`, but at
        the same depth, so that a bound on nested runs is not spent on it. Its events stand under this member.

        Raises InvalidRequest when the group is wrong, Unavailable once this member has been given up.
        """
        given = self.variable_payloads
        if variables is not None:
            given = {name: Payload.of(value) for name, value in variables.items()}
        result = await self.host.run(self, group, self.input, given, None, deeper=False)
        return result.groups[0]


@runtime_checkable
class Agent(Protocol):
    """Answers one call.

    `call` returns a reply or raises: `AgentError` to choose the reason, anything else becomes AGENT_FAILED. When it is
    cancelled it stops its work, lets `trio.Cancelled` through, and says on the call what it could not stop. An agent
    that holds resources also has `async def aclose(self) -> None`, called once when the engine closes.
    """

    @property
    def info(self) -> AgentInfo: ...

    async def call(self, call: Call, /) -> Reply: ...
