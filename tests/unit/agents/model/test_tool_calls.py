"""Tool calls as models write them, and what the model is told of how they ended."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import trio

from motet import AgentError, Call, Failure, Outcome, Payload, State
from motet.agents.model.tool import ArgumentsInvalid, Tool, ToolStatus
from motet.agents.model.tool_calls import (
    MAX_ARGUMENTS_BYTES,
    MAX_RESULT_CHARS,
    invalid,
    offered,
    prepare,
    told,
    unknown,
)
from motet.model.chat import ToolSpec
from motet.testing.fakes import RecordingHost, ScriptedAgent, make_call


def a_tool(name: str = "t", **own: Any) -> Tool:
    return Tool(spec=ToolSpec(name=name), agent=ScriptedAgent(name), **own)


def ended(output: Any = None, *, reason: str = "", message: str = "m", state: State = State.FAILED) -> Outcome:
    if reason:
        return Outcome(member="t", agent="t", state=state, failure=Failure(reason, message))
    return Outcome(member="t", agent="t", state=State.SUCCEEDED, output=Payload.of(output))


def test_arguments_that_fit_are_kept_to_the_letter() -> None:
    document = ' {"n": 0.1000000000000000000001, "n2": 12345678901234567890} '
    assert prepare(a_tool(), document) == Payload("json", document.strip())


def test_no_arguments_are_an_empty_object() -> None:
    assert prepare(a_tool(), "") == prepare(a_tool(), " \n") == Payload("json", "{}")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "not JSON"),
        ("city=Faro", "not JSON"),
        ("[1]", "JSON object, not list"),
        ("null", "JSON object, not NoneType"),
        ('{"n": NaN}', "NaN"),
        ('{"n": -Infinity}', "Infinity"),
        ('{"a": {"b": 1, "b": 2}}', "'b' stands twice"),
        ('{"a": "\\ud800"}', "Unicode"),
        ('{"a": "' + "\ud800" + '"}', "Unicode"),
        ('{"a": ' + "[" * 64 + "]" * 64 + "}", "deeper than 64"),
        ('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}", "deep"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ('{"a": "' + "x" * MAX_ARGUMENTS_BYTES + '"}', "the most is 1048576"),
    ],
    ids=lambda value: value[:12],
)
def test_arguments_that_are_no_usable_json_are_refused(document: str, said: str) -> None:
    with pytest.raises(ArgumentsInvalid, match=said) as caught:
        prepare(a_tool(), document)
    assert str(caught.value).startswith("the arguments of t ")
    assert len(str(caught.value)) < 500


def test_arguments_of_the_greatest_depth_are_taken() -> None:
    document = '{"a": ' + "[" * 63 + "]" * 63 + "}"
    assert prepare(a_tool(), document).text == document


def test_a_check_changes_or_refuses_the_arguments() -> None:
    def check(arguments: Mapping[str, Any], /) -> Mapping[str, Any]:
        if "bad" in arguments:
            raise KeyError("bad")
        return {**arguments, "more": 1}

    tool = a_tool(check=check)
    assert prepare(tool, '{"a":2}').json() == {"a": 2, "more": 1}
    with pytest.raises(ArgumentsInvalid, match="could not be checked"):
        prepare(tool, '{"bad":2}')


def test_the_agents_input_is_what_the_tool_makes_of_the_arguments() -> None:
    tool = a_tool(as_input=lambda arguments: Payload.of(arguments["input"]))
    assert prepare(tool, '{"input":"hello"}') == Payload.of("hello")
    with pytest.raises(ArgumentsInvalid):
        prepare(tool, "{}")


def test_the_model_reads_text_as_it_is_and_json_compact() -> None:
    assert told(a_tool(), ended("hello")) == (ToolStatus.EXECUTED, "hello")
    assert told(a_tool(), ended({"a": [1, 2]})) == (ToolStatus.EXECUTED, '{"a":[1,2]}')
    assert told(a_tool(), ended(b"caf\xc3\xa9")) == (ToolStatus.EXECUTED, "caf\u00e9")
    assert json.loads(told(a_tool(), ended(b"\xff\xfe"))[1])["bytes"] == 2


@pytest.mark.parametrize(
    ("state", "reason", "status"),
    [
        (State.FAILED, "NO_SUCH_CITY", ToolStatus.FAILED),
        (State.TIMED_OUT, "DEADLINE_EXCEEDED", ToolStatus.TIMED_OUT),
        (State.SKIPPED, "DEADLINE_EXCEEDED", ToolStatus.TIMED_OUT),
        (State.SKIPPED, "CIRCUIT_OPEN", ToolStatus.FAILED),
        (State.CANCELLED, "CANCELLED", ToolStatus.FAILED),
    ],
)
def test_the_model_reads_why_there_is_no_result(state: State, reason: str, status: ToolStatus) -> None:
    found, text = told(a_tool(), ended(reason=reason, message="why", state=state))
    assert found is status
    assert json.loads(text) == {"error": reason, "message": "why"}


def test_a_long_result_is_cut_and_says_so() -> None:
    _, text = told(a_tool(), ended("x" * 250_000))
    assert len(text) == MAX_RESULT_CHARS
    assert text.endswith("[cut: the result has 250000 characters, this is its start]")
    assert told(a_tool(), ended("x" * MAX_RESULT_CHARS))[1] == "x" * MAX_RESULT_CHARS


def test_a_presentation_that_fails_does_not_lose_the_result() -> None:
    assert told(a_tool(present=lambda outcome: f"<{outcome.output.text}>"), ended("a"))[1] == "<a>"
    assert told(a_tool(present=lambda outcome: outcome.nothing), ended("a"))[1] == "a"
    assert told(a_tool(present=lambda _: 7), ended("a"))[1] == "a"
    assert told(a_tool(present=lambda _: "a\ud800"), ended("a"))[1] == "a?"


def test_an_unknown_tool_is_answered_with_those_near_it() -> None:
    tools = [a_tool("get_weather"), a_tool("get_news")]
    assert "did you mean get_weather" in json.loads(unknown("get_wether", tools))["message"]
    assert "the tools are get_weather, get_news" in unknown("zzz", tools)
    assert "no tools are offered" in unknown("zzz", [])
    assert "50" not in unknown("x" * 100_000 + "\ud800", tools)
    assert len(unknown("x" * 100_000 + "\ud800", tools)) < 500


def test_wrong_arguments_are_told_as_json() -> None:
    assert json.loads(invalid(ArgumentsInvalid("no"))) == {"error": "VALIDATION_ERROR", "message": "no"}


class Source:
    def __init__(self, *names: str, error: Exception | None = None, delay: float = 0.0) -> None:
        self.names, self.error, self.delay = names, error, delay

    async def tools(self, call: Call, /) -> Sequence[Tool]:
        await trio.sleep(self.delay)
        if self.error is not None:
            raise self.error
        return [a_tool(name) for name in self.names]


def names(tools: Sequence[Tool]) -> list[str]:
    return [tool.spec.name for tool in tools]


async def test_sources_are_asked_together_and_keep_their_places(autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    found = await offered([a_tool("a"), Source("b", "c", delay=3), a_tool("d"), Source("e", delay=2)], make_call())
    assert names(found) == ["a", "b", "c", "d", "e"]
    assert trio.current_time() - start == 3


async def test_only_enabled_tools_are_offered() -> None:
    async def later(call: Call) -> bool:
        await trio.lowlevel.checkpoint()
        return call.member == "member"

    found = await offered(
        [a_tool("a", enabled=lambda _: False), a_tool("b", enabled=later), a_tool("c", enabled=lambda _: True)],
        make_call(),
    )
    assert names(found) == ["b", "c"]


async def test_a_tool_whose_condition_fails_is_left_out_and_reported() -> None:
    def broken(call: Call) -> bool:
        raise ValueError("no flag")

    host = RecordingHost()
    assert names(await offered([a_tool("a", enabled=broken), a_tool("b")], make_call(host=host))) == ["b"]
    assert [report.json() for report in host.reports] == [{"tool": "a", "disabled": "ValueError: no flag"}]


async def test_a_source_that_cannot_tell_fails_the_call_with_its_reason(autojump_clock: trio.testing.MockClock) -> None:
    lost = AgentError("gone", reason="TOOL_SERVER_LOST", retryable=True)
    with pytest.raises(AgentError, match="gone") as caught:
        await offered([Source("a", delay=100), Source(error=lost)], make_call())
    assert caught.value is lost
    assert trio.current_time() < 50
    with pytest.raises(AgentError, match="KeyError") as other:
        await offered([Source(error=KeyError("x"))], make_call())
    assert other.value.reason == "TOOL_FAILED"
    with pytest.raises(AgentError, match="cannot name a tool"):
        await offered([Source("bad name")], make_call())


async def test_two_tools_of_one_name_are_refused_unless_one_is_off() -> None:
    with pytest.raises(AgentError, match="two tools are named 'a'"):
        await offered([a_tool("a"), Source("a")], make_call())
    assert names(await offered([a_tool("a", enabled=lambda _: False), Source("a")], make_call())) == ["a"]
