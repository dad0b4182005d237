"""A member from its start to its outcome: one call of its agent, as a rule; with retries, hedges, a key that makes calls
idempotent, or after a crash, one after another or several at once."""

import math
import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import trio

from motet.engine import outcomes
from motet.engine.attempt import Finding, MemberCall, RunningAttempt
from motet.engine.hedging import Race
from motet.engine.history import MemberHistory
from motet.engine.idempotency import Held, Identity, ask_for_key
from motet.engine.retrying import hedge_delay, retry_wait
from motet.engine.seats import SeatSpec
from motet.model import reason
from motet.model.event import AttemptEnded, AttemptStarted, MemberStarted
from motet.model.outcome import Attempt, AttemptKind, Failure, Outcome
from motet.model.payload import Payload
from motet.model.state import State
from motet.ports import Agent, Conflict, Replayed, Ticket

if TYPE_CHECKING:
    from motet.engine.admission import Asking
    from motet.engine.group import GroupExecution
    from motet.engine.run import NestedRun
    from motet.model.result import GroupResult

MAX_RESUMES: Final = 100
"""Attempts that crashes have cost, after which a member is no longer tried: it may be what brings the process down."""


class RunningMember:
    """One member that has left the queue. What most members never have is at the class: it costs nothing until then."""

    history: "MemberHistory | None" = None
    """What is recorded of it from before a crash."""
    ended: bool = False
    """Its outcome is known."""
    detached: bool = False
    """It was given up, and its task still runs."""
    queued: float = 0.0
    """Seconds from the group's start to its own, once it has started."""
    made: int = 0
    """Attempts so far."""
    attempts: tuple[RunningAttempt, ...] = ()
    """Those that run."""
    log: tuple[Attempt, ...] = ()
    """Those that ended, by number, kept when there is more than one."""
    told: frozenset[int] = frozenset()
    """Numbers of the attempts whose end an event has told."""
    winner: RunningAttempt | None = None
    """The attempt that answered while others still run."""
    identity: Identity | None = None
    """By which its call is made once."""
    held: Held | None = None
    """The right to make its call, once it has it."""
    asking: "Asking | None" = None
    """While it waits for its next attempt to be admitted."""
    progress: int = 0
    nested_runs: "tuple[NestedRun, ...]" = ()
    """In the order in which they started."""
    nested_closed: "tuple[GroupResult, ...]" = ()
    """Groups that it ran before a crash and that were not taken up again."""
    nested_count: int = 0

    def __init__(self, group: "GroupExecution", index: int, spec: SeatSpec, ticket: Ticket, now: float) -> None:
        seats = group.node.seats
        self.group = group
        self.index = index
        self.spec = spec
        self.agent: Agent = spec.agent
        self.ticket = ticket
        self.name = seats.name_of(spec, index)
        self.timeout = seats.timeout(spec, index) if spec.overrides else spec.timeout
        """Seconds of run time: of the member, or of each call when only its agent has one; None without a bound."""
        self.started = now
        """Of its first attempt; until then, when it left the queue."""

    @property
    def is_plain(self) -> bool:
        """It makes one call, whatever comes of it."""
        return self.spec.plain and self.history is None

    @property
    def input(self) -> Payload:
        return self.group.node.seats.input(self.spec, self.index, self.group.input)

    def find_variables(self) -> Mapping[str, Payload]:
        """Worked out when the agent asks for them: most do not."""
        return self.group.node.seats.variables(self.spec, self.index, self.group.variables)

    def take_up(self, past: MemberHistory) -> None:
        """Go on where it stood before a crash."""
        history = self.group.run.history
        if history is None:
            raise RuntimeError("the run has no history")
        run = self.group.run
        self.history = past
        self.started = min(self.started, run.root.started + past.started)
        self.queued = past.queued
        log = [*past.attempts, *past.interrupted(history.elapsed)]
        self.log = tuple(sorted(log, key=lambda each: each.number))
        self.told = frozenset(attempt.number for attempt in past.attempts)
        self.made = len(self.log)
        self.nested_count = len(past.nested_before) + len(past.nested)
        for path in past.nested_before:
            self.nested_closed += tuple(history.results_under(path))

    # -------------------------------------------------------------------------------------------------------- attempts

    def begin(self, attempt: RunningAttempt, now: float) -> None:
        """The next attempt, which has been admitted and is to live at once."""
        group = self.group
        run = group.run
        first = self.made == 0
        if first:
            self.started = now
            self.queued = now - group.started
        self.made += 1
        attempt.number = self.made
        attempt.started = attempt.ended_at = now
        attempt.timed = attempt.deadline < group.deadline
        attempt.call = MemberCall(attempt, self.input, run.session_id if group.node.group.preserve_session else "")
        self.attempts += (attempt,)
        if not first:
            if self.history is not None:
                if attempt.kind is AttemptKind.RETRY:
                    self.close_nested()
                self._tell_untold()
            group.emit(AttemptStarted(self.made, attempt.kind), self.name)
        else:
            group.began()
            if run.journal.heard:
                group.emit(MemberStarted(self.ticket.agent.name, self.queued), self.name)
            else:
                run.journal.pass_over()
        if attempt.timed:
            group.overdue.arm(attempt.deadline + run.engine.stop_grace)

    def key(self) -> str:
        """What names its calls to services that can tell a repeat: the same for every attempt, also after a crash."""
        group = self.group
        return f"{group.run.journal.run_id}/{group.parent}/{group.name}/{self.name}"

    def deadline_from(self, now: float) -> float:
        """On trio's clock, of a call that starts now: the nearest of its own, the member's and the group's."""
        if self.timeout is None:
            return self.group.deadline
        # A member's own bound is on all its attempts together, an agent's on each call.
        since = self.started if self.made and not self.spec.timeout_is_agents(self.index) else now
        return min(since + self.timeout, self.group.deadline)

    def end_alone(self, attempt: RunningAttempt) -> None:
        """The one call of a plain member is over, and the member with it."""
        if attempt.finding is not None:
            self.group.record(self, outcomes.outcome(self, attempt.finding, attempt.ended_at))
        self.attempts = ()
        attempt.leave()
        self.group.leave(self)

    async def live(self) -> None:
        """Make the attempts, tell the group how they ended, and leave. The first may have begun; else the member asks for
        it by itself."""
        try:
            await self._live_long()
        finally:
            self.group.leave(self)

    def over(self, attempt: RunningAttempt) -> None:
        """An attempt's task is over, whatever came of it."""
        self.attempts = tuple(each for each in self.attempts if each is not attempt)
        attempt.leave()

    async def _live_long(self) -> None:
        outcome: Outcome | None = None
        group = self.group
        try:
            if self.spec.idempotency is not None:
                answer = await ask_for_key(self)
                if isinstance(answer, Failure):
                    outcome = outcomes.refused(self, answer)
                elif isinstance(answer, Replayed):
                    outcome = outcomes.replayed(self, answer.outcome)
                elif isinstance(answer, Conflict):
                    message = "the idempotency key belongs to another request; take a new one"
                    outcome = outcomes.refused(self, Failure(reason.IDEMPOTENCY_KEY_REUSED, message))
                else:
                    self.held = answer
            if outcome is None:
                outcome = await self._attempt_on()
        except trio.Cancelled:
            outcome = outcomes.stopped_between(self, group.stop_cause(trio.current_time()))
            raise
        except BaseException:
            # An exit or an interrupt: the program ends, and how the attempt ended is known all the same.
            outcome = outcomes.last_outcome(self) if self.log else None
            raise
        finally:
            if self.held is not None:
                # Before the outcome is known to others: who sees it may rely on the key. Shielded and bounded inside.
                await self.held.settle(outcome)  # noqa: ASYNC102
            if outcome is not None and not self.ended:
                self.tell_rest()
                group.record(self, outcome)

    async def _attempt_on(self) -> Outcome:
        """Attempt after attempt, until one decides."""
        kind = AttemptKind.FIRST
        if self.history is not None:
            if self.history.is_over:
                return outcomes.last_outcome(self)
            # Between two attempts nothing was running: the next is the retry that was to come.
            kind = AttemptKind.RESUME
            if self.history.retry_at is not None:
                kind = AttemptKind.RETRY
                await trio.sleep_until(self.group.run.root.started + self.history.retry_at)
        retries = sum(attempt.kind is AttemptKind.RETRY for attempt in self.log) + (kind is AttemptKind.RETRY)
        while True:
            if not self.attempts:
                attempt = RunningAttempt(self, kind, self.deadline_from(trio.current_time()))
                kept_out = await self._admit(attempt)
                if kept_out is not None:
                    return kept_out
                now = trio.current_time()
                attempt.deadline = self.deadline_from(now)
                self.begin(attempt, now)
            attempt = await self._one_round(self.attempts[0])
            if self.ended:
                # It was given up meanwhile: nothing more is made of it.
                return outcomes.last_outcome(self)
            finding = attempt.finding
            if finding is None:
                raise RuntimeError("an attempt ended without a finding")
            wait = self._wait_after(finding, 1 + retries)
            if wait is None:
                return outcomes.outcome(self, finding, attempt.ended_at)
            self.tell_end(attempt.as_attempt(), wait)
            retries += 1
            await trio.sleep(wait)
            kind = AttemptKind.RETRY

    def _wait_after(self, finding: Finding, made: int) -> float | None:
        """Seconds until the call is made again; None when it is not."""
        if finding.failure is None or not (finding.state is State.FAILED or finding.fault):
            return None
        wait = retry_wait(self.spec.retry, made, finding.failure, random.random())  # noqa: S311 - spreads load
        if wait is not None and trio.current_time() + wait >= min(self._last_moment(), self.group.deadline):
            return None
        return wait

    async def _admit(self, attempt: RunningAttempt) -> Outcome | None:
        """Wait until an attempt may start; how the member ends when it may not."""
        refusal = None
        with trio.CancelScope(deadline=self._last_moment()) as scope:
            await trio.lowlevel.checkpoint_if_cancelled()
            admission = self.group.run.engine.admission
            self.asking = admission.asking(attempt)
            try:
                refusal = await admission.acquire(attempt, self.asking)
            finally:
                self.asking = None
        if scope.cancelled_caught:
            return outcomes.overtaken(self)
        return None if refusal is None else outcomes.refused(self, refusal.failure)

    def _last_moment(self) -> float:
        """On trio's clock: when the member's own bound on all its attempts is over; infinite without one, and until the
        first has started."""
        if self.timeout is None or not self.made or self.spec.timeout_is_agents(self.index):
            return math.inf
        return self.started + self.timeout

    async def _one_round(self, attempt: RunningAttempt) -> RunningAttempt:
        """One call, or several at once; the one that decides."""
        spec = self.spec
        delay = hedge_delay(spec.hedge, spec.info.replay_safe, self.ticket.profile)
        if delay is None or spec.hedge is None:
            try:
                await attempt.live()
            finally:
                self.keep(attempt)
                self.over(attempt)
            return attempt
        return await Race(self, attempt, delay, spec.hedge.max_attempts).decide()

    def keep(self, attempt: RunningAttempt) -> None:
        """An attempt has ended: remember it."""
        if attempt.finding is not None and all(each.number != attempt.number for each in self.log):
            self.log = tuple(sorted((*self.log, attempt.as_attempt()), key=lambda each: each.number))

    # ---------------------------------------------------------------------------------------------------------- events

    def tell_end(self, attempt: Attempt, retry_in: float | None = None) -> None:
        """Tell of the end of an attempt. Only of members that make several."""
        self.told |= {attempt.number}
        self.group.emit(AttemptEnded(attempt, retry_in), self.name)

    def tell_rest(self) -> None:
        """Before its own end: tell of the ends of attempts that nothing has told of."""
        if self.made > 1:
            self._tell_untold()

    def _tell_untold(self) -> None:
        for attempt in self.log:
            if attempt.number not in self.told:
                self.tell_end(attempt)

    def close_nested(self) -> None:
        """Groups that it ran before a crash and did not run again end with it."""
        run = self.group.run
        history, past = run.history, self.history
        if history is None or past is None:
            return
        for path in past.nested:
            for told in history.close_path(path, trio.current_time() - run.root.started):
                run.journal.emit(told.detail, told.group, told.member, told.parent)
            self.nested_closed += tuple(history.results_under(path))
        past.nested.clear()

    # ------------------------------------------------------------------------------------------------- nesting

    def nested_path(self) -> str:
        """Where the next nested run stands in events and results."""
        self.nested_count += 1
        return self.path(self.nested_count)

    def path_again(self, fingerprint: str) -> str:
        """The path of a nested run that was under way before a crash and had the same request; empty when there is none."""
        history = self.group.run.history
        if self.history is None or history is None:
            return ""
        for path in self.history.nested:
            if any(group.fingerprint == fingerprint for group in history.under(path)):
                self.history.nested.remove(path)
                return path
        return ""

    def leave_path(self, path: str) -> None:
        """The nested run at this path does not go on after all."""
        if self.history is not None and self.group.run.history is not None and self.group.run.history.under(path):
            self.history.nested.append(path)

    def path(self, number: int) -> str:
        own = f"{self.group.name}/{self.name}"
        path = f"{self.group.parent}/{own}" if self.group.parent else own
        return path if number == 1 else f"{path}#{number}"
