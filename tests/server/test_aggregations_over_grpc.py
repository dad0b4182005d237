"""Aggregations with options over a real socket: what they asked and spared comes back, and a request brings no code."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import trio

import motet
import motet_server
from motet.agents.function import FunctionAgent
from motet.catalog import Catalog
from motet.model.plan import Aggregation
from motet.testing.fakes import ScriptedAgent
from motet_proto.v1 import catalog_service_pb2, plan_pb2, run_pb2
from motet_proto.v1.catalog_service_pb2_grpc import CatalogServiceStub
from motet_proto.v1.run_service_pb2 import RunRequest
from motet_proto.v1.run_service_pb2_grpc import RunServiceStub

MEMBERS = [plan_pb2.Member(agent="echo", name="a"), plan_pb2.Member(agent="echo", name="b")]


def upper(text: str) -> str:
    return text.upper()


def make_catalog() -> Catalog:
    catalog = Catalog()
    catalog.add(
        ScriptedAgent("echo", reply=lambda call: call.input),
        ScriptedAgent("writer", reply=lambda call: f"{len(call.value['answers'])} answers"),
        FunctionAgent(upper, name="priced", estimated_cost_nanos=2_100_000),
    )
    catalog.function(name="size")(len)
    held = {"agent": FunctionAgent(upper, name="judge"), "function": len}
    catalog.group("python", ["echo"], aggregation=Aggregation("summarize", held))
    catalog.add_preset("sized", "vote", {"function": len})
    return catalog


@asynccontextmanager
async def opened() -> AsyncIterator[grpc.Channel]:
    async with (
        motet.open_engine(make_catalog()) as engine,
        motet_server.serve(engine, "127.0.0.1:0") as server,
    ):
        with grpc.insecure_channel(server.address) as channel:
            yield channel


async def in_thread(work: Callable[..., Any], request: Any) -> Any:
    return await trio.to_thread.run_sync(work, request, abandon_on_cancel=True)


def request(rule: str, members: list[plan_pb2.Member] | None = None, text: str = "hi", **options: Any) -> RunRequest:
    aggregation = plan_pb2.Aggregation(name=rule)
    aggregation.options.update(options)
    group = plan_pb2.Group(name="g", members=members or MEMBERS, aggregation=aggregation, max_parallel=1)
    made = RunRequest(plan=plan_pb2.Plan(group=group))
    made.input.text = text
    return made


async def run(asked: RunRequest) -> run_pb2.RunResult:
    async with opened() as channel:
        answer = await in_thread(RunServiceStub(channel).Run, asked)
    result: run_pb2.RunResult = answer.result
    return result


async def test_what_an_aggregation_asked_comes_back_with_the_result() -> None:
    result = await run(request("summarize", agent="writer"))
    assert result.output.text == "2 answers"
    [asked] = result.groups[0].asked
    assert (asked.name, asked.parent, asked.outcomes[0].agent) == ("summary", "g/@", "writer")
    assert not result.groups[0].HasField("saved")


async def test_what_an_early_decision_spared_comes_back_with_the_result() -> None:
    members = [*MEMBERS[:1], plan_pb2.Member(agent="priced", replicas=2), plan_pb2.Member(agent="echo", name="z")]
    group = (await run(request("first", members))).groups[0]
    saved = group.saved
    assert group.decided_early
    assert (saved.members, saved.calls, saved.cost_nanos, saved.unpriced_calls) == (3, 3, 4_200_000, 1)


async def test_options_of_a_request_may_name_a_function_or_a_preset_of_the_catalog() -> None:
    assert json.loads((await run(request("vote", function="size"))).output.json)["answer"] == 2
    assert json.loads((await run(request("sized"))).output.json)["answer"] == 2


@pytest.mark.parametrize("code", ["json:dumps", "os.path:join", "len", "rules.py:size", "lambda x: x"])
@pytest.mark.parametrize("rule", ["vote", "custom", "best"])
async def test_a_request_brings_no_code(rule: str, code: str) -> None:
    options = {"score": {"function": code}} if rule == "best" else {"function": code}
    async with opened() as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await in_thread(RunServiceStub(channel).Run, request(rule, **options))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "function" in caught.value.details()


@pytest.mark.parametrize(
    ("rule", "options", "said"),
    [
        ("vote", {"minimum_share": 2}, "minimum_share: must be 1"),
        ("vote", {"tie": "error"}, "tie: is not an option"),
        ("custom", {"expression": "total +"}, "expression: "),
        ("summarize", {"agent": "nobody"}, "there is no agent 'nobody'"),
    ],
)
async def test_wrong_options_are_refused_by_name_before_anything_starts(
    rule: str, options: dict[str, Any], said: str
) -> None:
    async with opened() as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await in_thread(RunServiceStub(channel).Run, request(rule, **options))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert said in caught.value.details()


async def test_a_catalog_made_in_python_is_listed_with_the_names_of_its_agents_and_functions() -> None:
    async with opened() as channel:
        catalog = CatalogServiceStub(channel)
        groups = (await in_thread(catalog.ListGroups, catalog_service_pb2.ListGroupsRequest())).groups
        rules = (await in_thread(catalog.ListAggregations, catalog_service_pb2.ListAggregationsRequest())).aggregations
        agents = (await in_thread(catalog.ListAgents, catalog_service_pb2.ListAgentsRequest())).agents
    assert dict(groups[0].group.aggregation.options) == {"agent": "judge", "function": "len"}
    listed = {rule.name: rule for rule in rules}
    assert (listed["sized"].options_schema, listed["sized"].decides_early) == ("", True)
    assert listed["sized"].description == listed["vote"].description
    assert "minimum_share" in json.loads(listed["vote"].options_schema)["properties"]
    assert {agent.name: agent.estimated_cost_nanos for agent in agents}["priced"] == 2_100_000


async def test_a_server_may_take_no_expressions_from_callers() -> None:
    options = motet_server.ServerOptions(expressions=False)
    rule = plan_pb2.Aggregation(name="vote")
    rule.options.update({"expression": "output"})
    plan = plan_pb2.Plan(group=plan_pb2.Group(name="g", members=MEMBERS, aggregation=rule))
    async with (
        motet.open_engine(make_catalog()) as engine,
        motet_server.serve(engine, "127.0.0.1:0", options=options) as server,
    ):
        with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError) as raised:
            await trio.to_thread.run_sync(RunServiceStub(channel).Run, RunRequest(plan=plan))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "takes no expressions from callers" in raised.value.details()
