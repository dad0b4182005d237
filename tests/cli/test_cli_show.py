"""`motet show`: the timeline of recorded events, and the program itself on a server, a store's file and a file of events."""

import json
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cli_process import Motet, Spawn
from cli_samples import BAD, GOOD, SKIPPED, STOPPED, events
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from motet.instrument.tree import Node, Tree
from motet.model.outcome import Outcome
from motet.model.state import State
from motet.model.usage import Usage
from motet_server.cli import eventfile, jsonform, timeline
from motet_server.cli.exits import UsageError
from motet_server.cli.show import show

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("SUCCEEDED")
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def tree_of(*outcomes: Outcome) -> Tree:
    tree = Tree()
    for event in events(*outcomes):
        tree.apply(event)
    return tree


def drawn(*outcomes: Outcome, **options: Any) -> list[str]:
    tree = tree_of(*outcomes)
    return [line.plain for line in timeline.lines(tree.snapshot(), now=tree.elapsed, **options)]


def node(kind: Any, start: float | None, end: float | None, *children: Node, queued_at: float = 0.0) -> Node:
    return Node(kind=kind, name="x", start=start, end=end, queued_at=queued_at, children=children)


def bar(made: Node, now: float = 10.0) -> str:
    return timeline.bar(made, now, 10, timeline.ASCII)


def test_the_timeline_has_a_line_for_each_call_with_time_state_attempts_and_reason() -> None:
    lines = drawn(GOOD, BAD, STOPPED, SKIPPED)
    assert lines[0] == "run-1: 4 members, SUCCEEDED in 4.00 s"
    found = {line.split()[0]: line for line in lines[1:-1]}
    assert list(found) == ["run", "review", "good", "bad", "slow", "late"]
    assert "FAILED" in found["bad"]
    assert "x2" in found["bad"]
    assert "AGENT_FAILED: it broke" in found["bad"]
    assert "STOPPED in 12 ms: ended on SIGTERM" in found["slow"]
    assert "SKIPPED" in found["late"]


def test_a_bar_tells_queueing_running_and_waiting_apart() -> None:
    inner = node("group", 5.0, 8.0)
    assert bar(node("member", 2.0, 10.0, inner)) == "..###===##"
    assert bar(node("member", 2.0, None)) == "..########"
    assert bar(node("member", None, None, queued_at=4.0)) == "    ......"
    assert bar(node("group", 1.0, 3.0)) == " --       "


def test_the_pause_between_two_attempts_is_not_running() -> None:
    assert bar(node("member", 0.0, 10.0, node("attempt", 0.0, 3.0), node("attempt", 6.0, 10.0))) == "###...####"


def test_what_is_too_short_for_the_screen_still_has_a_mark() -> None:
    assert bar(node("member", 10.0, 10.0)).strip(".") == "#"
    assert bar(node("member", 0.0, 0.0), now=0.0).strip() == "#"


def test_a_price_that_is_not_known_is_never_shown_as_nothing() -> None:
    priced = Usage(calls=2, input_tokens=1200, output_tokens=30, cost_nanos=2_100_000, unpriced_calls=1)
    unknown = Usage(calls=1, input_tokens=7, output_tokens=1, unpriced_calls=1)
    first = Outcome(member="a", agent="a", state=State.SUCCEEDED, output=GOOD.output, usage=priced)
    second = Outcome(member="b", agent="b", state=State.SUCCEEDED, output=GOOD.output, usage=unknown)
    lines = {line.split()[0]: line for line in drawn(first, second)}
    assert "1,200+30 tok" in lines["a"]
    assert "0.0021 USD + 1 unpriced" in lines["a"]
    assert lines["b"].endswith("unpriced")
    assert "0.00 USD" not in "".join(lines.values())


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    wide = Outcome(member="\u5bff\u53f8" * 20, agent="other" * 20, state=State.FAILED, failure=BAD.failure)
    lines = drawn(wide, GOOD, BAD, STOPPED, SKIPPED, width=width)
    assert max(map(cell_len, lines)) <= width
    assert all("#" in line or "." in line for line in lines if "SUCCEEDED" in line and "good" in line)


def test_names_and_reasons_cannot_steer_the_terminal() -> None:
    nasty = Outcome(member="\x1b[31mred\n", agent="a\u202e", state=State.FAILED, failure=BAD.failure)
    assert not re.search("[\x00-\x1f\u202e]", "".join(drawn(nasty)))


def test_a_large_group_shows_what_went_wrong_and_counts_the_rest() -> None:
    many = [
        Outcome(member=f"m{number}", agent="m", state=State.SUCCEEDED, output=GOOD.output) for number in range(9999)
    ]
    many[5000] = Outcome(member="lost", agent="m", state=State.FAILED, failure=BAD.failure)
    lines = drawn(*many)
    assert len(lines) == 1 + 2 + timeline.MAX_MEMBERS + 1 + 1
    assert "+ 9,949 more: 9,949 SUCCEEDED" in lines[-2]
    assert any("lost" in line for line in lines)


def test_a_timeline_has_a_bound_on_its_lines_and_on_its_depth() -> None:
    run = tree_of(GOOD, BAD, STOPPED).snapshot()
    assert [row.name for row in timeline.rows(run, most=3)] == ["run", "review", "+ more; see --depth and --json"]
    assert [row.name for row in timeline.rows(run, depth=1)] == ["run", "review", "+ 3 below"]
    assert len(timeline.rows(run, most=5)) == 5


def test_a_name_deep_in_the_tree_keeps_half_of_its_column() -> None:
    deep = node("member", 0.0, 1.0)
    for _ in range(60):
        deep = node("group", 0.0, 1.0, deep)
    lines = timeline.lines(deep, now=1.0, width=80)
    assert all("x" in line.plain[:28] for line in lines[1:-1])
    assert max(cell_len(line.plain) for line in lines) <= 80


def test_printed_events_come_back_as_the_same_tree() -> None:
    made = events(GOOD, BAD, STOPPED, SKIPPED)
    lines = [jsonform.line({"event": jsonform.event(event)}) for event in made]
    tree = Tree()
    for event in eventfile.read([*lines, "\n", '{"result": {}}\n'], "run.jsonl"):
        tree.apply(event)
    assert tree.snapshot() == tree_of(GOOD, BAD, STOPPED, SKIPPED).snapshot()


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        '{"event": 1}',
        '{"event": {"type": "run_started"}}',
        '{"event": {"type": "unknown", "detail": {}}}',
        '{"event": {"type": "run_started", "detail": {"run_id": "r"}, "sequence": 1, "elapsed": 0}}',
        '{"event": {"type": "run_ended", "detail": 3, "sequence": 1, "elapsed": 0}}',
        "[" * 100_000,
    ],
)
def test_a_line_that_is_no_event_is_named(line: str) -> None:
    with pytest.raises(UsageError, match=r"line 2 of 'run\.jsonl'"):
        list(eventfile.read(["\n", line], "run.jsonl"))


@given(data=st.data())
def test_whatever_stands_in_a_file_it_is_shown_or_refused(data: st.DataObject) -> None:
    lines = [jsonform.line({"event": jsonform.event(event)}) for event in events(GOOD, BAD, STOPPED, SKIPPED)]
    for _ in range(data.draw(st.integers(1, 3))):
        number = data.draw(st.integers(0, len(lines) - 1))
        document = json.loads(lines[number])
        if "event" not in document:
            continue
        place, key = document, "event"
        while isinstance(place[key], dict) and place[key] and data.draw(st.integers(0, 3)):
            place, key = place[key], data.draw(st.sampled_from(sorted(place[key])))
        if data.draw(st.booleans()):
            del place[key]
            place["other"] = 0
        else:
            place[key] = data.draw(JSON)
        lines[number] = json.dumps(document)
        if number and data.draw(st.booleans()):
            lines[number - 1], lines[number] = lines[number], lines[number - 1]
    tree = Tree()
    try:
        for event in eventfile.read(lines, "run.jsonl"):
            tree.apply(event)
    except UsageError:
        return
    made = timeline.lines(tree.snapshot(), now=tree.elapsed, width=80)
    assert max(cell_len(line.plain) for line in made) <= 80


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "--server, --store, --file"),
        ({"server": "a:1", "store": "b"}, "--server, --store"),
        ({"server": "a:1"}, "RUN_ID"),
        ({"file": "x", "follow": True}, "--follow"),
        ({"store": "/nowhere/at/all.db", "run": "r"}, "--store"),
        ({"file": "/nowhere/at/all"}, "--file"),
    ],
)
async def test_a_wrong_command_line_is_refused_by_the_option(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        await show(options.pop("run", None), **options)


def test_what_run_printed_can_be_shown(motet: Motet, guarded: Path, tmp_path: Path) -> None:
    done = motet("run", "retry", "hi", "--catalog", guarded, "--json")
    (tmp_path / "run.jsonl").write_text(done.stdout)
    shown = motet("show", "--file", "run.jsonl")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.isascii()
    assert "attempt 3 (retry)" in shown.stdout
    assert "BUSY: not now" in shown.stdout
    tree = json.loads(motet("show", "--file", "run.jsonl", "--json").stdout)
    assert [child["name"] for child in tree["children"][0]["children"]] == ["flaky", "echo"]
    missing = motet("show", "other", "--file", "run.jsonl")
    assert (missing.returncode, "no events of the run" in missing.stderr) == (2, True)


def test_a_run_on_a_server_can_be_shown_while_it_runs_and_after(motet: Motet, server: str) -> None:
    run = motet("run", "slow", "hi", "--server", server, "--detach").stdout.strip()
    shown = motet("show", run, "--server", server)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "so far" in shown.stdout
    motet("cancel", run, "--server", server)
    ended = motet("show", run, "--server", server, "--width", 100, "--follow")
    assert ended.returncode == 0
    assert "CANCELLED" in ended.stdout.splitlines()[0]
    assert max(map(len, ended.stdout.splitlines())) <= 100
    missing = motet("show", "nobody", "--server", server)
    assert (missing.returncode, missing.stdout) == (2, "")


def test_a_server_that_is_not_there_is_said_so(motet: Motet) -> None:
    assert motet("show", "run", "--server", "127.0.0.1:1").returncode == 4


def test_the_file_of_a_store_is_read_also_beside_the_server_that_writes_it(
    motet: Motet, spawn: Spawn, catalog: Path, tmp_path: Path
) -> None:
    process = spawn("serve", catalog, "--address", "127.0.0.1:0", "--store", "runs.db", "--grace", "0s")
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]
    run = motet("run", "slow", "hi", "--server", address, "--detach").stdout.strip()
    open_ = motet("show", run, "--store", "runs.db")
    assert (open_.returncode, "so far" in open_.stdout) == (0, True)
    motet("cancel", run, "--server", address)
    ended = motet("show", run, "--store", "runs.db")
    assert (ended.returncode, "CANCELLED" in ended.stdout) == (0, True)
    missing = motet("show", "nobody", "--store", "runs.db")
    assert (missing.returncode, "nobody" in missing.stderr) == (2, True)
    assert motet("show", "nobody", "--store", "other.db").returncode == 2
    assert not (tmp_path / "other.db").exists()


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="it is /proc that tells when the program has come so far"
)
def test_a_signal_ends_the_following_and_not_the_run(motet: Motet, spawn: Spawn, server: str) -> None:
    run = motet("run", "slow", "hi", "--server", server, "--detach").stdout.strip()
    process = spawn("show", run, "--server", server, "--follow")
    status = Path(f"/proc/{process.pid}/status")
    end = time.monotonic() + 30
    while not int(status.read_text().split("SigCgt:")[1].split()[0], 16) >> (signal.SIGTERM - 1) & 1:
        assert time.monotonic() < end, "it never took the signals"
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "so far" in out
    assert "RUNNING" in motet("show", run, "--server", server).stdout
    motet("cancel", run, "--server", server)
