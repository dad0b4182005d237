"""One group from its start to its end: which member starts, when the rest is stopped, when the group is over.

All state is written by synchronous methods of this one object; the tasks (one for each running member, at most `width`
of them) only call agents and wait. Members run in a nursery of the engine's, not of the caller's, so that a member that
resists cancellation can be reported as DETACHED instead of holding the caller.
"""

import contextvars
import logging
import math
from collections.abc import Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from motet.engine import causes, settle
from motet.engine.asking import Asking, all_outcomes
from motet.engine.causes import StopCause
from motet.engine.deciding import Deciding
from motet.engine.resolve import GroupNode
from motet.engine.running import RunningMember
from motet.engine.seat_queue import SeatQueue
from motet.model import reason
from motet.model.event import MAX_SEATS_LISTED, GroupEnded, GroupStarted, MemberEnded, MemberStarted
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.result import GroupResult
from motet.model.state import State
from motet.ports import Ask, Call, Refuse, Ticket, Wait

if TYPE_CHECKING:
    from motet.engine.run import RunExecution

_log = logging.getLogger("motet.engine")


class GroupExecution:
    """One group that runs."""

    def __init__(  # noqa: PLR0917 - what a walk hands down, step by step
        self,
        run: "RunExecution",
        node: GroupNode,
        input: Payload,
        variables: Mapping[str, Payload],
        deadline: float,
        whose: str,
    ) -> None:
        """`deadline` is on trio's clock and belongs to what `whose` names: group, plan, run or caller."""
        self.run = run
        self.node = node
        self.name = node.group.name
        self.parent = run.parent
        self.deadline = deadline
        self.started = trio.current_time()
        self.cause: StopCause | None = None
        self.progress_dropped = 0
        self.running: dict[int, RunningMember] = {}
        self.result: GroupResult | None = None
        self.whose = whose
        self._input = input
        self.variables = variables
        self._outcomes: list[Outcome | None] = [None] * node.seats.total
        self._ended = 0
        self._active = 0
        self._peak = 0
        self._detached = 0
        self._deciding = Deciding(node, input)
        self._asking = Asking(self)
        self._answer: Payload | Failure | None = None
        self.cut: StopCause | None = None
        """Why the questions of the aggregation were stopped."""
        tickets: dict[str, Ticket] = {}
        self._queue = SeatQueue(
            node.seats,
            [tickets.setdefault(s.info.name, node.ticket(s, run.journal.run_id, run.depth)) for s in node.seats.specs],
        )
        # Each member starts in a copy of the caller's context, so that none sees what another set in its own.
        self._context = contextvars.copy_context()
        self._scope = trio.CancelScope(deadline=deadline)
        self._nursery: trio.Nursery | None = None
        self._all_started = trio.Event()
        self._concluded = trio.Event()
        self._alarm = deadline + run.engine.stop_grace
        self._patience: trio.CancelScope | None = None

    async def execute(self) -> GroupResult:
        """Run the group. Always leaves `result` set, also when the caller's cancellation passes through."""
        seats = self.node.seats
        listed = range(min(seats.total, MAX_SEATS_LISTED))
        self._emit(GroupStarted(seats.total, tuple((seats.name(i), seats.spec(i).info.name) for i in listed)))
        self.run.groups.add(self)
        self.run.engine.groups.add(self)
        self.run.engine.nursery.start_soon(self._work, name=f"motet group {self.name}")
        try:
            await self._wait_concluded()
            self._answer = await self._asking.settle(self._deciding.answer(self._all_outcomes()))
        except trio.Cancelled:
            self.stop(self.run.outer_cause())
            # Bounded: `stop` set the alarm, after which whoever still runs is detached.
            with trio.CancelScope(shield=True):
                await self._wait_concluded()
            raise
        finally:
            self.result = self._conclude()
        return self.result

    def stop(self, cause: StopCause) -> None:
        """Stop what runs and start nothing more. The first cause counts for the members; a decision stops only them, so a
        later cause, like one after the last member, is for what the aggregation asks."""
        if self._concluded.is_set() or (self.cause is not None and self.cause.reason == reason.DECIDED):
            self.cut = self.cut or cause
            self._asking.stop(cause)
        elif self.cause is None:
            self.cause = cause
            self._scope.cancel()
            self._arm(trio.current_time() + self.run.engine.stop_grace)
            self._skip_waiting(cause)

    @property
    def members_running(self) -> int:
        """Members whose outcome is not known yet."""
        return self._active

    @property
    def members_waiting(self) -> int:
        return self._queue.waiting

    @property
    def members_detached(self) -> int:
        """Members that were given up and still run."""
        return self._detached

    # ---------------------------------------------------------------------------------------------- admission.Waiter

    def wake(self, key: Hashable) -> bool:
        """A guard may have room for members that it held back."""
        before = self._queue.waiting
        if self.cause is None and self._nursery is not None and self._queue.release(key):
            self._pump()
        return self._queue.waiting < before

    # ------------------------------------------------------------------------------------------------------ starting

    async def _work(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    self._pump()
                    if self._queue.waiting:
                        await self._all_started.wait()
        finally:
            self._nursery = None
            if self._queue.waiting:
                self._skip_waiting(self.stop_cause(trio.current_time()))
            self._concluded.set()
            # A group with a detached member stays in the engine's list until this moment.
            self.run.engine.groups.discard(self)

    def _pump(self) -> None:
        """Start members, in declared order, until the width is used up or every agent that is left is held back."""
        admission = self.run.engine.admission
        nursery = self._nursery
        while nursery is not None and self._active < self.node.width and self.cause is None:
            ticket = self._queue.ready
            if ticket is None:
                break
            now = trio.current_time()
            if now >= self.deadline:
                # The scope's own cancellation is on its way; until it arrives nothing more may start.
                break
            verdict = admission.try_start(ticket)
            if verdict is None:
                self._start(nursery, self._queue.take(), ticket, now)
            elif isinstance(verdict, Wait):
                self._queue.hold(verdict.key)
                admission.wait(verdict.key, self)
            else:
                self._refuse(self._queue.take(), verdict, now)
        if not self._queue.waiting:
            self._all_started.set()

    def _start(self, nursery: trio.Nursery, index: int, ticket: Ticket, now: float) -> None:
        seats = self.node.seats
        spec = seats.spec(index)
        timeout = seats.timeout(spec, index)
        if timeout == 0:
            self.run.engine.admission.ended(ticket)
            self._skip(index, causes.deadline_exceeded(now, "member").failure, now)
            return
        member = RunningMember(self, index, spec.agent, ticket, now)
        if timeout is not None and now + timeout < self.deadline:
            member.deadline = now + timeout
            member.timed = True
        name = seats.name(index)
        member.call = Call(
            seats.input(spec, index, self._input),
            host=member,
            variables=seats.variables(spec, index, self.variables),
            run_id=self.run.journal.run_id,
            group=self.name,
            member=name,
            session_id=self.run.session_id if self.node.group.preserve_session else "",
            depth=self.run.depth,
            deadline=member.deadline,
        )
        self.running[index] = member
        self._active += 1
        self._peak = max(self._peak, self._active)
        self.run.member_started()
        self._emit(MemberStarted(ticket.agent.name, now - self.started), name)
        if member.timed:
            self._arm(member.deadline + self.run.engine.stop_grace)
        self._context.run(partial(nursery.start_soon, member.live, name=name))

    # -------------------------------------------------------------------------------------------------------- ending

    def record(self, member: RunningMember, outcome: Outcome) -> None:
        """The outcome of a member; what comes after it was given up is not counted."""
        if member.ended:
            return
        member.ended = True
        self._active -= 1
        self.run.member_ended()
        self._store(member.index, outcome)

    def leave(self, member: RunningMember) -> None:
        """The member's task is over, whatever its outcome: give its width back and go on."""
        del self.running[member.index]
        if member.detached:
            self._detached -= 1
        if not member.paused:
            self.run.engine.admission.ended(member.ticket)
        if self._queue.waiting:
            self._pump()

    def _store(self, index: int, outcome: Outcome) -> None:
        self._outcomes[index] = outcome
        self._ended += 1
        self._emit(MemberEnded(outcome), outcome.member)
        if self._deciding.feed(index, outcome) and self.cause is None and self._ended < len(self._outcomes):
            self.stop(causes.decided(trio.current_time()))
        if self._detached and self._ended == len(self._outcomes):
            self._concluded.set()

    def _refuse(self, index: int, refusal: Refuse, now: float) -> None:
        self._skip(index, refusal.failure, now)

    def _skip(self, index: int, failure: Failure, now: float) -> None:
        seats = self.node.seats
        outcome = Outcome(
            member=seats.name(index),
            agent=seats.spec(index).info.name,
            state=State.SKIPPED,
            failure=failure,
            attempts=0,
            queued=now - self.started,
        )
        self._store(index, outcome)

    def _skip_waiting(self, cause: StopCause) -> None:
        now = trio.current_time()
        failure = cause.failure
        self.run.engine.admission.forget(self, self._queue.held)
        for index in self._queue.drain():
            self._skip(index, failure, now)
        self._all_started.set()

    def stop_cause(self, now: float) -> StopCause:
        """Why members see a cancellation now."""
        if self.cause is None:
            if now >= self.deadline:
                self.cause = causes.deadline_exceeded(self.deadline, self.whose)
            else:
                # Nothing of this run asked: the engine's own nursery is being torn down.
                self.cause = causes.engine_closed(now)
        return self.cause

    # ----------------------------------------------------------------------------------------------------- detaching

    async def _wait_concluded(self) -> None:
        while not self._concluded.is_set():
            with trio.CancelScope(deadline=self._alarm) as self._patience:
                await self._concluded.wait()
            if not self._concluded.is_set():
                self._detach_overdue(trio.current_time())

    def _arm(self, at: float) -> None:
        """Look for members that do not stop, at this time or before."""
        if at < self._alarm:
            self._alarm = at
            if self._patience is not None:
                self._patience.deadline = at

    def _detach_overdue(self, now: float) -> None:
        grace = self.run.engine.stop_grace
        self._alarm = math.inf
        for member in list(self.running.values()):
            if member.ended:
                continue
            asked = self.stop_cause(now).at if self.cause is not None or now >= self.deadline else math.inf
            if member.timed:
                asked = min(asked, member.deadline)
            due = max(asked, member.nested_ended) + grace
            if member.nested_active and due <= now:
                # What it waits for is bounded in the same way and will be over soon.
                due = now + grace
            if due <= now:
                self._detach(member, asked, now)
            else:
                self._alarm = min(self._alarm, due)

    def _detach(self, member: RunningMember, asked: float, now: float) -> None:
        own = member.timed and asked == member.deadline
        cause = causes.deadline_exceeded(asked, "member") if own else self.stop_cause(now)
        what = f"agent {member.ticket.agent.name} did not stop within {self.run.engine.stop_grace:g} s"
        _log.warning("run %s: member %s/%s: %s", self.run.journal.run_id, self.name, member.call.member, what)
        member.detached = True
        self._detached += 1
        self.record(member, member.stopped(cause, now, detached=member.call.detached or what))
        if self._queue.waiting:
            self._pump()

    # ---------------------------------------------------------------------------------------------------- concluding

    def _conclude(self) -> GroupResult:
        outcomes, asked = self._all_outcomes(), self._asking.results
        answer, unsettled = self._answer, False
        if answer is None:
            # Cancelled on the way: what the members said may be an answer all the same, what was to be asked is not.
            own = self._deciding.answer(outcomes)
            unsettled = isinstance(own, Ask)
            stopped = Failure(reason.CANCELLED, "cancelled before the aggregation's questions had led to an answer")
            answer = stopped if isinstance(own, Ask) else own
        cause = self.cut or self.cause
        if self.cut is None and asked and isinstance(answer, Failure) and trio.current_time() >= self.deadline:
            cause = causes.deadline_exceeded(self.deadline, self.whose)
        state, aggregate, failure = settle.group_state(
            answer, cause, all_outcomes(outcomes, asked), unsettled=unsettled
        )
        spared = [o for o in outcomes if o.failure is not None and o.failure.reason == reason.DECIDED]
        early = self._deciding.decided and bool(spared)
        result = GroupResult(
            name=self.name,
            state=state,
            aggregate=aggregate,
            failure=failure,
            outcomes=outcomes,
            decided_early=early,
            elapsed=trio.current_time() - self.started,
            stats=settle.count(outcomes, self._peak, self.progress_dropped),
            metadata=self.node.group.metadata,
            parent=self.parent,
            usage=settle.total_usage([*(o.usage for o in outcomes), *(group.usage for group in asked)]),
            asked=asked,
            saved=settle.saved(outcomes, self._cost_of) if early else None,
        )
        self.run.groups.discard(self)
        if not self._detached:
            self.run.engine.groups.discard(self)
        told = replace(result, outcomes=(), asked=()) if self.run.journal.heard else result
        self._emit(GroupEnded(told))
        return result

    def _all_outcomes(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self._outcomes if outcome is not None)

    def _cost_of(self, index: int) -> int | None:
        return self.node.seats.spec(index).info.estimated_cost_nanos

    def _emit(self, detail: GroupStarted | MemberStarted | MemberEnded | GroupEnded, member: str = "") -> None:
        self.run.journal.emit(detail, self.name, member, self.parent)
