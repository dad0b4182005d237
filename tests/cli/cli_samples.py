"""Events and results to render, as the engine gives them."""

from datetime import UTC, datetime

from motet.model.event import (
    Detail,
    Event,
    GroupEnded,
    GroupStarted,
    MemberEnded,
    MemberProgress,
    MemberStarted,
    RunEnded,
    RunStarted,
)
from motet.model.outcome import Failure, Outcome, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.result import GroupResult, RunResult, Stats
from motet.model.state import State
from motet.model.usage import NONE

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

GOOD = Outcome(
    member="good", agent="good", state=State.SUCCEEDED, output=Payload.from_text("hello"), queued=0.1, ran=0.5
)
BAD = Outcome(
    member="bad", agent="other", state=State.FAILED, failure=Failure("AGENT_FAILED", "it broke"), attempts=2, ran=1.0
)
STOPPED = Outcome(
    member="slow",
    agent="slow",
    state=State.CANCELLED,
    failure=Failure("CANCELLED", "the caller stopped the run"),
    ran=2.0,
    stop=StopReceipt(StopKind.STOPPED, 0.012, "ended on SIGTERM"),
)
SKIPPED = Outcome(
    member="late", agent="late", state=State.SKIPPED, failure=Failure("DECIDED", "the answer was known"), attempts=0
)


def group_result(*outcomes: Outcome, name: str = "review") -> GroupResult:
    answer = Payload.from_json({"n": 1})
    return GroupResult(name=name, state=State.SUCCEEDED, aggregate=answer, outcomes=outcomes, elapsed=2.0)


def run_result(*groups: GroupResult, output: Payload | None = None, state: State = State.SUCCEEDED) -> RunResult:
    return RunResult(
        run_id="run-1",
        state=state,
        output=output,
        groups=groups,
        failure=None if state is State.SUCCEEDED else Failure("CANCELLED", "the caller stopped the run"),
        started_at=NOW,
        elapsed=2.0,
        stats=Stats(members=4, ran=3.5),
    )


def events(*outcomes: Outcome) -> list[Event]:
    """The events of one group whose members run one after another, a second each."""
    details: list[tuple[float, str, Detail]] = [
        (0.0, "", RunStarted("run-1", NOW, len(outcomes))),
        (0.0, "", GroupStarted(len(outcomes), tuple((o.member, o.agent) for o in outcomes[:1000]))),
    ]
    for at, outcome in enumerate(outcomes):
        if outcome.attempts:
            details.append((float(at), outcome.member, MemberStarted(outcome.agent, float(at))))
            details.append((at + 0.5, outcome.member, MemberProgress(Payload.from_text("half way"))))
        details.append((at + 1.0, outcome.member, MemberEnded(outcome)))
    end = float(len(outcomes))
    details.append((end, "", GroupEnded(group_result())))
    details.append((end, "", RunEnded(State.SUCCEEDED, None, NONE, Stats())))
    whole = (RunStarted, RunEnded)
    return [
        Event(number, at, detail, "" if isinstance(detail, whole) else "review", member)
        for number, (at, member, detail) in enumerate(details, 1)
    ]
