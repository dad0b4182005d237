"""One run of a plan: walks the tree, hands each group its input and deadline, and puts the result together."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import trio

from motet.engine import causes, settle
from motet.engine.attempt import RunningAttempt
from motet.engine.away import Away
from motet.engine.causes import StopCause
from motet.engine.group import GroupExecution
from motet.engine.history import GroupHistory, History
from motet.engine.idempotency import fingerprint_of
from motet.engine.journal import Journal, Sink
from motet.engine.resolve import Bounds, Node, groups_of, resolve
from motet.engine.talking import Talk, takes_part
from motet.engine.walking import Walk
from motet.errors import Exhausted
from motet.model.event import RunEnded, RunStarted
from motet.model.outcome import Failure
from motet.model.payload import Payload
from motet.model.plan import Limits, Plan
from motet.model.quick import quick
from motet.model.result import RunResult
from motet.model.run import RunRequest
from motet.model.state import State
from motet.ports import Guard, Refuse, RunTicket, Scope

if TYPE_CHECKING:
    from motet.engine.engine import Engine

_log = logging.getLogger("motet.engine")
_ticket: Callable[..., RunTicket] = quick(RunTicket)
_result: Callable[..., RunResult] = quick(RunResult)
NO_VARIABLES: Final[Mapping[str, Payload]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Past:
    """A run from before a crash."""

    run_id: str
    started_at: datetime
    history: History


def refused(refusal: Refuse) -> Exhausted:
    """The error of a run that a guard refuses."""
    failure = refusal.failure
    after = failure.details.get("retry_after_seconds")
    retry_after = float(after) if isinstance(after, int | float) else None
    return Exhausted(failure.message, reason=failure.reason, retry_after=retry_after, details=failure.details)


class NestedRun:
    """What a member keeps of a run that it started."""

    result: RunResult | None = None
    """None until it has ended."""


class RunExecution:
    """One run, or one nested run inside a member of another. What most runs never have is at the class."""

    refusal: StopCause | None = None
    """Why nothing of it may start."""
    left: bool = False
    """It goes on in another engine."""
    talk: Talk | None = None
    """Its part in a session. A nested run's is that of the run around it."""

    def __init__(
        self,
        engine: "Engine",
        request: RunRequest,
        node: Node,
        bounds: Bounds,
        *,
        caller_deadline: float,
        depth: int,
        within: "tuple[RunExecution, GroupExecution, str] | None" = None,
        whose: str = "caller",
        asks: bool = False,
        past: Past | None = None,
        fingerprint: str = "",
        caller: RunningAttempt | None = None,
        own_work: bool = False,
    ) -> None:
        """`within` is the run, the group and the path that a nested run belongs to; None for a run of its own. `whose` names
        what `caller_deadline` belongs to, `asks` says that the run is what the group's aggregation asks. `past` is where a
        run that goes on after a crash stood; `fingerprint` tells a nested run's request in its events; `caller` is the
        attempt that waits for it, where it is one of this engine's; `own_work` says that the call consists of it: its members
        are no members that anybody asked for."""
        self.engine = engine
        self.request = request
        self.node = node
        self.bounds = bounds
        self.depth = depth
        self.session_id = request.session_id
        self.started = trio.current_time()
        self.started_at = datetime.now(UTC)
        if past is not None:
            # The time that passed meanwhile counts: a deadline is a moment, whoever lives to see it.
            gone = max(past.history.elapsed, (self.started_at - past.started_at).total_seconds())
            self.started -= gone
            self.started_at = past.started_at
        self.groups: set[GroupExecution] = set()
        self.result: RunResult | None = None
        self.done = trio.Event()
        self.cause: StopCause | None = None
        self._outer: StopCause | None = None
        self.parent = within[2] if within is not None else ""
        self._within = within
        self.asks = asks
        self.fingerprint = fingerprint
        self.caller = caller
        self._whose = whose
        self._history: History | None = None
        self.limits: Limits | None = None
        self.guards: tuple[Guard, ...] = ()
        """Its own."""
        self.scopes: tuple[Guard, ...] = ()
        """Those that everything asks that starts in this run: its own, and those of whoever pays for it."""
        if within is None:
            self._begin(past)
        else:
            self._join(*within)
        self.total = sum(each.seats.total for each in groups_of(node))
        """Members of its plan."""
        self.counted = 0 if own_work else self.total
        """Those that count against the most members of a run."""
        self.ticket = _ticket(
            self.journal.run_id,
            self.tenant,
            depth,
            bounds.max_depth,
            self.counted + (0 if within is None else self.root.members),
            bounds.max_members,
            nested=within is not None,
        )
        self._entered = False
        self.caller_deadline = caller_deadline
        """On trio's clock; infinite when the run does not depend on its caller."""
        self._walk = Walk(self)
        self.running_now = past.history.running if past is not None else 0
        """Members that have started and not ended."""
        self.peak = past.history.peak if past is not None else 0

    def _begin(self, past: Past | None) -> None:
        """A run of its own has a journal of its own, and pays for itself."""
        run_id = past.run_id if past is not None else f"run_{os.urandom(16).hex()}"
        self.tenant = self.request.tenant
        self.journal = Journal(run_id, self.engine.observers, self.started)
        self.members = 0
        self.limits = self.engine.limits_of(self.request)
        if self.limits is not None:
            self.guards = tuple(self.engine.guards_of(Scope("run", run_id, run_id), self.limits, self._breached))
            self.scopes = self.guards
        if past is not None:
            self._history = past.history
            self.journal.sequence = past.history.sequence
            self.journal.elapsed = past.history.elapsed
            self.journal.progress = past.history.progress

    def _join(self, outer: "RunExecution", group: GroupExecution, path: str) -> None:
        """A nested run tells its events in the journal of the run around it, and is paid for there."""
        self.tenant = outer.tenant
        self.journal = outer.journal
        self.scopes = group.payers
        if self.history is not None and (before := self.history.under(path)):
            # One that goes on has started when it did.
            self.started = min(self.started, self.root.started + min(each.started for each in before))

    @property
    def run_id(self) -> str:
        return self.journal.run_id

    @property
    def root(self) -> "RunExecution":
        return self if self._within is None else self._within[0].root

    @property
    def history(self) -> History | None:
        """What is recorded of the run from before a crash."""
        return self.root._history  # noqa: SLF001 - of its own kind

    def past_of(self, name: str) -> GroupHistory | None:
        """What is recorded of a group of this run; None when it had not started."""
        history = self.history
        return None if history is None else history.groups.get((self.parent, name))

    def enter(self, *, admitted: bool = False) -> None:
        """Ask the guards, unless they have admitted it before, and count as a run that goes. Raises Exhausted. To be
        followed by `leave`."""
        now = trio.current_time()
        refusal = None if admitted else self.engine.admission.may_run(self.ticket, now)
        if refusal is not None:
            raise refused(refusal)
        self.engine.admission.run_started(self.ticket, now)
        self._entered = True

    def leave(self) -> None:
        if self._entered:
            self._entered = False
            self.engine.admission.run_ended(self.ticket, trio.current_time())

    def follow(self, sink: Sink) -> None:
        """Hear every event from the first. Only before the run has started."""
        self.journal.follow(sink)

    async def execute(self) -> RunResult:
        """Run the plan. Always leaves `result` set, also when the caller's cancellation passes through."""
        self.root.members += self.counted
        if self._within is None and (self.history is None or not self.history.sequence):
            if self.journal.heard:
                self.journal.emit(RunStarted(self.run_id, self.started_at, self.total, self.request.labels))
            else:
                self.journal.pass_over()
        deadline, whose = self.caller_deadline, self._whose
        if self.request.timeout is not None and self.started + self.request.timeout < deadline:
            deadline, whose = self.started + self.request.timeout, "run"
        try:
            if self._within is None and takes_part(self.session_id, self.node):
                self.talk = Talk(self)
                await self.talk.begin(deadline)
            variables = self.request.variables or NO_VARIABLES
            await self._walk.walk(self.node, self.request.input, variables, deadline, whose)
        except Exception as error:
            if self.history is None:
                raise
            # A past that makes no sense must not keep an engine from opening, each time anew.
            _log.exception("run %s cannot be continued", self.run_id)
            self.cause = self.cause or causes.broken(trio.current_time(), error)
        finally:
            if self.talk is not None:
                await self.talk.leave()  # noqa: ASYNC102 - shielded and bounded inside
            self.result = self._conclude()
            if self._within is None and (self.history is None or self.history.ended is None):
                if self.journal.heard:
                    ended = self.result
                    self.journal.emit(RunEnded(ended.state, ended.failure, ended.usage, ended.stats))
                else:
                    self.journal.pass_over()
        return self.result

    async def execute_to_end(self) -> None:
        """`execute` for a task of its own: the result is read from `result` once `done` is set."""
        try:
            await self.execute()
        finally:
            self.done.set()

    def stop(self, cause: StopCause) -> None:
        """Stop what runs and start nothing more; the run then ends by itself. The first cause counts."""
        if self.cause is None and self.result is None:
            self.cause = cause
            for group in tuple(self.groups):
                group.stop(cause)
            if self.talk is not None:
                self.talk.stop()

    def outer_cause(self) -> StopCause:
        """Why a cancellation comes from outside this run. Found once: by the time that everything has stopped, a deadline
        may have passed that was not the reason."""
        if self._outer is None:
            self._outer = self.cause or self._find_outer_cause()
        return self._outer

    def _find_outer_cause(self) -> StopCause:
        now = trio.current_time()
        if self._within is not None:
            run, group, _ = self._within
            if self.caller is not None and self.caller.cause is not None and not self.asks:
                return self.caller.cause
            # Questions are put after the members were stopped: that is not why they are.
            cause = group.cut if self.asks else group.cause
            if cause is not None:
                return cause
            if self.asks and now < self.caller_deadline:
                return run.outer_cause()
        if now >= self.caller_deadline:
            return causes.deadline_exceeded(self.caller_deadline, self._whose)
        return self.engine.closing_cause or causes.cancelled(now)

    def _breached(self, failure: Failure, cancel: bool) -> None:
        """A budget of the run is broken."""
        for group in tuple(self.groups):
            group.breached(failure, cancel)

    async def run_nested(
        self,
        attempt: RunningAttempt,
        target: Plan | str,
        input: Payload,
        variables: Mapping[str, Payload],
        timeout: float | None,
        *,
        deeper: bool = True,
    ) -> RunResult:
        """Run a plan inside a member of this run, one level deeper, or at its own depth when it is the member's own work."""
        attempt.check_alive()
        member = attempt.member
        request = RunRequest(
            target=target, input=input, variables=variables, timeout=timeout, session_id=self.session_id
        )
        bounds = self.bounds
        depth = self.depth + deeper
        if member.group.node.max_depth is not None:
            bounds = replace(bounds, max_depth=min(bounds.max_depth, self.depth + member.group.node.max_depth))
        node = resolve(request, self.engine.catalog, bounds)
        fingerprint = fingerprint_of(request) if self.journal.barrier is not None else ""
        path = member.path_again(fingerprint) or member.nested_path()
        nested = RunExecution(
            self.engine,
            request,
            node,
            bounds,
            caller_deadline=attempt.deadline,
            depth=depth,
            within=(self, member.group, path),
            whose="member" if attempt.timed else member.group.whose,
            fingerprint=fingerprint,
            caller=attempt,
            own_work=not deeper,
        )
        try:
            nested.enter()
        except Exhausted:
            member.leave_path(path)
            raise
        # Not the run itself: a member may run many, and each holds its whole request.
        ended = NestedRun()
        member.nested_runs += (ended,)
        away = Away(attempt)
        away.go()
        try:
            with away.bounded():
                return await nested.execute()
        finally:
            ended.result = nested.result
            nested.leave()
            await away.back()  # noqa: ASYNC102 - waiting for width is cancellable, as everywhere

    def nested(
        self, request: RunRequest, group: GroupExecution, path: str, deadline: float, whose: str
    ) -> "RunExecution":
        """A run at the same depth, for what a group of this run asks. Raises InvalidRequest and Exhausted."""
        node = resolve(request, self.engine.catalog, self.bounds)
        run = RunExecution(
            self.engine,
            request,
            node,
            self.bounds,
            caller_deadline=deadline,
            depth=self.depth,
            within=(self, group, path),
            whose=whose,
            asks=True,
            caller=self.caller,
        )
        refusal = self.engine.admission.may_run(run.ticket, trio.current_time())
        if refusal is not None:
            raise refused(refusal)
        return run

    # ------------------------------------------------------------------------------------------------------- the end

    def _conclude(self) -> RunResult:
        nodes = groups_of(self.node)
        missing = [node for node in nodes if id(node) not in self._walk.results]
        for node in missing:
            # The caller's cancellation passed through before the walk came here.
            self._walk.skip(node, self.outer_cause())
        groups = tuple(self._walk.results[id(node)] for node in nodes)
        state, failure = settle.run_end(groups, self.cause)
        if self.talk is not None and self.talk.failure is not None and failure is None:
            state, failure = State.FAILED, self.talk.failure
        if self._within is None and self.history is not None and self.history.ended is not None:
            # It had ended; only its record was not written any more.
            state, failure = self.history.ended.state, self.history.ended.failure
        return _result(
            run_id=self.run_id,
            state=state,
            output=self._walk.output(self.node),
            groups=groups,
            usage=groups[0].usage if len(groups) == 1 else settle.total_usage(group.usage for group in groups),
            failure=failure,
            started_at=self.started_at,
            elapsed=trio.current_time() - self.started,
            stats=settle.add_up([group.stats for group in groups], self.peak),
        )
