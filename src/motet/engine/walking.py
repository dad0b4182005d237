"""Walks the tree of one run: hands each group its input and deadline, and puts the answers together."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import trio

from motet.engine import causes, settle
from motet.engine.causes import StopCause
from motet.engine.group import GroupExecution
from motet.engine.history import GroupHistory
from motet.engine.resolve import GroupNode, Node, ParallelNode, SequenceNode, groups_of
from motet.engine.restoring import charge
from motet.model.agent import AgentInfo, AgentKind
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.model.result import GroupResult
from motet.model.state import State
from motet.ports import Ticket

if TYPE_CHECKING:
    from motet.engine.run import RunExecution


class Walk:
    """One walk."""

    def __init__(self, run: "RunExecution") -> None:
        self._run = run
        self.results: dict[int, GroupResult] = {}
        """Of groups that have ended or were skipped, by the identity of their node."""

    async def walk(
        self, node: Node, input: Payload, variables: Mapping[str, Payload], deadline: float, whose: str
    ) -> Payload | None:
        """Run a node to its end; its output, None when it has none."""
        now = trio.current_time()
        kind = "group" if isinstance(node, GroupNode) else "plan"
        if node.timeout is not None:
            since = self._since(node, now)
            if since + node.timeout < deadline:
                deadline, whose = since + node.timeout, kind
        if isinstance(node, GroupNode) and (past := self._run.past_of(node.group.name)) is not None:
            return await self._go_on(node, past, input, variables, deadline, whose)
        cause = (
            self._run.cause
            or self._run.refusal
            or (causes.deadline_exceeded(deadline, whose) if now >= deadline else None)
        )
        if cause is not None and not self._has_started(node):
            self.skip(node, cause)
            await trio.lowlevel.checkpoint()
            return None
        match node:
            case GroupNode():
                return await self._run_group(node, input, variables, deadline, whose)
            case SequenceNode():
                return await self._run_sequence(node, input, variables, deadline, whose)
            case ParallelNode():
                return await self._run_parallel(node, input, variables, deadline, whose)

    def _has_started(self, node: Node) -> bool:
        """Something of it had started before a crash, and has to end."""
        return any(self._run.past_of(group.group.name) is not None for group in groups_of(node))

    def _since(self, node: Node, now: float) -> float:
        """When a node has started: now, or before a crash."""
        pasts = [past.started for group in groups_of(node) if (past := self._run.past_of(group.group.name)) is not None]
        return self._run.root.started + min(pasts) if pasts else now

    async def _go_on(  # noqa: PLR0917 - what a walk hands down
        self,
        node: GroupNode,
        past: GroupHistory,
        input: Payload,
        variables: Mapping[str, Payload],
        deadline: float,
        whose: str,
    ) -> Payload | None:
        """A group that had started before a crash: its result if it had ended, else the rest of it."""
        history = self._run.history
        result = history.result(past, node.seats.names) if history is not None else None
        if result is None:
            return await self._run_group(node, input, variables, deadline, whose)
        self._keep(node, input, result)
        ticket = Ticket(
            AgentInfo(name=result.name, kind=AgentKind.GROUP, composite=True),
            self._run.run_id,
            result.name,
            self._run.depth,
        )
        charge(self._run.scopes, ticket, result.usage, result.stats.ran)
        await trio.lowlevel.checkpoint()
        return result.aggregate

    async def _run_group(
        self, node: GroupNode, input: Payload, variables: Mapping[str, Payload], deadline: float, whose: str
    ) -> Payload | None:
        execution = GroupExecution(self._run, node, input, variables, deadline, whose)
        try:
            return (await execution.execute()).aggregate
        finally:
            if execution.result is not None:
                self._keep(node, input, execution.result)

    def _keep(self, node: GroupNode, input: Payload, result: GroupResult) -> None:
        self.results[id(node)] = result
        if self._run.root.talk is not None:
            self._run.root.talk.said(node, input, result)

    async def _run_sequence(
        self, node: SequenceNode, input: Payload, variables: Mapping[str, Payload], deadline: float, whose: str
    ) -> Payload | None:
        output: Payload | None = None
        given = input
        failed = False
        for step in node.steps:
            if failed and node.stop_on_failure:
                self.skip(step, self._run.cause or causes.previous_step_failed(trio.current_time()))
                output = None
                continue
            output = await self.walk(step, given, variables, deadline, whose)
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
                nursery.start_soon(self.walk, branch, input, variables, deadline, whose)
        answers = [answer for branch in node.branches for answer in self._outputs(branch)]
        return settle.answers_object(answers) if answers else None

    def skip(self, node: Node, cause: StopCause) -> None:
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
            self.results[id(group)] = GroupResult(
                name=group.group.name,
                state=State.SKIPPED,
                failure=failure,
                outcomes=outcomes,
                stats=settle.count(outcomes),
                metadata=group.group.metadata,
                parent=self._run.parent,
            )

    def _answers(self, node: Node) -> list[tuple[str, Payload]]:
        """The answers of all groups under a node, by name."""
        results = [self.results[id(group)] for group in groups_of(node) if id(group) in self.results]
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

    def output(self, node: Node) -> Payload | None:
        match node:
            case GroupNode():
                return self.results[id(node)].aggregate
            case SequenceNode():
                return self.output(node.steps[-1])
            case ParallelNode():
                answers = self._outputs(node)
                return settle.answers_object(answers) if answers else None
