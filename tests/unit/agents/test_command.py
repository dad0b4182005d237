"""The command agent with real small programs: what they are given, what they see, what their end means."""

import math
import os
import signal
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from motet.agents import _argv
from motet.agents.command import CommandAgent, CommandResult
from motet.errors import AgentError
from motet.model.payload import Payload
from motet.ports import Call, CallHost
from motet.testing.contracts_agent import AgentContract

CAT = "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"
ARGS = "import sys, json; print(json.dumps(sys.argv[1:]))"


def make_call(input: object = "hello", *, deadline: float = math.inf, **variables: object) -> Call:
    given = {name: Payload.of(value) for name, value in variables.items()}
    host = cast("CallHost", None)
    return Call(
        Payload.of(input),
        host=host,
        variables=given,
        run_id="run-1",
        member="m_2",
        group="g",
        depth=3,
        deadline=deadline,
    )


def python(code: str, *arguments: str, **options: Any) -> CommandAgent:
    """An agent that runs this Python code."""
    return CommandAgent("py", [sys.executable, "-c", code.replace("{", "{{").replace("}", "}}"), *arguments], **options)


async def fails(agent: CommandAgent, call: Call | None = None) -> AgentError:
    with pytest.raises(AgentError) as caught:
        await agent.call(call or make_call())
    return caught.value


def has_ended(pid: int) -> bool:
    """A zombie that nobody collects has ended too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def gone(pid: int) -> None:
    while not has_ended(pid):  # noqa: ASYNC110  a process that is no child of ours gives no event
        await trio.sleep(0.01)


class TestContract(AgentContract):
    """What every agent promises."""

    def make_agent(self) -> CommandAgent:
        return python(CAT)

    def make_slow_agent(self) -> CommandAgent:
        return python("import time; time.sleep(1000)")

    def make_failing_agent(self) -> CommandAgent:
        return python("raise SystemExit(1)")


# -------------------------------------------------------------------------------------------------------- what goes in


async def test_the_input_goes_to_stdin_and_stdout_is_the_reply() -> None:
    reply = await python(CAT).call(make_call("caf\u00e9"))
    assert reply.output == Payload.from_text("caf\u00e9")
    assert reply.metadata == {"exit_code": 0}


async def test_arguments_are_filled_with_input_and_variables_and_never_read_by_a_shell() -> None:
    agent = python(ARGS, "{input}", "--n={n}", "a{{b}}", input="argument", output="json")
    reply = await agent.call(make_call("$(id); `id` {n} *", n=3))
    assert reply.output.value == ["$(id); `id` {n} *", "--n=3", "a{b}"]


async def test_a_program_without_input_finds_its_stdin_empty() -> None:
    assert (await python(CAT, input="none").call(make_call("unread"))).output.text == ""


@pytest.mark.parametrize("value", ["--help", "-", "-rf"])
async def test_a_value_that_could_be_read_as_an_option_is_refused(value: str) -> None:
    error = await fails(python(ARGS, "{input}", input="argument"), make_call(value))
    assert error.reason == "INPUT_INVALID"
    assert "'--'" in error.message
    error = await fails(python(ARGS, "{empty}{v}"), make_call(empty="", v=value))
    assert error.reason == "INPUT_INVALID"


async def test_a_value_after_dashes_or_behind_a_prefix_may_begin_with_a_dash() -> None:
    agent = python(ARGS, "--", "{input}", "--name={input}", input="argument", output="json")
    assert (await agent.call(make_call("-x"))).output.value == ["--", "-x", "--name=-x"]


@pytest.mark.parametrize("value", ["a\0b", "x" * (_argv.MAX_ARGUMENT_BYTES + 1), "\ud800", b"\xff"])
async def test_a_value_that_no_argument_can_carry_is_refused(value: object) -> None:
    assert (await fails(python(ARGS, "{input}", input="argument"), make_call(value))).reason == "INPUT_INVALID"


async def test_the_longest_argument_that_is_allowed_arrives() -> None:
    agent = python("import sys; print(len(sys.argv[1]), end='')", "{input}", input="argument")
    reply = await agent.call(make_call("x" * _argv.MAX_ARGUMENT_BYTES))
    assert reply.output.text == str(_argv.MAX_ARGUMENT_BYTES)


async def test_a_missing_variable_is_named() -> None:
    error = await fails(python(ARGS, "{language}"))
    assert (error.reason, "'language'" in error.message) == ("INPUT_INVALID", True)


async def test_a_program_sees_only_the_environment_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "s3cret")
    monkeypatch.setenv("TZ", "UTC")
    agent = python("import os, json; print(json.dumps(dict(os.environ)))", env={"MODE": "x"}, output="json")
    seen = (await agent.call(make_call(deadline=trio.current_time() + 60))).output.value
    assert "API_KEY" not in seen
    assert (seen["TZ"], seen["MODE"], seen["PATH"]) == ("UTC", "x", os.environ["PATH"])
    assert [seen[f"MOTET_{key}"] for key in ("RUN_ID", "GROUP", "MEMBER", "DEPTH")] == ["run-1", "g", "m_2", "3"]
    assert 0 < float(seen["MOTET_TIME_LEFT"]) <= 60
    assert "MOTET_TIME_LEFT" not in (await agent.call(make_call())).output.value


# -------------------------------------------------------------------------------------------------------- finding it


async def test_a_program_is_found_in_path_and_beside_this_python(tmp_path: Path) -> None:
    own = tmp_path / "own-tool"
    own.write_text("#!/bin/sh\nprintf here")
    own.chmod(0o755)
    assert (await CommandAgent("x", ["own-tool"], env={"PATH": str(tmp_path)}).call(make_call())).output.text == "here"
    beside = CommandAgent("x", [Path(sys.executable).name, "-c", "print(1, end='')"], env={"PATH": "/nowhere:."})
    assert (await beside.call(make_call())).output.text == "1"


async def test_a_relative_program_and_the_working_directory_go_together(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\npwd")
    (tmp_path / "tool").chmod(0o755)
    reply = await CommandAgent("x", ["./tool"], cwd=tmp_path).call(make_call())
    assert reply.output.text.strip() == os.path.realpath(tmp_path)  # noqa: ASYNC240 - a small local path


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program"])
async def test_a_missing_program_is_named(program: str) -> None:
    error = await fails(CommandAgent("x", [program]))
    assert (error.reason, error.details) == ("COMMAND_NOT_FOUND", {"program": program})


async def test_a_program_that_the_system_refuses_to_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    refused = {
        "EACCES": CommandAgent("x", [str(tmp_path / "text")]),
        "ENOENT": CommandAgent("x", [sys.executable], cwd=tmp_path / "gone"),
        "E2BIG": CommandAgent("x", [sys.executable, *["y" * 100_000] * 40]),
    }
    for name, agent in refused.items():
        error = await fails(agent)
        assert (error.reason, error.details["errno"]) == ("COMMAND_NOT_STARTED", name)


# ------------------------------------------------------------------------------------------------------ what comes out


async def test_another_exit_code_fails_with_code_and_the_end_of_stderr() -> None:
    error = await fails(python("import sys; sys.stderr.write('x' * 200_000 + '\\nlast words'); sys.exit(3)"))
    assert (error.reason, error.details["exit_code"]) == ("COMMAND_FAILED", 3)
    assert len(error.details["stderr"]) == 4096
    assert error.message.endswith("exit code 3: last words")


async def test_a_program_ended_by_a_signal_fails_with_its_name() -> None:
    error = await fails(python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    assert (error.reason, error.details["signal"]) == ("COMMAND_FAILED", "SIGKILL")
    assert "exit_code" not in error.details


async def test_exit_codes_that_mean_success_can_be_named() -> None:
    reply = await python("print('found', end=''); raise SystemExit(1)", ok_exit_codes=(0, 1)).call(make_call())
    assert (reply.output.text, reply.metadata) == ("found", {"exit_code": 1})


@pytest.mark.parametrize("document", ["{'a': 1}", "NaN", "", '{"a": 1} trailing'])
async def test_output_that_is_not_json_fails_with_its_beginning(document: str) -> None:
    error = await fails(python(CAT, output="json"), make_call(document + " " * 1000))
    assert error.reason == "OUTPUT_INVALID"
    assert error.details["output"] == (document + " " * 1000)[:200]


async def test_bytes_come_back_as_they_are_and_text_with_what_is_not_utf8_replaced() -> None:
    assert (await python(CAT, output="bytes").call(make_call(b"\xff\0"))).output == Payload.from_bytes(b"\xff\0")
    assert (await python(CAT).call(make_call(b"\xff!"))).output.text == "\ufffd!"


async def test_a_parse_function_receives_everything_and_makes_the_output() -> None:
    def parse(result: CommandResult) -> object:
        return {
            "argv": list(result.argv[2:]),
            "code": result.exit_code,
            "texts": [result.stdout.decode(), len(result.stderr)],
        }

    code = "import sys; print('out'); sys.stderr.write('err'); sys.exit(4)"
    reply = await python(code, parse=parse, ok_exit_codes=[4]).call(make_call())
    assert reply.output.value == {"argv": [code], "code": 4, "texts": ["out\n", 3]}


async def test_a_parse_function_that_fails_or_returns_no_value_makes_the_output_invalid() -> None:
    for parse in (lambda result: result.stdout[99], lambda _: object()):
        error = await fails(python(CAT, parse=parse))
        assert (error.reason, error.details) == ("OUTPUT_INVALID", {"output": "hello"})


async def test_a_parse_function_can_choose_its_own_reason() -> None:
    def parse(_: CommandResult) -> object:
        raise AgentError("tired", reason="TIRED")

    assert (await fails(python(CAT, parse=parse))).reason == "TIRED"


# --------------------------------------------------------------------------------------------------- pipes and bounds


async def test_large_input_and_output_flow_both_ways_at_once() -> None:
    data = os.urandom(1 << 20) * 5
    reply = await python(CAT, output="bytes").call(make_call(data))
    assert reply.output.data == data


async def test_input_that_the_program_does_not_read_is_no_failure() -> None:
    for code in ("print('done', end='')", "import os; os.close(0); print('done', end='')"):
        assert (await python(code).call(make_call(b"x" * 5_000_000))).output.text == "done"


async def test_output_beyond_the_bound_stops_the_program() -> None:
    agent = python("import os\nwhile True: os.write(1, b'x' * 65536)", max_output_bytes=100_000)
    error = await fails(agent)
    assert (error.reason, error.details) == ("OUTPUT_TOO_LARGE", {"max_output_bytes": 100_000})


async def test_output_up_to_the_bound_is_kept_even_when_it_is_read_only_at_the_end() -> None:
    assert (await python(CAT, max_output_bytes=5).call(make_call("12345"))).output.text == "12345"
    assert (await fails(python(CAT, max_output_bytes=5), make_call("123456"))).reason == "OUTPUT_TOO_LARGE"


async def test_endless_stderr_is_read_and_only_its_end_is_kept() -> None:
    code = "import sys; [sys.stderr.write('x' * 1000) for _ in range(3000)]; sys.stderr.write('end')"
    kept: list[bytes] = []
    agent = python(code, parse=lambda result: kept.append(result.stderr))
    await agent.call(make_call())
    assert (len(kept[0]), kept[0][-3:]) == (65536, b"end")


async def test_what_the_program_leaves_in_its_group_is_killed_and_cannot_hold_the_call() -> None:
    agent = CommandAgent("sh", ["sh", "-c", "sleep 1000 & echo $!"])
    with trio.fail_after(30):
        reply = await agent.call(make_call())
        await gone(int(reply.output.text))


async def test_a_process_that_left_the_group_cannot_hold_the_call() -> None:
    code = """
import os, time
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    os.setsid()
    os.write(writer, b"!")
    time.sleep(1000)
os.read(reader, 1)
print(pid)
"""
    with trio.fail_after(30):
        reply = await python(code).call(make_call())
    os.kill(int(reply.output.text), signal.SIGKILL)  # it is beyond the agent's reach, as its docstring says


async def test_nothing_is_left_open_after_many_calls() -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    agent = python("print(1)")
    await agent.call(make_call())
    before = open_files()
    for _ in range(5):
        await agent.call(make_call())
    assert open_files() == before


@pytest.mark.parametrize(
    ("parameter", "argv", "options"),
    [
        ("argv", [], {}),
        ("argv", "ls -l", {}),
        ("argv", ["ls"], {"input": "argument"}),
        ("argv", ["ls", "{input}"], {}),
        ("argv", ["ls", "{input}"], {"input": "none"}),
        (r"argv\[0\]", ["{input}", "{input}"], {"input": "argument"}),
        (r"argv\[0\]", [""], {}),
        (r"argv\[1\]", ["ls", "{"], {}),
        (r"argv\[1\]", ["awk", "{print $1}"], {}),
        (r"argv\[1\]", ["ls", "a\0b"], {}),
        ("input", ["ls"], {"input": "file"}),
        ("output", ["ls"], {"output": "xml"}),
        ("env", ["ls"], {"env": {"A=B": "c"}}),
        ("env", ["ls"], {"env": {"A": "\0"}}),
        ("cwd", ["ls"], {"cwd": "\0"}),
        ("term_grace", ["ls"], {"term_grace": -1.0}),
        ("term_grace", ["ls"], {"term_grace": math.inf}),
        ("max_output_bytes", ["ls"], {"max_output_bytes": 0}),
        ("max_parallel", ["ls"], {"max_parallel": 0}),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(parameter: str, argv: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{parameter}: "):
        CommandAgent("x", argv, **options)
