"""Retries, hedges, resumed attempts, kept answers and limits, as lines, in the live picture and in the table."""

import io
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cli_samples import BAD, GOOD, NOW, SKIPPED, STOPPED, events, group_result, run_result
from rich.console import Console

from motet.model.event import (
    AttemptEnded,
    AttemptStarted,
    Detail,
    Event,
    GroupEnded,
    GroupStarted,
    MemberEnded,
    MemberStarted,
    RunStarted,
)
from motet.model.outcome import Attempt, AttemptKind, Failure, Outcome, StopKind, StopReceipt
from motet.model.state import State
from motet_server.cli import jsonform, summary
from motet_server.cli.board import Board
from motet_server.cli.live import frame
from motet_server.cli.output import Output
from motet_server.cli.render import Plain, line

BUSY = Failure("BUSY", "not now")
FIRST = Attempt(number=1, kind=AttemptKind.FIRST, state=State.FAILED, failure=BUSY, ran=0.25)
LOSER = Attempt(
    number=1,
    kind=AttemptKind.FIRST,
    state=State.CANCELLED,
    failure=Failure("DECIDED", "another attempt answered first"),
    ran=2.0,
    stop=StopReceipt(StopKind.STOPPED, 0.003),
)


def _attempt(number: int, kind: AttemptKind) -> Attempt:
    return Attempt(number=number, kind=kind, state=State.SUCCEEDED, ran=0.5)


def _outcome(*log: Attempt) -> Outcome:
    made: Outcome = replace(GOOD, attempts=len(log), attempt_log=log)
    return made


RETRIED = _outcome(FIRST, replace(FIRST, number=2, kind=AttemptKind.RETRY), _attempt(3, AttemptKind.RETRY))
HEDGED = _outcome(LOSER, _attempt(2, AttemptKind.HEDGE))
RESUMED = _outcome(replace(FIRST, failure=Failure("INTERRUPTED", "it ended")), _attempt(2, AttemptKind.RESUME))
CACHED = replace(GOOD, attempts=0, ran=0.0, cached=True)
SPENT = replace(SKIPPED, failure=Failure("BUDGET_EXCEEDED", "the run has used 3 calls"))


def _told(*details: Detail) -> Iterator[Event]:
    """Events of one member, a second after another, after the start of its group."""
    yield Event(1, 0.0, RunStarted("run-1", NOW, 1))
    yield Event(2, 0.0, GroupStarted(1, (("good", "good"),)), "review")
    for number, detail in enumerate(details, 3):
        yield Event(number, number - 3.0, detail, "review", "good")


def _said(detail: Detail) -> str:
    return line(Event(3, 1.0, detail, "review", "good")).split(maxsplit=1)[1]


def _drawn(*details: Detail, elapsed: float) -> str:
    board = Board()
    for event in _told(*details):
        board.apply(event)
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(frame(board, elapsed, 20, deque()))
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        (AttemptEnded(FIRST, 0.4), "attempt 1 FAILED after 250 ms: BUSY: not now; the next in 400 ms"),
        (AttemptStarted(2, AttemptKind.RETRY), "attempt 2 starts"),
        (AttemptStarted(2, AttemptKind.HEDGE), "attempt 2 starts beside the one that is slow"),
        (AttemptStarted(2, AttemptKind.RESUME), "attempt 2 starts; the one before ended with its process"),
        (
            AttemptEnded(LOSER),
            "attempt 1 CANCELLED after 2.00 s: DECIDED: another attempt answered first; STOPPED in 3 ms",
        ),
        (MemberEnded(RETRIED), "SUCCEEDED after 500 ms and 3 attempts"),
        (MemberEnded(CACHED), "SUCCEEDED (cached)"),
    ],
)
def test_a_line_says_what_became_of_an_attempt(detail: Detail, said: str) -> None:
    assert _said(detail) == f"review/good {said}"


def test_a_failure_says_what_kept_a_retry_from_being_made() -> None:
    refused = Failure("BUSY", "not now", {"no_retry": "RETRIES_EXHAUSTED: flaky has had its share of retries"})
    said = _said(MemberEnded(replace(BAD, failure=refused, attempts=1)))
    assert said.endswith("BUSY: not now; no retry: RETRIES_EXHAUSTED: flaky has had its share of retries")


def test_the_live_picture_counts_down_to_the_next_attempt() -> None:
    started = MemberStarted("good", 0.0)
    waiting = _drawn(started, AttemptEnded(FIRST, 0.75), elapsed=1.25)
    assert "RUNNING q 0 ms 1.25 s attempt 2 in 500 ms after BUSY" in waiting
    again = _drawn(started, AttemptEnded(FIRST, 0.75), AttemptStarted(2, AttemptKind.RETRY), elapsed=2.0)
    assert again.endswith("attempt 2")
    assert "1 RUNNING" in again


def test_the_live_picture_tells_hedges_and_resumed_attempts_apart() -> None:
    started = MemberStarted("good", 0.0)
    hedge = AttemptStarted(2, AttemptKind.HEDGE)
    assert "attempt 2, beside a slow one" in _drawn(started, hedge, elapsed=2.0)
    failed = AttemptEnded(replace(FIRST, number=2, kind=AttemptKind.HEDGE))
    assert "beside a slow one" not in _drawn(started, hedge, failed, elapsed=3.0)
    assert "attempt 2, resumed" in _drawn(started, AttemptStarted(2, AttemptKind.RESUME), elapsed=2.0)


def test_a_watch_that_begins_between_two_attempts_is_drawn_too() -> None:
    board = Board()
    board.apply(Event(9, 4.0, AttemptStarted(2, AttemptKind.RETRY), "review", "good"))
    [group] = board.groups.values()
    assert (group.rows["good"].state, group.rows["good"].attempt, group.states["RUNNING"]) == ("RUNNING", 2, 1)


def test_the_live_picture_shows_kept_answers_and_attempts_of_ended_members() -> None:
    assert "SUCCEEDED q 100 ms cached; hello" in _drawn(MemberEnded(CACHED), elapsed=1.0)
    assert "attempts 3 (2 retries); hello" in _drawn(MemberStarted("good", 0.0), MemberEnded(RETRIED), elapsed=1.0)


def test_the_live_picture_names_the_limits_that_stopped_members() -> None:
    assert "1 SKIPPED BUDGET_EXCEEDED stopped 1 member" in _drawn(MemberEnded(SPENT), elapsed=1.0)


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [(RETRIED, "3 (2 retries)"), (HEDGED, "2 (hedge)"), (RESUMED, "2 (resumed)"), (BAD, "  2  ")],
)
def test_the_table_says_how_many_attempts_were_made_and_why(outcome: Outcome, shown: str) -> None:
    assert shown in summary.outcomes(run_result(group_result(outcome)), terminal=False)


def test_the_table_marks_answers_that_were_kept() -> None:
    assert "SUCCEEDED (cached)" in summary.outcomes(run_result(group_result(CACHED)), terminal=False)


def test_the_end_of_a_group_says_which_limits_stopped_its_members() -> None:
    stopped = replace(STOPPED, failure=Failure("FAILURE_RATE_EXCEEDED", "3 of 5 members failed"))
    outcomes = (GOOD, SPENT, replace(SPENT, member="later"), stopped, SKIPPED)
    said = "review SUCCEEDED in 2.00 s, BUDGET_EXCEEDED stopped 2 members, FAILURE_RATE_EXCEEDED stopped 1 member"
    assert said in summary.outcomes(run_result(group_result(*outcomes)), terminal=False)
    plain = Plain(Output(io.StringIO()))
    for event in events(*outcomes):
        plain.event(event)
    [ended] = [text for text in plain.output._take().splitlines() if "stopped 2 members" in text]
    assert ended.endswith(said)


def test_each_group_has_the_limits_of_its_own_members_only() -> None:
    plain = Plain(Output(io.StringIO()))
    plain.event(Event(1, 0.0, MemberEnded(SPENT), "one", "late"))
    plain.event(Event(2, 0.0, GroupEnded(group_result(name="two")), "two"))
    plain.event(Event(3, 0.0, GroupEnded(group_result(name="one")), "one"))
    assert ["stopped" in text for text in plain.output._take().splitlines()] == [False, False, True]


def test_json_lines_carry_every_attempt() -> None:
    outcome = json.loads(jsonform.line({"result": run_result(group_result(RETRIED))}))["result"]["groups"][0][
        "outcomes"
    ][0]
    assert [(each["number"], each["kind"], each["state"]) for each in outcome["attempt_log"]] == [
        (1, "FIRST", "FAILED"),
        (2, "RETRY", "FAILED"),
        (3, "RETRY", "SUCCEEDED"),
    ]
    event = jsonform.event(Event(4, 1.0, AttemptEnded(FIRST, 0.4), "review", "good"))
    told = json.loads(jsonform.line(event))
    assert (told["type"], told["detail"]["retry_in"], told["detail"]["attempt"]["failure"]["reason"]) == (
        "attempt_ended",
        0.4,
        "BUSY",
    )
