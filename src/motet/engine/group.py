"""One group from its start to its end: which member starts, when the rest is stopped, when the group is over.

All state is written by synchronous methods of this one object; the tasks (one for each running member, at most `width`
of them) only call agents and wait. Members run in a nursery of the engine's, not of the caller's, so that a member that
resists cancellation can be reported as DETACHED instead of holding the caller.
"""

import contextvars
import logging
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import trio

from motet.engine import causes, outcomes, settle
from motet.engine.asking import Asking, all_outcomes
from motet.engine.attempt import RunningAttempt
from motet.engine.causes import StopCause
from motet.engine.deciding import Deciding
from motet.engine.member import RunningMember
from motet.engine.overdue import Overdue
from motet.engine.resolve import GroupNode
from motet.engine.restoring import restore
from motet.engine.seat_queue import SeatQueue
from motet.engine.tickets import guards_of, limits_of, ticket_of, tickets_of
from motet.model import reason
from motet.model.event import MAX_SEATS_LISTED, Detail, GroupEnded, GroupStarted, MemberEnded
from motet.model.outcome import AttemptKind, Failure, Outcome
from motet.model.payload import Payload
from motet.model.quick import quick
from motet.model.result import GroupResult
from motet.model.state import State
from motet.ports import Ask, Wait

if TYPE_CHECKING:
    from motet.engine.history import MemberHistory
    from motet.engine.run import RunExecution

_log = logging.getLogger("motet.engine")
_result: Callable[..., GroupResult] = quick(GroupResult)


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
        self.input = input
        self.variables = variables
        self.limits = limits_of(node, run)
        self.breach: Failure | None = None
        """The first limit that stopped it."""
        self._outcomes: list[Outcome | None] = [None] * node.seats.total
        self._ended = 0
        self._active = 0
        self._succeeded = 0
        self.running_now = 0
        """Members that have started and not ended."""
        self.peak = 0
        self._detached = 0
        self._deciding = Deciding(node, input)
        self.asking = Asking(self)
        self._answer: Payload | Failure | None = None
        self.cut: StopCause | None = None
        """Why its questions were stopped."""
        self.guards = guards_of(self)
        self.scopes = (*self.guards, *run.scopes)
        """Guards that its members ask."""
        self.payers = tuple(guard for guard in self.scopes if guard.inherited)
        """Those of them that runs inside it ask too."""
        self.tickets = tickets_of(self)
        self.queue = SeatQueue(node.seats, self.tickets)
        # Each member starts in a copy of the caller's context, so that none sees what another set in its own.
        self._context = contextvars.copy_context()
        self._scope = trio.CancelScope(deadline=deadline)
        self._nursery: trio.Nursery | None = None
        self._all_started = trio.Event()
        self._concluded = trio.Event()
        self.overdue = Overdue(self)
        self.restored: dict[int, MemberHistory] = {}
        """Members that had started before a crash, by place."""

    async def execute(self) -> GroupResult:
        """Run the group. Always leaves `result` set, also when the caller's cancellation passes through."""
        run = self.run
        run.groups.add(self)
        run.engine.groups.add(self)
        past = run.past_of(self.name)
        if past is None:
            if run.journal.heard:
                seats = self.node.seats
                self.emit(GroupStarted(seats.total, seats.first_agents(MAX_SEATS_LISTED), run.fingerprint))
            else:
                run.journal.pass_over()
        else:
            restore(self, past)
        if run.cause is not None:
            # Stopped before it came here; a group that had started before a crash ends all the same as groups do.
            self.stop(run.cause)
        run.engine.nursery.start_soon(self._work, name=f"motet group {self.name}")
        try:
            await self.overdue.wait(self._concluded)
            self._answer = await self.asking.settle(self._deciding.answer(settle.known(self._outcomes)))
            if (talk := run.root.talk) is not None and self.cut is None:
                await talk.sum_up(self, settle.known(self._outcomes))
        except trio.Cancelled:
            self.stop(run.outer_cause())
            # Bounded: `stop` set the alarm, after which whoever still runs is detached.
            with trio.CancelScope(shield=True):
                await self.overdue.wait(self._concluded)
            raise
        finally:
            self.result = self._conclude()
        return self.result

    def stop(self, cause: StopCause) -> None:
        """Stop what runs and start nothing more. The first cause counts for the members; a decision stops only them, so a
        later cause, like one after the last member, is for what the aggregation asks."""
        if self._concluded.is_set() or (self.cause is not None and self.cause.reason == reason.DECIDED):
            self.cut = self.cut or cause
            self.asking.stop(cause)
        elif self.cause is None:
            self.cause = cause
            self._scope.cancel()
            self.overdue.arm(trio.current_time() + self.run.engine.stop_grace)
            self._skip_waiting(cause.failure)

    def breached(self, failure: Failure, cancel: bool) -> None:
        """A limit of this group, or of its run, is broken: start nothing more, and stop what runs if it says so."""
        if self.result is not None or (self.cause is not None and self.cause.reason == reason.DECIDED):
            return
        if self.breach is None or self.breach.reason == reason.BUDGET_EXCEEDED:
            # What a budget stops may have an answer, what its members failed has none: the worse one counts.
            self.breach = failure
        if cancel:
            self.stop(causes.breached(trio.current_time(), failure))
        elif self.cause is None:
            self._skip_waiting(failure)
            for member in list(self.running.values()):
                if member.asking is not None:
                    member.asking.wake(None)

    @property
    def members_running(self) -> int:
        """Members whose outcome is not known yet."""
        return self._active

    @property
    def members_waiting(self) -> int:
        return self.queue.waiting

    @property
    def members_detached(self) -> int:
        """Members that were given up and still run."""
        return self._detached

    def wake(self, key: Hashable) -> bool:
        """A guard may have room for members that it held back."""
        before = self.queue.waiting
        if self.cause is None and self._nursery is not None and self.queue.release(key):
            self._pump()
        return self.queue.waiting < before

    # ------------------------------------------------------------------------------------------------------ starting

    async def _work(self) -> None:
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    if self.restored:
                        self._relaunch(self._nursery)
                    self._pump()
                    if self.queue.waiting:
                        await self._all_started.wait()
        finally:
            self._nursery = None
            if self.queue.waiting or self.restored:
                self._skip_waiting(self.stop_cause(trio.current_time()).failure)
            self._concluded.set()
            # A group with a detached member stays in the engine's list until this moment.
            self.run.engine.groups.discard(self)

    def _relaunch(self, nursery: trio.Nursery) -> None:
        """Members that ran when the process ended come first: their seats are theirs already."""
        now = trio.current_time()
        if self.cause is not None or now >= self.deadline:
            return
        for index, past in sorted(self.restored.items()):
            member = RunningMember(self, index, self.node.seats.spec(index), ticket_of(self, index), now)
            member.take_up(past)
            self._launch(nursery, member, member.live)
        self.restored.clear()

    def _pump(self) -> None:
        """Start members, in declared order, until the width is used up or every agent that is left is held back."""
        admission = self.run.engine.admission
        nursery = self._nursery
        now = trio.current_time()
        seats, queue = self.node.seats, self.queue
        while nursery is not None and self._active < self.node.width and self.cause is None:
            # At the deadline the scope's own cancellation is on its way; until it arrives nothing more may start.
            upcoming = queue.first
            if upcoming is None or now >= self.deadline:
                break
            index, lane = upcoming
            spec = seats.spec(index)
            member = RunningMember(self, index, spec, lane.ticket, now)
            if member.timeout == 0:
                queue.take()
                self.skip(index, causes.deadline_exceeded(now, "member").failure, now)
                continue
            if spec.idempotency is not None:  # it asks for its key before it asks the guards
                queue.take()
                self._launch(nursery, member, member.live)
                continue
            attempt = RunningAttempt(member, AttemptKind.FIRST, member.deadline_from(now))
            verdict = admission.try_start(attempt, now)
            if verdict is None:
                queue.take()
                member.begin(attempt, now)
                attempt.alone = spec.plain
                self._launch(nursery, member, attempt.live if attempt.alone else member.live)
            elif isinstance(verdict, Wait):
                queue.hold(verdict.key)
                admission.wait(verdict, self)
            else:
                self.skip(queue.take(), verdict.failure, now)
        if not queue.waiting:
            self._all_started.set()

    def _launch(self, nursery: trio.Nursery, member: RunningMember, live: Callable[[], Awaitable[None]]) -> None:
        self.running[member.index] = member
        self._active += 1
        self._context.run(nursery.start_soon, live, name=member.name)  # type: ignore[arg-type]  # a keyword, as Context.run takes

    # -------------------------------------------------------------------------------------------------------- ending

    def began(self) -> None:
        """A member has started: its agent is called for the first time."""
        for counts in (self, self.run):
            counts.running_now = running = counts.running_now + 1
            counts.peak = max(counts.peak, running)

    def record(self, member: RunningMember, outcome: Outcome) -> None:
        """The outcome of a member; what comes after it was given up is not counted."""
        if member.ended:
            return
        member.ended = True
        self._active -= 1
        if member.made:
            self.running_now -= 1
            self.run.running_now -= 1
        self._store(member.index, outcome)

    def leave(self, member: RunningMember) -> None:
        """The member's task is over, whatever its outcome: give its seat back and go on."""
        del self.running[member.index]
        if member.detached:
            self._detached -= 1
        if self.queue.waiting:
            self._pump()

    def _store(self, index: int, outcome: Outcome) -> None:
        self.keep(index, outcome)
        if self.run.journal.heard:
            self.emit(MemberEnded(outcome), outcome.member)
        else:
            self.run.journal.pass_over()
        for guard in self.guards:
            guard.member_ended(outcome)
        if self._deciding.decided:
            self.decide()
        if self._detached and self._ended == len(self._outcomes):
            self._concluded.set()

    def keep(self, index: int, outcome: Outcome) -> None:
        """This is how the member at this place has ended; tell the aggregation."""
        self._outcomes[index] = outcome
        self._ended += 1
        self._succeeded += outcome.state is State.SUCCEEDED
        self._deciding.feed(index, outcome)

    def decide(self) -> None:
        """Stop the rest when the answer can no longer change, and there are as many successes as are asked for."""
        if self._deciding.decided and self.cause is None and self._ended < len(self._outcomes):
            least = self.limits.min_successes
            if least is None or self._succeeded >= least:
                self.stop(causes.decided(trio.current_time()))

    def skip(self, index: int, failure: Failure, now: float) -> None:
        """The member at this place does not start; one that had started before a crash does not go on."""
        past = self.restored.pop(index, None)
        if past is None:
            self._store(index, outcomes.skipped(self, index, failure, now))
            return
        member = RunningMember(self, index, self.node.seats.spec(index), ticket_of(self, index), now)
        member.take_up(past)
        outcome = outcomes.not_continued(member, failure)
        self.running_now -= 1
        self.run.running_now -= 1
        self._store(index, outcome)

    def _skip_waiting(self, failure: Failure) -> None:
        now = trio.current_time()
        self.run.engine.admission.forget(self, self.queue.held)
        for index in sorted([*self.restored, *self.queue.drain()]):
            self.skip(index, failure, now)
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

    def give_up(self, member: RunningMember, outcome: Outcome) -> None:
        """The member ends with this outcome though something of it still runs."""
        _log.warning("run %s: member %s/%s has not stopped", self.run.journal.run_id, self.name, member.name)
        member.detached = True
        self._detached += 1
        member.tell_rest()
        self.record(member, outcome)
        if member.held is not None:
            # Others wait for the key, and the member's own task may take for ever.
            self.run.engine.nursery.start_soon(member.held.settle, outcome)
        if self.queue.waiting:
            self._pump()

    # ---------------------------------------------------------------------------------------------------- concluding

    def _conclude(self) -> GroupResult:
        outcomes, asked = settle.known(self._outcomes), self.asking.results
        answer, unsettled = self._answer, False
        if answer is None:
            # Cancelled on the way: what the members said may be an answer all the same, what was to be asked is not.
            own = self._deciding.answer(outcomes)
            unsettled = isinstance(own, Ask)
            stopped = Failure(reason.CANCELLED, "cancelled before the aggregation's questions had led to an answer")
            answer = stopped if isinstance(own, Ask) else own
        # A later stop counts only for what was still to be asked: what the members had decided stays.
        cause = (self.cut if unsettled or asked else None) or self.cause
        if self.cut is None and asked and isinstance(answer, Failure) and trio.current_time() >= self.deadline:
            cause = causes.deadline_exceeded(self.deadline, self.whose)
        answer = settle.limited(answer, self._succeeded, self.limits, self.breach)
        state, aggregate, failure = settle.group_state(
            answer, cause, all_outcomes(outcomes, asked), unsettled=unsettled
        )
        early = self._deciding.decided and any(o.failure and o.failure.reason == reason.DECIDED for o in outcomes)
        every = (*asked, *self.asking.beside)
        result = _result(
            name=self.name,
            state=state,
            aggregate=aggregate,
            failure=failure,
            outcomes=outcomes,
            decided_early=early,
            elapsed=trio.current_time() - self.started,
            stats=settle.count(outcomes, self.peak, self.progress_dropped),
            metadata=self.node.group.metadata,
            parent=self.parent,
            usage=settle.total_usage([o.usage for o in outcomes] + [group.usage for group in every]),
            asked=every,
            saved=settle.saved(outcomes, self.node.seats.cost) if early else None,
        )
        self.run.groups.discard(self)
        if not self._detached:
            self.run.engine.groups.discard(self)
        if self.run.journal.heard:
            self.emit(GroupEnded(replace(result, outcomes=(), asked=())))
        else:
            self.run.journal.pass_over()
        return result

    def emit(self, detail: Detail, member: str = "") -> None:
        self.run.journal.emit(detail, self.name, member, self.parent)
