"""Python functions as tools."""

import dataclasses
import json
import os
from datetime import UTC, date, datetime
from typing import Any, ClassVar

import pytest
import trio
from pydantic import BaseModel

import motet
from motet import AgentError, Call, Group, Member, Outcome, Payload, Reply, Usage
from motet.agents.model.tool import ArgumentsInvalid, Tool, ToolSource
from motet.agents.model.tool_calls import prepare, told
from motet.agents.model.tool_function import FunctionTool, tool
from motet.agents.model.tool_of import tools_of
from motet.model.chat import ToolSpec
from motet.testing.contracts_agent import AgentContract
from motet.testing.fakes import ScriptedAgent


async def used(one: Tool, arguments: object) -> Outcome:
    """What becomes of a call, as a model agent makes it."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    async with motet.open_engine() as engine:
        group = Group("tools_1", [Member(one.agent, input=prepare(one, text), timeout=one.timeout)])
        return (await engine.run(group))["tools_1"].outcomes[0]


class Report(BaseModel):
    day: date
    tags: set[str]


@dataclasses.dataclass
class Stamp:
    at: datetime
    raw: bytes = b"x"


@tool
async def forecast(city: str, days: int = 3) -> dict[str, Any]:
    """The weather.

    Args:
        city: Where.
    """
    return {"city": city, "days": days}


@tool(isolation="process", description="Adds.")
def elsewhere(numbers: list[int], call: Call) -> dict[str, int]:
    call.spend(Usage(calls=1, input_tokens=7))
    return {"sum": sum(numbers), "pid": os.getpid()}


def plain_elsewhere(day: date) -> Report:
    return Report(day=day, tags={"a"})


async def async_elsewhere(n: int) -> int:
    await trio.lowlevel.checkpoint()
    return n + 1


async def test_a_function_is_called_with_its_arguments() -> None:
    assert forecast.spec.name == "forecast"
    assert forecast.spec.description == "The weather."
    assert forecast.spec.parameters["properties"]["city"]["description"] == "Where."
    assert forecast.agent.info.name == "forecast"
    outcome = await used(forecast, {"city": "Faro", "days": "2"})
    assert outcome.output.json() == {"city": "Faro", "days": 2}


async def test_a_decorated_function_can_still_be_called() -> None:
    assert await forecast("Faro") == {"city": "Faro", "days": 3}


async def test_a_blocking_function_runs_in_a_thread_and_may_report() -> None:
    loop = trio.lowlevel.current_trio_token()

    @tool(timeout=5, replay_safe=True, max_parallel=2)
    def work(n: int, call: Call) -> str:
        call.report({"half": n})
        with pytest.raises(RuntimeError):
            trio.lowlevel.current_trio_token()
        assert loop is not None
        return call.member

    assert work.timeout == 5
    assert (work.agent.info.replay_safe, work.agent.info.max_parallel) == (True, 2)
    assert (await used(work, {"n": 1})).output.text == "work"


async def test_a_function_in_a_process_gets_its_types_and_the_call() -> None:
    outcome = await used(elsewhere, {"numbers": [1, 2, "3"]})
    assert outcome.output.json()["sum"] == 6
    assert outcome.output.json()["pid"] != os.getpid()
    assert outcome.usage.input_tokens == 7


async def test_plain_functions_run_in_a_process_too() -> None:
    outcome = await used(tool(plain_elsewhere, isolation="process"), {"day": "2026-02-03"})
    assert outcome.output.json() == {"day": "2026-02-03", "tags": ["a"]}
    assert (await used(tool(async_elsewhere, isolation="process"), {"n": 1})).output.json() == 2


def test_a_function_that_no_process_finds_is_refused() -> None:
    def inner(n: int) -> int:
        return n

    with pytest.raises(ValueError, match="top level"):
        tool(inner, isolation="process")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (None, "null"),
        (3, "3"),
        (b"data", "data"),
        (Payload.from_json({"a": 1}), '{"a":1}'),
        (Reply(Payload.of("r")), "r"),
        (Report(day=date(2026, 1, 2), tags={"t"}), '{"day":"2026-01-02","tags":["t"]}'),
        (Stamp(datetime(2026, 1, 2, tzinfo=UTC)), '{"at":"2026-01-02T00:00:00Z","raw":"x"}'),
        ([date(2026, 1, 2)], '["2026-01-02"]'),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_result_is_whatever_has_a_form(value: object, text: str) -> None:
    async def give() -> object:
        return value

    one = tool(give)
    outcome = await used(one, "")
    assert outcome.failure is None
    assert told(one, outcome)[1] == text


async def test_a_result_without_a_form_fails_the_call() -> None:
    async def odd() -> object:
        return {"f": object()}

    async def nan() -> float:
        return float("nan")

    for fn in (odd, nan):
        assert (await used(tool(fn), "")).failure.reason == "OUTPUT_INVALID"


async def test_a_tool_says_why_it_failed() -> None:
    @tool
    async def find(city: str) -> str:
        raise AgentError(f"no city {city}", reason="NO_SUCH_CITY")

    outcome = await used(find, {"city": "X"})
    assert json.loads(told(find, outcome)[1]) == {"error": "NO_SUCH_CITY", "message": "no city X"}


async def test_an_agent_of_a_tool_refuses_arguments_that_nobody_checked() -> None:
    async with motet.open_engine() as engine:
        result = await engine.run(Group("g", [Member(forecast.agent, input=Payload.of({"days": 1}))]))
    assert result["g"].outcomes[0].failure.reason == "INPUT_INVALID"


def test_wrong_options_are_refused_where_the_tool_is_made() -> None:
    async def fn(n: int) -> int:
        return n

    with pytest.raises(ValueError, match="cannot name a tool"):
        tool(fn, name="no spaces")
    with pytest.raises(ValueError, match="cannot name a tool"):
        tool(lambda n: n)
    with pytest.raises(ValueError, match="timeout"):
        tool(fn, timeout=-1)
    with pytest.raises(ValueError, match="async"):
        tool(fn, isolation="thread")
    with pytest.raises(TypeError, match="function"):
        tool(forecast)


def test_tools_with_the_same_function_are_told_apart_by_it() -> None:
    assert forecast.agent.settings["function"].endswith(":forecast")  # type: ignore[attr-defined]
    assert elsewhere.agent.settings["function"].endswith(":elsewhere")  # type: ignore[attr-defined]


def test_everything_that_can_be_a_tool_is_made_one() -> None:
    def fn(n: int) -> int:
        return n

    class Server:
        async def tools(self, call: Call, /) -> list[Tool]:
            return []

    server = Server()
    asked = ScriptedAgent("team.alpha:1")
    made = tools_of([fn, forecast, asked, Group("panel", [asked]), server])
    assert isinstance(made[0], FunctionTool)
    assert made[1] is forecast
    assert isinstance(made[4], ToolSource)
    assert made[4] is server
    assert [one.spec.name for one in made[:4]] == ["fn", "forecast", "team_alpha_1", "panel"]  # type: ignore[union-attr]


def test_what_cannot_be_a_tool_is_refused_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"tools\[1\]: int cannot be a tool"):
        tools_of([forecast, 7])
    with pytest.raises(ValueError, match=r"tools\[0\] and tools\[1\] are both named 'forecast'"):
        tools_of([forecast, forecast])
    with pytest.raises(ValueError, match=r"tools\[0\]: .*give name="):
        tools_of([motet.Parallel([Group("g", ["a"])])])
    with pytest.raises(ValueError, match=r"tools\[0\]: 'x y'"):
        tools_of([Tool(spec=ToolSpec(name="x y"), agent=forecast.agent)])
    with pytest.raises(TypeError, match="list"):
        tools_of("forecast")


def test_arguments_are_refused_before_anything_starts() -> None:
    with pytest.raises(ArgumentsInvalid, match="city: is required"):
        prepare(forecast, "{}")


@tool
async def answer(seconds: float = 0.0) -> str:
    await trio.sleep(seconds)
    return "done"


class TestFunctionToolAgent(AgentContract):
    input: ClassVar[object] = Payload("json", "{}")

    def make_agent(self) -> motet.Agent:
        return answer.agent

    def make_slow_agent(self) -> motet.Agent:
        async def wait() -> None:
            await trio.sleep_forever()

        return tool(wait, name="wait").agent
