"""The board, the three renderers and the summary, on recorded events."""

import io
import json
from collections import deque
from dataclasses import replace
from typing import Any

import pytest
from cli_samples import BAD, GOOD, SKIPPED, STOPPED, events, group_result, run_result
from rich.console import Console

from motet.agents.function import FunctionAgent
from motet.model.event import GroupEnded, MemberStarted
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.model.result import Saved
from motet.model.state import State
from motet_server.cli import jsonform, summary
from motet_server.cli.board import Board
from motet_server.cli.live import frame
from motet_server.cli.output import Output
from motet_server.cli.render import JsonLines, Plain, line


def _board(*outcomes: Outcome, until: int | None = None) -> Board:
    board = Board()
    for event in events(*outcomes)[:until]:
        board.apply(event)
    return board


def _draw(board: Board, elapsed: float, height: int) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(frame(board, elapsed, height, deque(["newest event"])))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_board_knows_where_every_member_stands() -> None:
    board = _board(GOOD, BAD, STOPPED, SKIPPED)
    [group] = board.groups.values()
    assert {name: row.state for name, row in group.rows.items()} == {
        "good": "SUCCEEDED",
        "bad": "FAILED",
        "slow": "CANCELLED",
        "late": "SKIPPED",
    }
    assert (board.ended, board.members, group.waiting, group.states["RUNNING"]) == (4, 4, 0, 0)
    assert (board.state, group.state) == ("SUCCEEDED", "SUCCEEDED")


def test_a_further_attempt_does_not_count_as_a_further_member() -> None:
    board = Board()
    for event in events(GOOD)[:3]:
        board.apply(event)
    board.apply(replace(events(GOOD)[2], detail=MemberStarted("good", 0.0, attempt=2)))
    [group] = board.groups.values()
    assert (group.states["RUNNING"], group.waiting) == (1, 0)


def test_the_board_of_a_large_group_keeps_only_members_that_run() -> None:
    many = [replace(GOOD, member=f"m{number}") for number in range(1500)]
    board = _board(*many, until=-3)
    [group] = board.groups.values()
    assert group.states["SUCCEEDED"] == 1499
    assert list(group.rows) == ["m1499"]


def test_a_watch_that_begins_in_the_middle_is_drawn_too() -> None:
    board = Board()
    for event in events(GOOD, BAD)[4:]:
        board.apply(event)
    assert "SUCCEEDED" in _draw(board, 2.0, 20)


def test_the_live_picture_has_a_line_for_each_member_with_state_queue_and_run_time() -> None:
    drawn = _draw(_board(GOOD, BAD, STOPPED, until=6), 1.25, 24)
    lines = {text.split()[0]: text.split() for text in drawn.splitlines() if text.strip()}
    assert lines["good"][1:] == ["SUCCEEDED", "q", "100", "ms", "500", "ms", "hello"]
    assert lines["bad"][1:] == ["(other)", "RUNNING", "q", "1.00", "s", "250", "ms"]
    assert lines["slow"][1:] == ["QUEUED", "q", "1.25", "s"]
    assert "1 of 3" in drawn
    assert "newest event" in drawn


def test_a_group_above_the_screen_is_summed_up_with_its_running_members() -> None:
    many = [replace(GOOD, member=f"m{number}") for number in range(200)]
    drawn = _draw(_board(*many, until=2 + 3 * 50 + 1), 50.5, 12)
    assert len(drawn.splitlines()) <= 12
    assert "50 SUCCEEDED" in drawn
    assert "149 QUEUED" in drawn
    assert "m50 " in drawn
    assert "m49 " not in drawn


def test_markup_in_names_and_outputs_is_shown_and_not_obeyed() -> None:
    nasty = replace(GOOD, member="[red]x[/red]\x1b[2J", output=Payload.from_text("[bold]\x1b]0;title\x07"))
    drawn = _draw(_board(nasty), 1.0, 20)
    assert "[red]x[/red]\\x1b[2J" in drawn
    assert "[bold]\\x1b]0;title\\x07" in drawn
    shown = summary.outcomes(run_result(group_result(nasty)), terminal=False)
    assert "[red]x[/red]\\x1b[2J" in shown
    assert "\x1b" not in shown + drawn


def test_plain_output_has_one_line_for_each_event_then_the_whole_answer(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(io.StringIO())
    plain = Plain(output)
    made = events(GOOD, BAD, STOPPED, SKIPPED)
    for event in made:
        plain.event(event)
    text = output._take()
    assert len(text.splitlines()) == len(made)
    assert "review/good SUCCEEDED after 500 ms" in text
    assert "review/bad FAILED after 1.00 s and 2 attempts: AGENT_FAILED: it broke" in text
    assert "review/slow CANCELLED after 2.00 s: CANCELLED: the caller stopped the run; STOPPED in 12 ms" in text
    assert "review/late SKIPPED: DECIDED: the answer was known" in text
    answer = "word " * 5000
    plain.result(run_result(group_result(GOOD), output=Payload.from_text(answer)))
    assert answer.strip() in output._take()
    assert capsys.readouterr().out == ""


def test_the_outcome_table_cuts_long_answers_and_shows_receipts() -> None:
    long = replace(GOOD, output=Payload.from_text("x" * 500))
    shown = summary.outcomes(run_result(group_result(long, BAD, STOPPED, SKIPPED)), terminal=False)
    assert "x" * 57 + "..." in shown
    assert "x" * 58 not in shown
    assert "STOPPED in 12 ms: ended on SIGTERM" in shown
    assert max(map(len, shown.splitlines())) < 200


def test_a_long_table_shows_what_went_wrong_first_and_counts_the_rest() -> None:
    many = [*(replace(GOOD, member=f"m{number}") for number in range(5000)), BAD]
    shown = summary.outcomes(run_result(group_result(*many)), terminal=False)
    assert shown.splitlines()[3].startswith("bad")
    assert "... and 4,801 SUCCEEDED" in shown


def test_nested_groups_have_tables_and_receipts_of_their_own() -> None:
    inner = replace(group_result(STOPPED, name="inner"), parent="review/good")
    result = run_result(group_result(replace(GOOD, nested=(inner,))))
    assert "review/good/inner SUCCEEDED" in summary.outcomes(result, terminal=False)
    assert summary.stopped(result) == ["inner/slow: STOPPED in 12 ms: ended on SIGTERM"]


def test_what_the_aggregation_asked_stands_below_the_members() -> None:
    question = replace(STOPPED, member="tie", nested=(replace(group_result(BAD, name="deep"), parent="x"),))
    asked = replace(group_result(question, name="tiebreaker"), parent="review/@")
    result = run_result(replace(group_result(GOOD), asked=(asked,)))
    shown = summary.outcomes(result, terminal=False)
    rows = [line.split()[0] for line in shown.splitlines() if line.strip()]
    assert rows[2:4] == ["good", "@tiebreaker/tie"]
    assert "x/deep SUCCEEDED" in shown
    assert summary.stopped(result) == ["review/@tiebreaker/tie: STOPPED in 12 ms: ended on SIGTERM"]
    document = json.loads(jsonform.line({"result": result}))["result"]["groups"][0]
    assert document["asked"][0]["outcomes"][0]["member"] == "tie"
    assert document["saved"] is None


def test_a_long_table_keeps_what_was_asked() -> None:
    many = [replace(GOOD, member=f"m{number}") for number in range(300)]
    asked = group_result(replace(GOOD, member="all"), name="summary")
    shown = summary.outcomes(run_result(replace(group_result(*many), asked=(asked,))), terminal=False)
    assert shown.splitlines()[3].startswith("@summary/all")
    assert "... and 101 SUCCEEDED" in shown


def test_the_title_and_the_last_line_of_a_group_say_what_an_early_decision_spared() -> None:
    saved = Saved(members=1, calls=1, cost_nanos=2_100_000)
    group = replace(group_result(GOOD, SKIPPED), decided_early=True, saved=saved)
    said = "decided early: 1 member spared, 1 call never made, 0.0021 USD saved"
    assert f"review SUCCEEDED in 2.00 s, {said}" in summary.outcomes(run_result(group), terminal=False)
    ended = replace(events(GOOD)[0], detail=GroupEnded(group), group="review")
    assert line(ended).endswith(f"review SUCCEEDED in 2.00 s, {said}")
    assert json.loads(jsonform.line({"result": group}))["result"]["saved"] == {
        "members": 1,
        "calls": 1,
        "cost_nanos": 2_100_000,
        "unpriced_calls": 0,
    }


def test_agents_and_functions_in_options_are_written_as_their_names() -> None:
    options = {"agent": FunctionAgent(sorted, name="judge"), "function": len, "n": 1}
    assert json.loads(jsonform.line(options)) == {"agent": "judge", "function": "len", "n": 1}


def test_json_lines_are_one_object_each_with_numbers_to_the_letter() -> None:
    output = Output(io.StringIO())
    lines = JsonLines(output)
    document = '{\n "price": 1.10,\r\n "big": 12345678901234567890123.000, "word": "\u2028\u00e9\x7f"}'
    lines.event(events(replace(GOOD, output=Payload.from_json_text(document)))[4])
    lines.result(run_result(group_result(BAD, STOPPED), output=Payload.from_bytes(b"\xff")))
    text = output._take()
    assert text.isascii()
    first, second = text.splitlines()
    assert '"price": 1.10' in first
    assert "12345678901234567890123.000" in first
    event: dict[str, Any] = json.loads(first)["event"]
    assert (event["sequence"], event["type"], event["member"]) == (5, "member_ended", "good")
    assert event["detail"]["outcome"]["output"]["json"]["word"] == "\u2028\u00e9\x7f"
    result = json.loads(second)["result"]
    assert result["output"] == {"data": "/w=="}
    assert result["groups"][0]["outcomes"][1]["stop"] == {
        "kind": "STOPPED",
        "took": 0.012,
        "detail": "ended on SIGTERM",
    }


def test_every_event_has_a_line_and_a_json_form() -> None:
    for event in events(GOOD, BAD):
        assert type(event.detail).__name__ not in line(event)
        assert json.loads(jsonform.line(jsonform.event(event)))["sequence"] == event.sequence


def test_the_end_says_how_long_the_members_take_one_after_another() -> None:
    assert summary.ending(run_result(), terminal=False).startswith(
        "SUCCEEDED in 2.00 s; one after another the members take 3.50 s"
    )
    assert "CANCELLED: the caller" in summary.ending(run_result(state=State.CANCELLED), terminal=False)
