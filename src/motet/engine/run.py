"""One run of a plan: walks the tree, hands each group its input and deadline, and puts the result together."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import trio

from motet.engine import causes, settle
from motet.engine.away import Away
from motet.engine.causes import StopCause
from motet.engine.group import GroupExecution
from motet.engine.journal import Journal, Sink
from motet.engine.resolve import Bounds, GroupNode, Node, ParallelNode, SequenceNode, groups_of, resolve
from motet.engine.running import RunningMember
from motet.errors import Exhausted
from motet.model import reason
from motet.model.event import RunEnded, RunStarted
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.model.plan import Plan
from motet.model.result import GroupResult, RunResult
from motet.model.run import RunRequest
from motet.model.state import State

if TYPE_CHECKING:
    from motet.engine.engine import Engine

NO_VARIABLES: Final[Mapping[str, Payload]] = MappingProxyType({})


class RunExecution:
    """One run, or one nested run inside a member of another."""

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
    ) -> None:
        """`within` is the run, the group and the path that a nested run belongs to; None for a run of its own. `whose` names
        what `caller_deadline` belongs to, `asks` says that the run is what the group's aggregation asks."""
        self.engine = engine
        self.request = request
        self.node = node
        self.bounds = bounds
        self.depth = depth
        self.session_id = request.session_id
        self.started = trio.current_time()
        self.started_at = datetime.now(UTC)
        self.groups: set[GroupExecution] = set()
        self.result: RunResult | None = None
        self.done = trio.Event()
        self.cause: StopCause | None = None
        self._outer: StopCause | None = None
        self.parent = within[2] if within is not None else ""
        self._within = within
        self._asks = asks
        self._whose = whose
        if within is None:
            self.journal = Journal(f"run_{uuid.uuid4().hex}", engine.observers)
            self.members = 0
        else:
            self.journal = within[0].journal
        self.caller_deadline = caller_deadline
        """On trio's clock; infinite when the run does not depend on its caller."""
        self._results: dict[int, GroupResult] = {}
        self._running = 0
        self._peak = 0

    @property
    def run_id(self) -> str:
        return self.journal.run_id

    @property
    def root(self) -> "RunExecution":
        return self if self._within is None else self._within[0].root

    def follow(self, sink: Sink) -> None:
        """Hear every event from the first. Only before the run has started."""
        self.journal.sinks.append(sink)

    async def execute(self) -> RunResult:
        """Run the plan. Always leaves `result` set, also when the caller's cancellation passes through."""
        total = sum(group.seats.total for group in groups_of(self.node))
        self.root.count_members(total)
        if self._within is None:
            started = RunStarted(self.run_id, self.started_at, total, self.request.labels)
            self.journal.emit(started)
        deadline, whose = self.caller_deadline, self._whose
        if self.request.timeout is not None and self.started + self.request.timeout < deadline:
            deadline, whose = self.started + self.request.timeout, "run"
        try:
            variables = self.request.variables or NO_VARIABLES
            await self._walk(self.node, self.request.input, variables, deadline, whose)
        finally:
            self.result = self._conclude()
            if self._within is None:
                self.journal.emit(
                    RunEnded(self.result.state, self.result.failure, self.result.usage, self.result.stats)
                )
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
            # Questions are put after the members were stopped: that is not why they are.
            cause = group.cut if self._asks else group.cause
            if cause is not None:
                return cause
            if self._asks and now < self.caller_deadline:
                return run.outer_cause()
        if now >= self.caller_deadline:
            return causes.deadline_exceeded(self.caller_deadline, self._whose)
        return self.engine.closing_cause or causes.cancelled(now)

    def count_members(self, more: int) -> None:
        """Nested members count against the bound of the run that they belong to."""
        if self.members + more > self.bounds.max_members:
            message = f"the run would have {self.members + more} members, the limit is {self.bounds.max_members}"
            raise Exhausted(message, reason=reason.MEMBERS_EXCEEDED)
        self.members += more

    def member_started(self) -> None:
        self._running += 1
        self._peak = max(self._peak, self._running)

    def member_ended(self) -> None:
        self._running -= 1

    async def run_nested(
        self,
        member: RunningMember,
        target: Plan | str,
        input: Payload,
        variables: Mapping[str, Payload],
        timeout: float | None,
    ) -> RunResult:
        """Run a plan inside a member of this run, one level deeper."""
        member.check_alive()
        request = RunRequest(
            target=target, input=input, variables=variables, timeout=timeout, session_id=member.call.session_id
        )
        bounds = self.bounds
        depth = self.depth + 1
        if member.group.node.max_depth is not None:
            bounds = replace(bounds, max_depth=min(bounds.max_depth, self.depth + member.group.node.max_depth))
        if depth > bounds.max_depth:
            message = f"runs are nested {depth} deep, the limit is {bounds.max_depth}; break the recursion"
            raise Exhausted(message, reason=reason.DEPTH_EXCEEDED)
        node = resolve(request, self.engine.catalog, bounds)
        path = member.nested_path()
        nested = RunExecution(
            self.engine,
            request,
            node,
            bounds,
            caller_deadline=member.deadline,
            depth=depth,
            within=(self, member.group, path),
            whose="member" if member.timed else member.group.whose,
        )
        member.nested_runs.append(nested)
        away = Away(member)
        away.go()
        try:
            with away.bounded():
                return await nested.execute()
        finally:
            await away.back()  # noqa: ASYNC102 - waiting for width is cancellable, as everywhere

    def nested(
        self, request: RunRequest, group: GroupExecution, path: str, deadline: float, whose: str
    ) -> "RunExecution":
        """A run at the same depth, for what a group of this run asks. Raises InvalidRequest."""
        node = resolve(request, self.engine.catalog, self.bounds)
        return RunExecution(
            self.engine,
            request,
            node,
            self.bounds,
            caller_deadline=deadline,
            depth=self.depth,
            within=(self, group, path),
            whose=whose,
            asks=True,
        )

    # ------------------------------------------------------------------------------------------------------ the tree

    async def _walk(
        self, node: Node, input: Payload, variables: Mapping[str, Payload], deadline: float, whose: str
    ) -> Payload | None:
        """Run a node to its end; its output, None when it has none."""
        now = trio.current_time()
        kind = "group" if isinstance(node, GroupNode) else "plan"
        if node.timeout is not None and now + node.timeout < deadline:
            deadline, whose = now + node.timeout, kind
        cause = self.cause or (causes.deadline_exceeded(deadline, whose) if now >= deadline else None)
        if cause is not None:
            self._skip(node, cause)
            await trio.lowlevel.checkpoint()
            return None
        match node:
            case GroupNode():
                return await self._run_group(node, input, variables, deadline, whose)
            case SequenceNode():
                return await self._run_sequence(node, input, variables, deadline, whose)
            case ParallelNode():
                return await self._run_parallel(node, input, variables, deadline, whose)

    async def _run_group(
        self, node: GroupNode, input: Payload, variables: Mapping[str, Payload], deadline: float, whose: str
    ) -> Payload | None:
        execution = GroupExecution(self, node, input, variables, deadline, whose)
        try:
            return (await execution.execute()).aggregate
        finally:
            if execution.result is not None:
                self._results[id(node)] = execution.result

    async def _run_sequence(
        self, node: SequenceNode, input: Payload, variables: Mapping[str, Payload], deadline: float, whose: str
    ) -> Payload | None:
        output: Payload | None = None
        given = input
        failed = False
        for step in node.steps:
            if failed and node.stop_on_failure:
                self._skip(step, self.cause or causes.previous_step_failed(trio.current_time()))
                output = None
                continue
            output = await self._walk(step, given, variables, deadline, whose)
            failed = failed or not self._has_all_answers(step)
            if node.feed_forward:
                variables = {**variables, **dict(self._answers(step))}
                given = output if output is not None else given
        return output

    async def _run_parallel(
        self, node: ParallelNode, input: Payload, variables: Mapping[str, Payload], deadline: float, whose: str
    ) -> Payload | None:
        async with trio.open_nursery() as nursery:
            for branch in node.branches:
                nursery.start_soon(self._walk, branch, input, variables, deadline, whose)
        answers = [answer for branch in node.branches for answer in self._outputs(branch)]
        return settle.answers_object(answers) if answers else None

    def _skip(self, node: Node, cause: StopCause) -> None:
        failure = cause.failure
        for group in groups_of(node):
            seats = group.seats
            outcomes = tuple(
                Outcome(
                    member=seats.name(index),
                    agent=seats.spec(index).info.name,
                    state=State.SKIPPED,
                    failure=failure,
                    attempts=0,
                )
                for index in range(seats.total)
            )
            self._results[id(group)] = GroupResult(
                name=group.group.name,
                state=State.SKIPPED,
                failure=failure,
                outcomes=outcomes,
                stats=settle.count(outcomes),
                metadata=group.group.metadata,
                parent=self.parent,
            )

    def _answers(self, node: Node) -> list[tuple[str, Payload]]:
        """The answers of all groups under a node, by name."""
        results = [self._results[id(group)] for group in groups_of(node) if id(group) in self._results]
        return [(result.name, result.aggregate) for result in results if result.aggregate is not None]

    def _outputs(self, node: Node) -> list[tuple[str, Payload]]:
        """What a branch adds to its parallel's object: of a sequence only the last step's."""
        match node:
            case SequenceNode():
                return self._outputs(node.steps[-1])
            case ParallelNode():
                return [answer for branch in node.branches for answer in self._outputs(branch)]
            case GroupNode():
                return self._answers(node)

    def _has_all_answers(self, node: Node) -> bool:
        return len(self._answers(node)) == len(groups_of(node))

    def _output(self, node: Node) -> Payload | None:
        match node:
            case GroupNode():
                return self._results[id(node)].aggregate
            case SequenceNode():
                return self._output(node.steps[-1])
            case ParallelNode():
                answers = self._outputs(node)
                return settle.answers_object(answers) if answers else None

    # ------------------------------------------------------------------------------------------------------- the end

    def _conclude(self) -> RunResult:
        nodes = groups_of(self.node)
        missing = [node for node in nodes if id(node) not in self._results]
        for node in missing:
            # The caller's cancellation passed through before the walk came here.
            self._skip(node, self.outer_cause())
        groups = tuple(self._results[id(node)] for node in nodes)
        state, failure = settle.run_end(groups, self.cause)
        return RunResult(
            run_id=self.run_id,
            state=state,
            output=self._output(self.node),
            groups=groups,
            usage=settle.total_usage(group.usage for group in groups),
            failure=failure,
            started_at=self.started_at,
            elapsed=trio.current_time() - self.started,
            stats=settle.add_up([group.stats for group in groups], self._peak),
        )
