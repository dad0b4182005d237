"""The function agent in its own process: arguments, replies, threads, options."""

import functools
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
import trio

from motet.agents.function import FunctionAgent, agent
from motet.errors import AgentError
from motet.model.agent import AgentKind, Reply
from motet.model.payload import Payload
from motet.model.plan import Group, Plan
from motet.model.usage import Usage
from motet.ports import Agent, Call

if TYPE_CHECKING:
    from decimal import Decimal


class RecordingHost:
    history: Any = ()

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.runs: list[Plan | str] = []

    def left(self, what: Any) -> None:
        return None

    def keep(self, resident: Any) -> None:
        raise AssertionError(resident)

    def report(self, call: Call, report: Payload) -> None:
        assert not call.detached
        self.reports.append(report.value)

    async def run(self, call: Call, target: Plan | str, *_: Any, **__: Any) -> Any:
        assert call.member == "m"
        await trio.lowlevel.checkpoint()
        self.runs.append(target)
        return "ran"


def call_of(
    input: object = "", host: RecordingHost | None = None, variables: Mapping[str, object] | None = None
) -> Call:
    given = {name: Payload.of(value) for name, value in (variables or {}).items()}
    return Call(Payload.of(input), host=host or RecordingHost(), variables=given, member="m")


async def answer(made: Agent, input: object = "", **variables: object) -> Any:
    return (await made.call(call_of(input, None, variables))).output.value


async def reason(made: Agent, input: object = "", **variables: object) -> AgentError:
    with pytest.raises(AgentError) as caught:
        await made.call(call_of(input, None, variables))
    return caught.value


# ------------------------------------------------------------------------------------------------- making one


def test_a_decorated_function_is_an_agent_and_still_a_function() -> None:
    @agent
    def shout(text: str) -> str:
        """Say it
        louder.

        Only the first paragraph describes it.
        """
        return text.upper()

    assert shout("a") == "A"
    assert isinstance(shout, Agent)
    assert (shout.info.name, shout.info.kind, shout.info.description) == (
        "shout",
        AgentKind.FUNCTION,
        "Say it louder.",
    )
    assert repr(shout) == "<FunctionAgent shout>"


def test_options_of_the_decorator_are_on_the_card() -> None:
    @agent(name="x.y", description="d", max_parallel=3, provider="p", timeout=2, labels={"a": "b"}, version="7")
    async def fn() -> None: ...

    info = fn.info
    assert (info.name, info.description, info.max_parallel, info.provider) == ("x.y", "d", 3, "p")
    assert (info.timeout, info.labels, info.version, info.replay_safe) == (2, {"a": "b"}, "7", None)
    assert FunctionAgent(fn.fn, name="x.y", **fn.options).info == info


def test_a_name_that_cannot_be_one_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"<lambda>.*give name="):
        FunctionAgent(lambda: None)
    with pytest.raises(ValueError, match="give name="):
        FunctionAgent(functools.partial(int), name="with space")
    assert FunctionAgent(lambda: None, name="a" * 128).info.name == "a" * 128


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"isolation": "thread"}, "is async"),
        ({"isolation": "fibre"}, "isolation must be"),
        ({"max_parallel": 0}, "max_parallel must be"),
        ({"timeout": -1}, "timeout must be"),
        ({"timeout": float("nan")}, "timeout must be"),
        ({"stop_grace": -1}, "stop_grace must be"),
        ({"memory_bytes": 1}, "memory_bytes needs isolation='process'"),
        ({"cpu_seconds": 1}, "cpu_seconds needs isolation='process'"),
        ({"isolation": "process"}, "top level of a module"),
    ],
)
def test_options_that_do_not_fit_the_function_are_refused(options: Mapping[str, Any], words: str) -> None:
    async def fn() -> None: ...

    with pytest.raises(ValueError, match=words):
        FunctionAgent(fn, **options)


def test_functions_of_unusable_shape_are_refused() -> None:
    def many(*texts: str) -> None: ...

    def generator() -> Any:
        yield 1

    with pytest.raises(ValueError, match=r"\*texts"):
        FunctionAgent(many)
    with pytest.raises(ValueError, match="generator"):
        FunctionAgent(generator)
    with pytest.raises(TypeError, match="is an agent already"):
        FunctionAgent(agent(functools.cache))
    with pytest.raises(TypeError, match="made of a function"):
        FunctionAgent("text")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------- arguments


async def test_the_annotation_of_the_first_parameter_picks_the_form_of_the_input() -> None:
    async def text(x: str) -> Any:
        return [type(x).__name__, x]

    async def data(x: bytes) -> Any:
        return [type(x).__name__, x.decode()]

    async def payload(x: Payload) -> Any:
        return [x.kind, x.content]

    async def whole(x: Call) -> Any:
        return [x.member, x.value]

    async def value(x: "list[int]") -> Any:
        return [type(x).__name__, x]

    async def plain(x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - without annotations on purpose
        return [type(x).__name__, x]

    assert await answer(FunctionAgent(text), [1]) == ["str", "[1]"]
    assert await answer(FunctionAgent(data), "a") == ["bytes", "a"]
    assert await answer(FunctionAgent(payload), {"a": 1}) == ["json", '{"a":1}']
    assert await answer(FunctionAgent(whole), "in") == ["m", "in"]
    assert await answer(FunctionAgent(value), [1]) == ["list", [1]]
    assert await answer(FunctionAgent(plain), "in") == ["str", "in"]


async def test_annotations_that_cannot_be_evaluated_do_not_get_in_the_way() -> None:
    async def fn(x: "str", price: "Decimal", c: "Call") -> Any:
        return [x, price, c.member]

    assert await answer(FunctionAgent(fn), 1, price=2) == ["1", 2, "m"]


async def test_other_parameters_are_variables_and_the_call() -> None:
    async def fn(x: str, /, lang: str, member_id: int, note: str = "none", *, call: Any, **rest: Any) -> Any:
        return [x, lang, member_id, note, call.member, rest]

    made = FunctionAgent(fn)
    assert await answer(made, "i", lang=5, member_id=2, other=[1]) == ["i", "5", 2, "none", "m", {"other": [1]}]
    assert await answer(made, "i", lang="de", member_id=2, note="n", x="v") == ["i", "de", 2, "n", "m", {}]


async def test_a_missing_variable_is_named() -> None:
    async def fn(x: str, language: str) -> str:
        return x + language

    error = await reason(FunctionAgent(fn), "a")
    assert error.reason == "INPUT_INVALID"
    assert error.details == {"variable": "language"}
    assert "'language'" in error.message


async def test_input_that_is_not_of_the_form_is_invalid() -> None:
    async def text(x: str) -> str:
        return x

    def value(x: Any) -> Any:
        return x

    assert (await reason(FunctionAgent(text), b"\xff")).reason == "INPUT_INVALID"
    with pytest.raises(AgentError) as caught:
        await FunctionAgent(value).call(Call(Payload("json", "{"), host=RecordingHost()))
    assert caught.value.reason == "INPUT_INVALID"


async def test_a_function_without_parameters_callable_objects_and_partials_work() -> None:
    class Counter:
        async def __call__(self, x: str) -> int:
            return len(x)

    def add(x: Any, by: int) -> int:
        return int(x) + by

    assert await answer(FunctionAgent(lambda: 1, name="one")) == 1
    assert await answer(FunctionAgent(Counter(), name="counter"), "abc") == 3
    assert await answer(FunctionAgent(functools.partial(add, by=2), name="add"), 1) == 3


# ------------------------------------------------------------------------------------------------- replies


async def test_a_reply_is_kept_and_values_become_payloads() -> None:
    reply = Reply(Payload.from_text("t"), Usage(calls=2), {"k": 1})

    async def whole() -> Reply:
        return reply

    async def none() -> None: ...

    async def raw() -> bytes:
        return b"\0"

    assert await FunctionAgent(whole).call(call_of()) is reply
    assert (await FunctionAgent(none).call(call_of())).output == Payload("json", "null")
    assert (await FunctionAgent(raw).call(call_of())).output == Payload("data", b"\0")


@pytest.mark.parametrize(
    "value",
    [
        object(),
        float("nan"),
        {"a": {1, 2}},
        "lone \ud800",
        ["lone \ud800"],
        Reply("text"),  # type: ignore[arg-type]
        Reply(Payload.from_text("t"), None, {"k": float("inf")}),
    ],
    ids=["object", "nan", "set", "surrogate", "surrogate in json", "reply of text", "metadata"],
)
@pytest.mark.parametrize("blocking", [False, True])
async def test_what_cannot_be_sent_on_is_invalid_output(value: object, blocking: bool) -> None:
    async def fn() -> object:
        return value

    error = await reason(FunctionAgent((lambda: value) if blocking else fn, name="fn"))
    assert error.reason == "OUTPUT_INVALID"
    error.message.encode()


async def test_deep_nesting_is_invalid_output() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert (await reason(FunctionAgent(lambda: deep, name="deep"))).reason == "OUTPUT_INVALID"


async def test_exceptions_of_the_function_pass_unchanged() -> None:
    async def fails() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        await FunctionAgent(fails).call(call_of())


# ------------------------------------------------------------------------------------------------- threads


async def test_a_blocking_function_runs_in_a_thread_and_the_loop_goes_on() -> None:
    gate = threading.Event()

    @agent
    def wait(x: str) -> Any:
        gate.wait(30)
        return [x, threading.current_thread() is threading.main_thread()]

    got: list[Any] = []

    async def ask() -> None:
        got.append(await answer(wait, "x"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(trio.to_thread.run_sync, gate.set)
    assert got == [["x", False]]
    assert wait.detached == 0


async def test_no_more_threads_run_than_max_parallel() -> None:
    running, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2, timeout=30)

    @agent(max_parallel=2)
    def count() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait()  # passes for pairs only
        with lock:
            running -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(count.call, call_of())
    assert most == 2


async def test_a_thread_uses_the_call_from_where_it_is() -> None:
    host = RecordingHost()

    @agent
    def fn(call: Call) -> Any:
        for i in range(5):
            call.report(i)
        trio.from_thread.check_cancelled()
        return [call.time_left() > 0, trio.from_thread.run(call.run, "group"), call.depth]

    reply = await fn.call(call_of("", host))
    assert reply.output.value == [True, "ran", 0]
    assert host.reports == [0, 1, 2, 3, 4]
    assert host.runs == ["group"]


async def test_threads_that_wait_for_groups_do_not_keep_out_the_groups_own() -> None:
    class Nesting(RecordingHost):
        async def run(self, *_: Any, **__: Any) -> Any:
            return (await fn.call(call_of("leaf", self))).output.value

    @agent(max_parallel=1)
    def fn(x: str, call: Call) -> Any:
        return [trio.from_thread.run(call.run, Group("g", ["fn"]))] if x == "root" else x

    assert (await fn.call(call_of("root", Nesting()))).output.value == ["leaf"]


async def test_a_run_in_another_loop_is_refused() -> None:
    @agent
    def fn(call: Call) -> Any:
        return trio.run(call.run, "group")

    with pytest.raises(RuntimeError, match=r"trio\.from_thread\.run"):
        await fn.call(call_of())


async def test_reports_without_end_keep_memory_bounded_and_the_last_arrive() -> None:
    host = RecordingHost()

    @agent
    def fn(call: Call) -> None:
        for i in range(20_000):
            call.report(i)

    await fn.call(call_of("", host))
    assert host.reports[-1] == 19_999
    assert host.reports == sorted(host.reports)


async def test_sys_exit_in_a_thread_fails_the_member_only() -> None:
    @agent
    def leave() -> None:
        raise SystemExit(3)

    error = await reason(leave)
    assert error.reason == "AGENT_FAILED"
    assert "sys.exit(3)" in error.message


async def test_a_blocking_function_that_returns_a_coroutine_is_invalid_output() -> None:
    async def inner() -> None: ...

    assert (await reason(FunctionAgent(lambda: inner(), name="outer"))).reason == "OUTPUT_INVALID"  # noqa: PLW0108 - the name is what is tested


def test_one_agent_serves_several_trio_runs() -> None:
    made = FunctionAgent(lambda: 1, name="one", max_parallel=1)
    assert [trio.run(answer, made) for _ in range(3)] == [1, 1, 1]
