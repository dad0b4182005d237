"""Model agents in the program: how they are listed and shown while they run, and sessions."""

import io
import json
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from motet.model.event import (
    AttemptStarted,
    Detail,
    Event,
    GroupEnded,
    GroupStarted,
    MemberEnded,
    MemberProgress,
    MemberStarted,
)
from motet.model.outcome import AttemptKind, Failure, Outcome
from motet.model.payload import Payload
from motet.model.result import GroupResult
from motet.model.state import State
from motet_server.cli.board import Board
from motet_server.cli.live import frame
from motet_server.cli.render import Lines

CATALOG = """
[providers.p]
kind = "scripted"
script = "script.toml"

[providers.q]
kind = "openai"
api_key_env = "MOTET_TEST_KEY"
headers = { authorization = "Bearer ${env:MOTET_TEST_KEY}" }

[mcp.files]
command = ["files-server"]

[agents.m]
kind = "model"
provider = "p"
model = "gpt-x"
fallbacks = [{ provider = "q", model = "gpt-y" }]
tools = ["shout", "tools.py:look", { mcp = "files", tools = ["read"] }]
handoffs = ["plain"]

[agents.talks]
kind = "model"
provider = "p"
model = "gpt-x"
tools = ["shout", "tools.py:look"]

[agents.plain]
kind = "model"

[agents.read]
kind = "mcp"
server = "files"
tool = "read"

[agents.shout]
kind = "command"
argv = ["tr", "a-z", "A-Z"]

[agents.heard]
kind = "function"
function = "tools.py:heard"

[groups.hear]
members = ["heard"]
aggregation = "first"
preserve_session = true

[groups.talk]
members = ["talks"]
aggregation = "first"
preserve_session = true
"""
SCRIPT = """
[[reply]]
when_user = "how long"
text = "a while"

[[reply]]
when_user = "refuse"
error = "PROVIDER_REJECTED"

[[reply]]
when_result = "."
text = "Rome has 21 degrees."
pieces = 3
delay = 0.2

[[reply]]
text = "I look"
tools = [{ name = "look", arguments = { city = "Rome" } }, { name = "nope" }]
"""
TOOLS = """
def look(city: str) -> str:
    return city + ": 21 degrees"


async def heard(call):
    return " ".join(entry.payload.text for entry in call.history) or "nothing"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "script.toml").write_text(SCRIPT)
    (tmp_path / "tools.py").write_text(TOOLS)
    made = tmp_path / "models.toml"
    made.write_text(CATALOG)
    return made


ENV = {"MOTET_TEST_KEY": "sk-very-secret"}


def test_agents_are_listed_with_their_models_and_tools_and_no_key(motet: Any, file: Path) -> None:
    listed = motet("agents", "--catalog", file, env=ENV).stdout
    rows = {line.split()[0]: line for line in listed.splitlines()}
    assert rows["agent"].split()[:5] == ["agent", "kind", "model", "tools", "provider"]
    assert rows["m"].split(maxsplit=2)[:2] == ["m", "model"]
    assert "gpt-x (+1)  shout, look, files: read, -> plain  p" in rows["m"]
    assert "default" in rows["plain"]
    assert rows["read"].split() == ["read", "mcp", "files:", "read"]
    assert "secret" not in listed


def test_as_json_a_model_agent_has_its_models_tools_and_handoffs(motet: Any, file: Path) -> None:
    lines = motet("agents", "--catalog", file, "--json", env=ENV).stdout
    agents = {agent["name"]: agent for agent in map(json.loads, lines.splitlines())}
    models = [{"provider": "p", "model": "gpt-x"}, {"provider": "q", "model": "gpt-y"}]
    assert agents["m"]["models"] == models
    assert (agents["m"]["tools"], agents["m"]["handoffs"]) == (["shout", "look", "files: read"], ["plain"])
    assert (agents["read"]["server"], agents["read"]["tool"]) == ("files", "read")
    assert "models" not in agents["shout"]
    assert "secret" not in lines


def test_check_counts_model_agents_and_finds_their_mistakes(motet: Any, file: Path) -> None:
    assert motet("check", file, env=ENV).stdout == "ok: 6 agents, 2 groups\n"
    file.write_text(CATALOG.replace('handoffs = ["plain"]', 'handoffs = ["plane"]').replace("api_key_env", "api_key"))
    wrong = motet("check", file, env=ENV)
    assert wrong.returncode == 2
    lines = wrong.stdout.splitlines()
    assert lines[0].endswith("models.toml: [providers.q] api_key: is a secret, which no catalog holds; name a variable in "
                             "api_key_env, or a file in api_key_file")  # fmt: skip
    assert "secret-" not in wrong.stdout + wrong.stderr


def test_plain_lines_tell_turns_by_their_end_tools_by_theirs_and_no_piece_of_text(motet: Any, file: Path) -> None:
    shown = motet("run", "talk", "hello", "--catalog", file, env=ENV).stdout
    events, _, rest = shown.partition("\nanswer\n")
    told = [line.split(maxsplit=1)[1].rsplit(" in ", 1)[0].rsplit(" after ", 1)[0] for line in events.splitlines()]
    assert told[3:] == [
        "talk/talks/turn_1 SUCCEEDED",
        "talk/talks tool nope: tool_not_found",
        "talk/talks#2/tools_1/look SUCCEEDED",
        "talk/talks#3/turn_2 SUCCEEDED",
        "talk/talks SUCCEEDED",
        "talk SUCCEEDED",
        "run SUCCEEDED",
    ]
    assert rest.startswith("Rome has 21 degrees.\n")
    assert "turn_" not in rest
    assert "delta" not in shown


def test_as_json_every_event_is_there(motet: Any, file: Path) -> None:
    shown = motet("run", "talk", "hello", "--catalog", file, "--json", env=ENV).stdout
    lines = [json.loads(line) for line in shown.splitlines()]
    reports = [
        line["event"]["detail"]["report"] for line in lines if line.get("event", {}).get("type") == "member_progress"
    ]
    pieces = [report["json"]["delta"] for report in reports if "delta" in report["json"]]
    assert "".join(pieces) == "I lookRome has 21 degrees."
    assert {line["event"]["group"] for line in lines if "event" in line} >= {"turn_1", "tools_1", "turn_2"}


def test_a_turn_that_fails_says_why(motet: Any, file: Path) -> None:
    shown = motet("run", "talk", "refuse", "--catalog", file, env=ENV)
    assert shown.returncode == 1
    assert "turn_1/p:gpt-x FAILED after" in shown.stdout
    assert "PROVIDER_REJECTED: talks: turn_1: the script says so" in shown.stdout


def test_a_session_is_part_of_the_request(motet: Any, file: Path) -> None:
    assert motet("run", "talk", "how long", "--session", "s1", "--catalog", file, env=ENV).returncode == 0
    empty = motet("run", "talk", "how long", "--session", "", "--catalog", file, env=ENV)
    assert empty.returncode == 2
    assert "--session: must not be empty" in empty.stderr


def test_a_session_on_a_server_goes_on_with_the_next_run(
    motet: Any, spawn: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTET_TEST_KEY", ENV["MOTET_TEST_KEY"])
    served = spawn("serve", file, "--address", "127.0.0.1:0", "--grace", "0s")
    address = served.stdout.readline().split()[-1]

    def said(*words: str) -> str:
        shown: str = motet("run", "hear", *words, "--server", address).stdout
        return shown.partition("\nanswer\n")[2].splitlines()[0]

    assert said("one", "--session", "s") == "nothing"
    assert said("two", "--session", "s") == "one nothing"
    assert said("three", "--session", "other") == "nothing"
    assert said("four") == "nothing"


# ------------------------------------------------------------------------------------------------------- the picture

ANSWER = Outcome(member="m", agent="m", state=State.SUCCEEDED, output=Payload.from_text("done"), ran=1.0)


def events(*told: tuple[str, str, str, Detail]) -> list[Event]:
    start: list[tuple[str, str, str, Detail]] = [
        ("", "g", "", GroupStarted(1, (("m", "m"),))),
        ("", "g", "m", MemberStarted("m", 0.0)),
    ]
    return [
        Event(number, float(number), detail, group, member, parent)
        for number, (parent, group, member, detail) in enumerate([*start, *told], 1)
    ]


def draw(*told: tuple[str, str, str, Detail]) -> list[str]:
    board = Board()
    for event in events(*told):
        board.apply(event)
    console = Console(file=io.StringIO(), width=120)
    console.print(frame(board, 9.0, 12, deque()))
    return [line.rstrip() for line in console.file.getvalue().splitlines()[1:]]  # type: ignore[attr-defined]  # its StringIO


def piece(text: str, number: int = 1) -> tuple[str, str, str, Detail]:
    return "g/m", f"turn_{number}", "p:x", MemberProgress(Payload.from_json({"delta": text}))


TURN = ("g/m", "turn_1", "", GroupStarted(1, (("p:x", "p:x"),)))


def test_the_row_of_a_model_agent_shows_the_last_line_that_its_model_wrote() -> None:
    lines = draw(
        TURN, ("g/m", "turn_1", "p:x", MemberStarted("p:x", 0.0)), piece("Dear Ada,\nmany "), piece("thanks\n")
    )
    assert len(lines) == 2  # its turns have no rows of their own
    assert lines[1].endswith("turn 1: many thanks")


def test_an_attempt_that_is_made_again_begins_its_text_again() -> None:
    again = ("g/m", "turn_1", "p:x", AttemptStarted(2, AttemptKind.RETRY))
    assert draw(TURN, piece("half an"), again, piece("a whole"))[1].endswith("turn 1: a whole")


def test_of_a_very_long_line_the_end_is_shown_and_little_more_is_kept() -> None:
    told = (TURN, piece("x" * 5000), piece(" and so on"))
    assert draw(*told)[1].endswith("turn 1: ..." + "x" * 50 + " and so on")
    board = Board()
    for event in events(*told):
        board.apply(event)
    assert len(board.groups["", "g"].rows["m"].said) == 2000


def test_while_tools_run_the_row_names_them() -> None:
    tools = ("g/m#2", "tools_1", "", GroupStarted(2, (("look", "look"), ("look_2", "look"))))
    report = ("", "g", "m", MemberProgress(Payload.from_json({"tool": "look", "call_id": "c", "status": "executed"})))
    assert draw(TURN, tools, report)[1].endswith("tools 1: look")


def test_turns_of_an_agent_that_is_not_shown_change_nothing() -> None:
    other = ("x/y", "turn_1", "p:x", MemberProgress(Payload.from_json({"delta": "hi"})))
    assert draw(other) == draw()


def test_of_a_group_that_the_author_named_so_nothing_is_hidden() -> None:
    lines = Lines()
    assert lines.line(Event(1, 0.0, GroupStarted(1, (("a", "a"),)), "turn_1")).endswith("turn_1 started: 1 member")


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({"delta": "text"}, ""),
        ({"tool": "look", "call_id": "c", "status": "executed"}, ""),
        ({"tool": "look", "call_id": "c", "status": "validation_error"}, "g/m tool look: validation_error"),
        ({"handoff": "back", "call_id": "c"}, "g/m hands over to back"),
        ({"delta": 3}, 'g/m reports: {"delta":3}'),
        ({"call_id": 3}, 'g/m reports: {"call_id":3}'),
        ([1], "g/m reports: [1]"),
    ],
)
def test_a_report_has_the_line_that_it_is_worth(report: object, said: str) -> None:
    line = Lines().line(Event(1, 0.0, MemberProgress(Payload.from_json(report)), "g", "m"))
    assert line.strip().removeprefix("0.000").strip() == said


def test_guardrails_are_told_by_their_end_and_tools_groups_have_no_line() -> None:
    lines = Lines()
    failed = Outcome(member="judge", agent="judge", state=State.FAILED, failure=Failure("X", "no"), ran=1.0)
    result = GroupResult(name="tools_1", state=State.SUCCEEDED, outcomes=(ANSWER,))
    assert lines.line(Event(1, 0.0, GroupStarted(1, ()), "guardrail_input_1", "", "g/m")) == ""
    assert lines.line(Event(2, 0.0, MemberEnded(failed), "guardrail_input_1", "judge", "g/m")).endswith("X: no")
    assert lines.line(Event(3, 0.0, GroupEnded(result), "tools_1", "", "g/m")) == ""
