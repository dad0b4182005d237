"""HTTP services and commands as tools."""

import json
import sys
from typing import Any

import pytest
from pydantic import BaseModel

import motet
from motet import Group, Member, Outcome
from motet.agents.model.tool import ArgumentsInvalid, Tool
from motet.agents.model.tool_calls import prepare, told
from motet.agents.model.tool_services import command_tool, http_tool
from motet.testing.fakes import make_call

CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}
SHOW = [sys.executable, "-c", "import json, sys; print(json.dumps([sys.argv[1:], sys.stdin.read()]))"]


async def used(one: Tool, arguments: object) -> Outcome:
    """What becomes of a call, as a model agent makes it."""
    async with motet.open_engine() as engine:
        given = prepare(one, json.dumps(arguments))
        group = Group("tools_1", [Member(one.agent, input=given, timeout=one.timeout)])
        return (await engine.run(group))["tools_1"].outcomes[0]


def request_of(one: Tool, arguments: object) -> tuple[str, dict[str, str], bytes | None]:
    found: tuple[str, dict[str, str], bytes | None] = one.agent._request(make_call(arguments))  # type: ignore[attr-defined]
    return found


async def test_arguments_go_to_the_path_and_the_rest_to_the_body(peer: Any) -> None:
    one = http_tool("weather", f"{peer.url}/v1/{{city}}/days", description="d", parameters=CITY, headers={"x-own": "1"})
    assert one.spec.parameters == CITY
    outcome = await used(one, {"city": "S\u00e3o Paulo?#&", "days": 3})
    await one.agent.aclose()  # type: ignore[attr-defined]
    assert outcome.failure is None
    seen = peer.requests[0]
    assert seen.target == "/agent/v1/S%C3%A3o%20Paulo%3F%23%26/days"
    assert json.loads(seen.body) == {"days": 3}
    assert json.loads(told(one, outcome)[1]) == {"days": 3}


async def test_a_refusal_of_the_service_is_told_with_what_it_said(peer: Any) -> None:
    async def refuse(exchange: Any) -> None:
        await exchange.answer(422, b"city is unknown")

    peer.handler = refuse
    one = http_tool("weather", peer.url, description="d", parameters=CITY)
    outcome = await used(one, {"city": "X"})
    await one.agent.aclose()  # type: ignore[attr-defined]
    said = json.loads(told(one, outcome)[1])
    assert said["error"] == "HTTP_STATUS"
    assert said["body"] == "city is unknown"


async def test_a_command_that_failed_is_told_with_what_it_wrote() -> None:
    argv = [sys.executable, "-c", "import sys; sys.exit('no such city')", "--city={city}"]
    one = command_tool("show", argv, description="d", parameters={"properties": {"city": {}}})
    said = json.loads(told(one, await used(one, {"city": "X"}))[1])
    assert said["error"] == "COMMAND_FAILED"
    assert said["stderr"].strip() == "no such city"
    assert told(one, await used(command_tool("t", SHOW, description="d", parameters={}), {}))[1].startswith("[[]")


def test_a_get_has_its_arguments_in_the_query() -> None:
    schema = {"properties": {"q": {"type": "string"}, "tag": {"type": "array"}, "deep": {"type": "boolean"}, "n": {}}}
    one = http_tool("find", "https://x.example/find?key=1", description="d", parameters=schema, method="GET")
    url, headers, content = request_of(one, {"q": "a&b=c", "tag": ["x", 2], "deep": True, "n": None})
    assert url == "https://x.example/find?key=1&q=a%26b%3Dc&tag=x&tag=2&deep=true"
    assert content is None
    assert "content-type" not in headers
    assert request_of(one, {})[0] == "https://x.example/find?key=1"


def test_a_body_without_places_is_the_arguments_to_the_letter() -> None:
    class Numbers(BaseModel):
        n: float = 0.5

    one = http_tool("n", "https://x.example/n", description="d", parameters=Numbers)
    assert prepare(one, "{}").json() == {"n": 0.5}
    assert request_of(one, {"n": 1})[2] == b'{"n":1}'


@pytest.mark.parametrize("city", ["", ".", "..", "a/b", "..\\x", "a\0b", "a\nb"])
def test_a_value_stays_one_segment_of_the_path(city: str) -> None:
    one = http_tool("weather", "https://x.example/v1/{city}", description="d", parameters=CITY)
    with pytest.raises(ArgumentsInvalid, match="one segment of a path"):
        prepare(one, json.dumps({"city": city}))


def test_places_that_a_path_cannot_have_are_refused() -> None:
    for url, said in (
        ("https://{city}.example/", "path only"),
        ("https://x.example/?q={city}", "path only"),
        ("https://x.example/{city", "path only"),
        ("https://x.example/{other}", "not one of the parameters"),
        ("https://x.example/{days}", "must be required"),
        ("ftp://x.example/", "http"),
    ):
        with pytest.raises(ValueError, match=said):
            http_tool("weather", url, description="d", parameters=CITY)


async def test_a_command_gets_its_arguments_and_no_shell() -> None:
    schema = {
        "properties": {
            "pattern": {"type": "string"},
            "max": {"type": "integer"},
            "paths": {"type": "array", "items": {"type": "string"}},
            "deep": {"type": "boolean"},
        },
        "required": ["pattern"],
    }
    argv = [*SHOW, "--max={max}", "--deep={deep}", "--", "{pattern}", "{paths}"]
    one = command_tool("grep", argv, description="d", parameters=schema, output="json", timeout=20)
    outcome = await used(one, {"pattern": "-v; $(id) `id` *", "paths": ["a b", "c"], "max": 3})
    assert outcome.output.json() == [["--max=3", "--", "-v; $(id) `id` *", "a b", "c"], ""]
    assert (await used(one, {"pattern": "x", "deep": True})).output.json() == [["--deep=true", "--", "x"], ""]


async def test_a_command_may_get_the_rest_on_standard_input() -> None:
    one = command_tool("show", [*SHOW, "in-{city}"], description="d", parameters=CITY, stdin=True, output="json")
    shown = (await used(one, {"city": "Faro", "days": 3})).output.json()
    assert shown == [["in-Faro"], '{"days":3}']
    whole = command_tool("show", SHOW, description="d", parameters=CITY, stdin=True, output="json")
    assert json.loads((await used(whole, {"city": "Faro"})).output.json()[1]) == {"city": "Faro"}


async def test_a_parameter_may_be_named_input() -> None:
    schema = {"properties": {"input": {"type": "string"}}, "required": ["input"]}
    one = command_tool("show", [*SHOW, "{input}"], description="d", parameters=schema, output="json")
    assert (await used(one, {"input": "x"})).output.json() == [["x"], ""]


def test_a_value_is_never_an_option() -> None:
    schema = {"properties": {"path": {"type": "string"}, "more": {"type": "array"}}, "required": ["path"]}
    one = command_tool("ls", ["ls", "{path}", "{more}"], description="d", parameters=schema)
    for wrong in ({"path": "--all"}, {"path": "x", "more": ["ok", "-R"]}, {"path": "a\0b"}, {"path": "x" * 200_000}):
        with pytest.raises(ArgumentsInvalid):
            prepare(one, json.dumps(wrong))


def test_argvs_that_would_go_wrong_are_refused() -> None:
    for argv, said in (
        (["ls", "{nowhere}"], "not one of the parameters"),
        (["ls", "--city={city}"], "days would be asked for and not used"),
        (["ls", "{city}", "--days", "{days}"], "--days={days}"),
        (["{city}", "{days}"], "must name a program"),
    ):
        with pytest.raises(ValueError, match=said):
            command_tool("ls", argv, description="d", parameters=CITY)


async def test_an_agent_of_a_service_refuses_what_is_no_object() -> None:
    one = command_tool("show", [*SHOW, "{city}"], description="d", parameters={"properties": {"city": {}}})
    async with motet.open_engine() as engine:
        result = await engine.run(Group("g", [one.agent]), "text")
    assert result["g"].outcomes[0].failure.reason == "INPUT_INVALID"
