"""Stand-ins for tests: an agent that follows a script, a rule that asks agents, and a call with nothing behind it. All
time is trio's clock."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from motet.errors import AgentError
from motet.model import reason
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.plan import Member, Plan
from motet.model.rate import Breaker, Rate
from motet.model.result import RunResult
from motet.model.state import State
from motet.model.usage import Usage
from motet.ports import Agent, Aggregator, Answer, Ask, Call, Resident, Roster, RuleBook, Spendable, Tally

if TYPE_CHECKING:
    from motet.model.session import SessionEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptScript:
    """What a `ScriptedAgent` does in one attempt; what is None is as the agent does it."""

    reply: object = None
    delay: float | None = None
    """Seconds."""
    error: BaseException | Callable[[Call], BaseException | None] | None = None
    usage: Usage | None = None
    spends: Usage | None = None


_AS_THE_AGENT = AttemptScript()


class ScriptedAgent:
    """An agent that does what its script says, in trio time, and counts how it is called.

    reply: what it returns, a `Reply`, anything that `Payload.of` takes, or a function of the call that returns one.
    delay: seconds each call takes; `math.inf` for one that only a cancellation ends.
    error: raised at the end of the delay, an exception or a function of the call that makes one, or None for none.
    attempts: what single attempts of a member do, by their number; an exception stands for one that raises it. The
        last holds for those after it: `[OSError(), OSError(), AttemptScript()]` fails twice and then does as the agent.
    progress: reports, spread evenly over the delay.
    resist: seconds it goes on, shielded, after it is cancelled.
    swallow: it catches the cancellation and returns its reply, as agents must not.
    nested: a plan or the name of a group that it runs first; its output is then the reply, and a run that did not
        succeed fails the call with GROUP_FAILED.
    usage: of its replies that have none of their own; None tells of none.
    spends: told with `call.spend` as soon as it is called, so that it counts however the call ends.
    version, max_parallel, provider, timeout, replay_safe, estimated_cost_nanos, estimated_tokens, rate, weight, breaker:
        as its card says.
    """

    def __init__(
        self,
        name: str,
        *,
        reply: object = "ok",
        delay: float = 0.0,
        error: BaseException | Callable[[Call], BaseException | None] | None = None,
        attempts: Sequence[AttemptScript | BaseException] = (),
        progress: Iterable[object] = (),
        resist: float = 0.0,
        swallow: bool = False,
        nested: Plan | str | None = None,
        usage: Usage | None = None,
        spends: Usage | None = None,
        version: str = "",
        max_parallel: int | None = None,
        provider: str = "",
        timeout: float | None = None,
        replay_safe: bool | None = None,
        estimated_cost_nanos: int | None = None,
        estimated_tokens: int | None = None,
        rate: Rate | None = None,
        weight: float = 1.0,
        breaker: Breaker | None = None,
    ) -> None:
        self.info = AgentInfo(
            name=name,
            kind=AgentKind.FUNCTION,
            version=version,
            max_parallel=max_parallel,
            provider=provider,
            timeout=timeout,
            replay_safe=replay_safe,
            estimated_cost_nanos=estimated_cost_nanos,
            estimated_tokens=estimated_tokens,
            rate=rate,
            weight=weight,
            breaker=breaker,
        )
        self.calls: list[Call] = []
        """Every call so far, in the order in which they came."""
        self.running = 0
        """Calls that run now."""
        self.peak = 0
        """Most calls that ran at the same moment."""
        self.cancelled = 0
        """Calls that a cancellation reached."""
        self._reply = reply
        self._delay = delay
        self._error = error
        self._attempts = tuple(AttemptScript(error=s) if isinstance(s, BaseException) else s for s in attempts)
        self._progress = tuple(progress)
        self._resist = resist
        self._swallow = swallow
        self.nested = nested
        """What it runs first."""
        self._usage = usage
        self._spends = spends

    def __repr__(self) -> str:
        script = {name.lstrip("_"): value for name, value in vars(self).items() if name.startswith("_") and value}
        if self.nested is not None:
            script["nested"] = self.nested
        plain = AgentInfo(name=self.info.name, kind=self.info.kind)
        for card in fields(self.info):
            if (said := getattr(self.info, card.name)) != getattr(plain, card.name):
                script[card.name] = said
        return f"ScriptedAgent({self.info.name!r}, {', '.join(f'{k}={v!r}' for k, v in script.items())})"

    async def call(self, call: Call, /) -> Reply:
        self.calls.append(call)
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            if not self._swallow:
                return await self._resisting(call)
            with suppress(trio.Cancelled):
                return await self._resisting(call)
            return self._answer(call)
        finally:
            self.running -= 1

    async def _resisting(self, call: Call) -> Reply:
        try:
            return await self._play(call)
        except trio.Cancelled:
            self.cancelled += 1
            if self._resist:
                # Not bounded on purpose: the fake is for tests of what an agent that resists does to a run.
                with trio.CancelScope(shield=True):
                    await trio.sleep(self._resist)
            raise

    async def _play(self, call: Call) -> Reply:
        script = self._script(call)
        spends = self._spends if script.spends is None else script.spends
        if spends is not None:
            call.spend(spends)
        pause = (self._delay if script.delay is None else script.delay) / (len(self._progress) + 1)
        for report in self._progress:
            await trio.sleep(pause)
            call.report(report)
        await trio.sleep(pause)
        if self.nested is not None:
            result = await call.run(self.nested)
            if result.output is None:
                raise AgentError("the nested run has no answer", reason=reason.GROUP_FAILED)
            return Reply(result.output, self._usage)
        error = self._error if script.error is None else script.error
        error = error(call) if callable(error) else error
        if error is not None:
            raise error
        return self._answer(call)

    def _script(self, call: Call) -> AttemptScript:
        if not self._attempts:
            return _AS_THE_AGENT
        return self._attempts[min(call.attempt, len(self._attempts)) - 1]

    def _answer(self, call: Call) -> Reply:
        script = self._script(call)
        reply = self._reply if script.reply is None else script.reply
        reply = reply(call) if callable(reply) else reply
        if isinstance(reply, Reply):
            return reply
        return Reply(Payload.of(reply), self._usage if script.usage is None else script.usage)


class AskingRule:
    """A rule that asks an agent, round after round, and answers with what was said in the last one.

    The answer is the list of what the questions of the last round gave; when none of them succeeded there is none, with
    the first one's failure. For a catalog: `catalog.add_aggregation(AskingRule(...))`.

    agent: whom it asks, a name in the catalog or the agent itself.
    rounds: how often; 0 for never, `math.inf` for one that never answers.
    questions: how many in each round.
    enough: successes of members after which it is decided; None means that it never is before all have ended.
    timeout, max_parallel: of each question, and of each round.
    then: called with each round's outcomes before anything else, for a rule that raises there.
    """

    description = "Asks an agent. For tests."
    options_schema: Mapping[str, Any] = {}

    def __init__(
        self,
        agent: Agent | str,
        *,
        name: str = "asking",
        rounds: float = 1,
        questions: int = 1,
        enough: int | None = None,
        timeout: float | None = None,
        max_parallel: int | None = None,
        purpose: str = "question",
        then: Callable[[Sequence[Outcome]], object] | None = None,
    ) -> None:
        self.name = name
        self.purpose = purpose
        self.enough = enough
        self.rounds = rounds
        self.then = then
        self.asked: list[list[Outcome]] = []
        """How the questions of every round so far ended, over all groups."""
        self.agent = agent
        self._questions = questions
        self._timeout = timeout
        self._max_parallel = max_parallel

    def __repr__(self) -> str:
        script = {k.lstrip("_"): v for k, v in vars(self).items() if v is not None and k not in {"name", "asked"}}
        return f"AskingRule({', '.join(f'{k}={v!r}' for k, v in script.items())})"

    @property
    def decides_early(self) -> bool:
        return self.enough is not None

    @property
    def agents(self) -> Sequence[str]:
        return (self.agent,) if isinstance(self.agent, str) else ()

    def make(self, options: Mapping[str, Any], _book: RuleBook, /) -> Aggregator:
        if options:
            raise ValueError(f"{self.name} takes no options; remove {', '.join(sorted(map(str, options)))}")
        return self

    def begin(self, roster: Roster) -> Tally:  # noqa: ARG002 - the port's signature
        return _AskingTally(self)

    def ask(self, said: Sequence[Payload], then: Callable[[Sequence[Outcome]], Answer]) -> Ask:
        """One round of questions, about what was said so far."""
        about = Payload.of([payload.text for payload in said])
        members = [
            Member(self.agent, name=f"q{number}", input=about, timeout=self._timeout)
            for number in range(1, self._questions + 1)
        ]
        return Ask(purpose=self.purpose, members=members, then=then, max_parallel=self._max_parallel)


class _AskingTally:
    def __init__(self, rule: AskingRule) -> None:
        self._rule = rule
        self._succeeded = 0

    def add(self, index: int, outcome: Outcome) -> bool:  # noqa: ARG002 - the port's signature
        self._succeeded += outcome.succeeded
        return self._rule.enough is not None and self._succeeded >= self._rule.enough

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        said = [outcome.output for outcome in outcomes if outcome.output is not None]
        if not said:
            states = {outcome.member: outcome.state.value for outcome in outcomes}
            return Failure(reason.NO_SUCCESSFUL_RESULTS, "no member succeeded", {"members": states})
        return self._next(said, 0)

    def _next(self, said: Sequence[Payload], rounds: int) -> Answer:
        if rounds >= self._rule.rounds:
            return Payload.of([payload.text for payload in said])
        return self._rule.ask(said, partial(self._heard, rounds + 1))

    def _heard(self, rounds: int, outcomes: Sequence[Outcome]) -> Answer:
        self._rule.asked.append(list(outcomes))
        if self._rule.then is not None:
            self._rule.then(outcomes)
        said = [outcome.output for outcome in outcomes if outcome.output is not None]
        failed = next((outcome.failure for outcome in outcomes if outcome.failure is not None), None)
        if said or failed is None:
            return self._next(said, rounds)
        return Failure("NOBODY_ANSWERED", f"no question was answered: {failed.message}", {"reason": failed.reason})


class RecordingHost:
    """What stands behind a call in a test of one agent: it keeps reports and answers nested runs.

    `result` is what a nested run returns, a result or a function of the target; without it each is a success whose
    output is the nested run's input.
    """

    def __init__(self, result: RunResult | Callable[[Plan | str], RunResult] | None = None) -> None:
        self.reports: list[Payload] = []
        """What was reported, in order."""
        self.runs: list[Plan | str] = []
        """Targets of nested runs, in order."""
        self.residents: list[Resident] = []
        """What was to be kept alive; nothing of it runs."""
        self.history: Sequence[SessionEntry] = ()
        """What calls with a session find."""
        self.budget: dict[Spendable, int] = {}
        """What is left to calls; no bound where there is nothing."""
        self._result = result

    def report(self, call: Call, report: Payload) -> None:  # noqa: ARG002 - the port's signature
        self.reports.append(report)

    async def run(
        self,
        call: Call,
        target: Plan | str,
        input: Payload | None,
        variables: Mapping[str, Payload],  # noqa: ARG002 - the port's signature
        timeout: float | None,  # noqa: ARG002 - the port's signature
        *,
        deeper: bool = True,  # noqa: ARG002 - the port's signature
    ) -> RunResult:
        await trio.lowlevel.checkpoint()
        self.runs.append(target)
        if callable(self._result):
            return self._result(target)
        return self._result or RunResult(
            run_id=call.run_id,
            state=State.SUCCEEDED,
            output=call.input if input is None else input,
            started_at=datetime.now(UTC),
        )

    def keep(self, resident: Resident) -> None:
        self.residents.append(resident)

    def left(self, what: Spendable) -> int | None:
        return self.budget.get(what)


def make_call(
    input: object = "", *, variables: Mapping[str, object] | None = None, host: RecordingHost | None = None, **own: Any
) -> Call:
    """A call as an agent receives it, with a `RecordingHost` behind it; `own` goes to `Call` as it is."""
    given = {name: Payload.of(value) for name, value in (variables or {}).items()}
    own = {"run_id": "run", "group": "group", "member": "member", **own}
    return Call(Payload.of(input), host=host or RecordingHost(), variables=given, **own)
