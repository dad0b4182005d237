"""A function in a process of its own: what goes in and comes out, and how it fails. Its stopping is tested in
tests/cancellation."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from motet.agents.function import FunctionAgent, agent
from motet.agents.process import STDERR_KEPT
from motet.errors import AgentError
from motet.model.agent import Reply
from motet.model.payload import Payload
from motet.model.session import SessionEntry
from motet.model.usage import Usage
from motet.ports import Call

MIB = 1024 * 1024
in_process = agent(isolation="process")


class RecordingHost:
    history: Any = ()

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.both = trio.Event()

    def left(self, what: Any) -> None:
        return None

    def keep(self, resident: Any) -> None:
        raise AssertionError(resident)

    def report(self, call: Call, report: Payload) -> None:
        assert call.member == "m"
        self.reports.append(report.value)
        if len(self.reports) == 2:
            self.both.set()

    async def run(self, *_: Any, **__: Any) -> Any:
        raise AssertionError


# -------------------------------------------------------------------------------- functions that the children run


@in_process
def facts(text: str, lang: str, call: Call, n: int = 1) -> Any:
    return [text, lang, n, call.member, call.run_id, call.attempt, call.time_left() > 0, os.getpid(), sys.argv]


@in_process
async def asynchronous(text: str, call: Call) -> str:
    await trio.lowlevel.checkpoint()
    return f"{text} {0 < call.deadline - trio.current_time() <= 60}"


@in_process
def gives_reply() -> Reply:
    return Reply(Payload.from_bytes(b"\0\xff", "image/x"), Usage(calls=3, cost_nanos=5), {"k": [1]})


@in_process
def huge(data: bytes) -> bytes:
    return data * 5


@in_process
def prints(text: str) -> str:
    print(text)  # noqa: T201 - printing is what is tested
    os.write(1, b"straight to the descriptor\n")
    subprocess.run(["echo", "from a program"], check=True)  # noqa: S607 - a program of every system
    return f"{text} {sys.stdin.read()!r}"


@in_process
def prints_and_fails() -> None:
    print("x" * 100_000, "the end")  # noqa: T201 - printing is what is tested
    raise AgentError("not today", reason="BUSY", details={"k": {1}}, retryable=True, retry_after=2.5)


class UnpicklableError(Exception):
    def __init__(self, _a: int, _b: int) -> None:
        super().__init__("cannot be remade")
        self.gone = lambda: None


@in_process
def raises_unpicklable() -> None:
    raise UnpicklableError(1, 2)


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@in_process
def raises_mute() -> None:
    raise MuteError


@in_process
def raises_surrogate() -> None:
    raise ValueError("\ud800")


@in_process
def returns(kind: str) -> Any:
    return {"object": object(), "nan": float("nan"), "surrogate": "\ud800", "set": {1}}[kind]


@in_process
def leaves(how: str) -> None:
    if how == "exit":
        raise SystemExit(3)
    if how == "_exit":
        os._exit(7)
    if how == "signal":
        os.kill(os.getpid(), 11)
    if how == "closed":
        os.closerange(3, 100)
        time.sleep(60)


@in_process
async def nests(call: Call) -> None:
    await call.run("group")


@in_process
def reports(call: Call) -> None:
    call.report({"done": 1})
    call.report("two")
    time.sleep(60)


@agent(isolation="process", memory_bytes=512 * MIB)
def hungry(size: int) -> int:
    return len(bytearray(size))


@agent(isolation="process", cpu_seconds=0.2)
def busy(how: str) -> list[int]:
    if how == "ignores":
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while how != "stops":
        pass
    return list(resource.getrlimit(resource.RLIMIT_CORE))


def plain(text: str) -> str:
    return text[::-1]


class Namespace:
    @staticmethod
    def double(text: str) -> str:
        return text * 2


@agent(isolation="process")
def recalls(call: Call) -> list[Any]:
    return [[entry.role, entry.member, entry.payload.text, entry.at.year] for entry in call.history]


@agent(isolation="process")
def keeps(call: Call) -> None:
    call.keep(call)  # type: ignore[arg-type]  # it is refused whatever it is


# -------------------------------------------------------------------------------------------------------- tests


def call_of(
    input: object = "", host: RecordingHost | None = None, variables: Mapping[str, object] | None = None
) -> Call:
    given = {name: Payload.of(value) for name, value in (variables or {}).items()}
    deadline = trio.current_time() + 60
    own = host or RecordingHost()
    return Call(Payload.of(input), host=own, variables=given, run_id="r", member="m", attempt=2, deadline=deadline)


async def answer(made: FunctionAgent[..., Any], input: object = "", **variables: object) -> Any:
    return (await made.call(call_of(input, None, variables))).output.value


async def failure(made: FunctionAgent[..., Any], input: object = "") -> AgentError:
    with pytest.raises(AgentError) as caught:
        await made.call(call_of(input))
    assert "\n" not in caught.value.message
    return caught.value


async def test_input_variables_and_seat_arrive_in_another_process() -> None:
    *got, pid, argv = await answer(facts, "hi \u20ac", lang="de", n=[2])
    assert got == ["hi \u20ac", "de", [2], "m", "r", 2, True]
    assert pid != os.getpid()
    assert argv == sys.argv


def test_the_function_itself_is_called_where_it_stands() -> None:
    assert huge(b"a") == b"aaaaa"
    assert facts.info.max_parallel == (os.cpu_count() or 1)


async def test_an_async_function_runs_in_a_loop_of_its_own() -> None:
    assert await answer(asynchronous, "a") == "a True"


async def test_what_was_said_in_the_session_arrives_and_nothing_can_be_kept_alive_from_there() -> None:
    host = RecordingHost()
    at = datetime(2026, 1, 2, tzinfo=UTC)
    host.history = [SessionEntry(role="member", member="m", payload=Payload.of("before"), at=at)]
    call = call_of(host=host)
    call.session_id = "s"
    assert (await recalls.call(call)).output.value == [["member", "m", "before", 2026]]
    assert (await failure(keeps)).reason == "NESTED_RUN_UNAVAILABLE"


async def test_a_reply_arrives_whole() -> None:
    reply = await gives_reply.call(call_of())
    assert reply == Reply(Payload.from_bytes(b"\0\xff", "image/x"), Usage(calls=3, cost_nanos=5), {"k": [1]})


async def test_five_megabytes_travel() -> None:
    assert await answer(huge, b"\1" * MIB) == b"\1" * 5 * MIB


async def test_prints_do_not_mix_with_the_answer_and_stdin_is_empty() -> None:
    assert await answer(prints, "a") == "a ''"


async def test_an_agent_error_keeps_all_it_says_and_the_end_of_stderr_is_shown() -> None:
    error = await failure(prints_and_fails)
    assert (error.reason, error.message, error.retryable, error.retry_after) == ("BUSY", "not today", True, 2.5)
    assert error.details["k"] == "{1}"
    assert error.details["stderr"].endswith("x the end\n")
    assert len(error.details["stderr"]) == STDERR_KEPT


@pytest.mark.parametrize(
    ("made", "kind", "message"),
    [
        (raises_unpicklable, "UnpicklableError", "UnpicklableError: cannot be remade"),
        (raises_mute, "MuteError", "MuteError: (its text cannot be shown)"),
        (raises_surrogate, "ValueError", "ValueError: \\ud800"),
    ],
)
async def test_exceptions_of_every_kind_are_told_by_type_and_text(
    made: FunctionAgent[..., Any], kind: str, message: str
) -> None:
    error = await failure(made)
    assert (error.reason, error.message, error.details["exception"]) == ("AGENT_FAILED", message, kind)
    assert "Traceback" in error.details["stderr"]


@pytest.mark.parametrize("kind", ["object", "nan", "surrogate", "set"])
async def test_what_cannot_be_sent_on_is_invalid_output_of_a_process_too(kind: str) -> None:
    assert (await failure(returns, kind)).reason == "OUTPUT_INVALID"


async def test_a_missing_variable_is_named_by_a_process_too() -> None:
    error = await failure(facts, "a")
    assert (error.reason, error.details["variable"]) == ("INPUT_INVALID", "lang")


@pytest.mark.parametrize(
    ("how", "reason", "details"),
    [
        ("exit", "AGENT_FAILED", {}),
        ("_exit", "PROCESS_DIED", {"exit_code": 7}),
        ("signal", "PROCESS_DIED", {"signal": "SIGSEGV"}),
        ("closed", "PROCESS_DIED", {"signal": "SIGKILL"}),
    ],
)
async def test_a_process_that_ends_without_an_answer_says_how(how: str, reason: str, details: dict[str, Any]) -> None:
    error = await failure(leaves, how)
    assert (error.reason, error.details) == (reason, details)


async def test_a_group_cannot_be_run_from_another_process() -> None:
    error = await failure(nests)
    assert error.reason == "NESTED_RUN_UNAVAILABLE"
    assert "cannot run groups" in error.message


async def test_reports_are_heard_while_the_function_runs() -> None:
    host = RecordingHost()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reports.call, call_of("", host))
        await host.both.wait()
        nursery.cancel_scope.cancel()
    assert host.reports == [{"done": 1}, "two"]


async def test_memory_is_bounded() -> None:
    assert await answer(hungry, MIB) == MIB
    error = await failure(hungry, 1024 * MIB)
    assert (error.reason, error.details["memory_bytes"]) == ("MEMORY_EXCEEDED", 512 * MIB)


async def test_processor_time_within_the_bound_is_fine_and_no_core_is_dumped() -> None:
    assert await answer(busy, "stops") == [0, 0]


@pytest.mark.parametrize("how", ["goes on", "ignores"])
async def test_a_process_that_uses_more_is_killed(how: str) -> None:
    error = await failure(busy, how)
    assert (error.reason, error.details["cpu_seconds"]) == ("CPU_EXCEEDED", 0.2)


@pytest.mark.parametrize(("fn", "said"), [(plain, "ba"), (Namespace.double, "abab")])
async def test_a_function_that_is_not_decorated_is_found_too(fn: Callable[[str], str], said: str) -> None:
    assert await answer(FunctionAgent(fn, isolation="process"), "ab") == said


def test_functions_that_another_process_cannot_find_are_refused() -> None:
    def inner() -> None: ...

    class Thing:
        def method(self) -> None: ...

        def __call__(self) -> None: ...

    for fn in (lambda: None, inner, Thing().method, Thing()):
        with pytest.raises(ValueError, match="move it to the top level of a module"):
            FunctionAgent(fn, name="fn", isolation="process")


async def test_a_function_that_has_gone_fails_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "__qualname__", "gone")
    error = await failure(FunctionAgent(plain, isolation="process"))
    assert error.reason == "FUNCTION_NOT_LOADED"
    assert "gone" in error.message


async def test_a_process_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    error = await failure(facts)
    assert (error.reason, error.retryable) == ("PROCESS_NOT_STARTED", True)


SCRIPT = """
import trio
from motet.agents.function import agent
from motet.testing import make_call

@agent(isolation="process")
def fn(text: str) -> str:
    return f"{text} in {__name__}"

async def main():
    print((await fn.call(make_call("here"))).output.value)
"""


def program(*arguments: str, cwd: Path | None = None) -> tuple[str, str]:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, check=False)
    return done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [["program.py"], ["-m", "program"]])
def test_a_function_of_the_main_program_is_found(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "program.py").write_text(SCRIPT + "\nif __name__ == '__main__':\n    trio.run(main)\n")
    assert program(*arguments, cwd=tmp_path) == ("here in __mp_main__\n", "")


def test_a_main_program_that_starts_itself_on_import_is_told_how_not_to(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SCRIPT + "\ntrio.run(main)\n")
    assert "if __name__ == '__main__'" in program("program.py", cwd=tmp_path)[1]


def test_a_main_program_without_a_file_is_refused() -> None:
    assert "the main program has no file" in program("-c", SCRIPT)[1]
