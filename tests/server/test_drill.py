"""The fault drill, as `make drill` runs it but with a fixed seed; and that its verdict finds what is wrong when something is."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from motet.model.event import MemberEnded
from motet.model.state import State

_SPEC = importlib.util.spec_from_file_location("drill", Path(__file__).resolve().parents[2] / "tools" / "drill.py")
drill = importlib.util.module_from_spec(_SPEC)

RUNS = 20
KILLS = 25
SEED = 20261120

# The first test that asks for the evidence pays for the whole drill: about a minute on a machine at rest.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(autouse=True, scope="module")
def _drill() -> Iterator[None]:
    sys.modules["drill"] = drill
    _SPEC.loader.exec_module(drill)
    yield
    del sys.modules["drill"]


@pytest.fixture(scope="module")
def evidence(_drill: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of a whole drill."""
    return drill.drill(tmp_path_factory.mktemp("drill"), kills=KILLS, runs=RUNS, seed=SEED)


def test_no_promise_is_broken_when_servers_are_killed(evidence: Any) -> None:
    assert drill.judge(evidence) == []
    assert len(evidence.runs) == RUNS
    assert evidence.kills == KILLS


def test_the_members_were_called_and_watched_while_servers_died(evidence: Any) -> None:
    assert len(evidence.marks) > 100
    assert all(seen.events for seen in evidence.seen.values())
    again = [
        attempt
        for kept in evidence.runs.values()
        for event in kept.events
        if isinstance(event.detail, MemberEnded)
        for attempt in event.detail.outcome.attempt_log
        if attempt.kind.value == "RESUME"
    ]
    interrupted = [
        event
        for kept in evidence.runs.values()
        for event in kept.events
        if isinstance(event.detail, MemberEnded)
        and event.detail.outcome.failure is not None
        and event.detail.outcome.failure.reason == "INTERRUPTED"
    ]
    assert again or interrupted


def _with_run(evidence: Any, change: Callable[[Any], Any]) -> Any:
    """The evidence with its first run changed."""
    run_id, kept = next(iter(evidence.runs.items()))
    return replace(evidence, runs={**evidence.runs, run_id: change(kept)})


def _running(evidence: Any) -> Any:
    return _with_run(
        evidence, lambda kept: replace(kept, record=replace(kept.record, state=State.RUNNING, result=None))
    )


def _lost_run(evidence: Any) -> Any:
    return replace(evidence, runs=dict(list(evidence.runs.items())[1:]))


def _gap(evidence: Any) -> Any:
    return _with_run(evidence, lambda kept: replace(kept, events=[*kept.events[:5], *kept.events[6:]]))


def _no_end(evidence: Any) -> Any:
    return _with_run(evidence, lambda kept: replace(kept, events=kept.events[:-1]))


def _lost_event(evidence: Any) -> Any:
    return _with_run(evidence, lambda kept: replace(kept, replayed=kept.replayed[:-1]))


def _changed_outcome(evidence: Any) -> Any:
    run_id, seen = next(iter(evidence.seen.items()))
    number, event = next((n, e) for n, e in seen.events.items() if type(e.detail).__name__ == "MemberEnded")
    detail = replace(event.detail, outcome=replace(event.detail.outcome, ran=99.0))
    changed = replace(seen, events={**seen.events, number: replace(event, detail=detail)})
    return replace(evidence, seen={**evidence.seen, run_id: changed})


def _changed_result(evidence: Any) -> Any:
    def change(kept: Any) -> Any:
        result = kept.record.result
        group = replace(result.groups[0], outcomes=result.groups[0].outcomes[:-1])
        return replace(kept, record=replace(kept.record, result=replace(result, groups=(group, *result.groups[1:]))))

    return _with_run(evidence, change)


def _started_after_the_end(evidence: Any) -> Any:
    run_id, seen = next(iter(evidence.seen.items()))
    number, event = next((n, e) for n, e in seen.events.items() if type(e.detail).__name__ == "MemberEnded")
    late = drill.Mark("start", drill._seat(run_id, event), 1, seen.at[number] + 1)
    return replace(evidence, marks=[*evidence.marks, late])


def _attempt_too_many(evidence: Any) -> Any:
    first = evidence.marks[0]
    return replace(evidence, marks=[replace(first, attempt=50), *evidence.marks])


def _called_twice(evidence: Any) -> Any:
    mark = next(mark for mark in evidence.marks if mark.what == "start" and "/once" in mark.seat)
    return replace(evidence, marks=[mark, *evidence.marks])


def _never_called(evidence: Any) -> Any:
    return replace(evidence, marks=[])


@pytest.mark.parametrize(
    ("doctor", "says"),
    [
        (_running, "has not ended"),
        (_lost_run, f"the store has {RUNS - 1}"),
        (_gap, "not numbered"),
        (_no_end, "the last event is not RunEnded"),
        (_lost_event, "is gone"),
        (_changed_outcome, "has changed"),
        (_changed_result, "breaks"),
        (_started_after_the_end, "after its outcome was recorded"),
        (_attempt_too_many, "attempt 50 was made"),
        (_called_twice, "was called 2 times"),
        (_never_called, "no call of it came to its end"),
    ],
)
def test_the_verdict_finds(evidence: Any, doctor: Callable[[Any], Any], says: str) -> None:
    problems = drill.judge(doctor(evidence))
    assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize(("doctor", "code"), [(lambda evidence: evidence, 0), (_called_twice, 1)])
def test_the_program_fails_when_a_promise_was_broken(
    evidence: Any,
    doctor: Callable[[Any], Any],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(drill, "drill", lambda folder, **options: doctor(evidence))
    assert drill.main(["--seed", "5"]) == code
    said = capsys.readouterr().out
    assert "seed 5" in said
    assert ("1 broken" if code else "no broken") in said


def test_a_mark_that_a_kill_cut_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "marks.jsonl").write_text(
        '{"what": "start", "seat": "r//g/m", "attempt": 1, "at": 5}\n{"what": "end", "se'
    )
    assert drill.read_marks(tmp_path) == [drill.Mark("start", "r//g/m", 1, 5)]
