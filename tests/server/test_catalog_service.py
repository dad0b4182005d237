"""CatalogService over a real socket: what the engine knows, sorted by name."""

import json
from typing import Any

import grpc
import trio

import motet
import motet_server
from motet.catalog import Catalog
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.plan import Group, HedgePolicy, Idempotency, Limits, Member, RetryPolicy
from motet.model.rate import Breaker, Rate
from motet.ports import Call
from motet_proto.v1 import catalog_service_pb2 as pb
from motet_proto.v1.catalog_service_pb2_grpc import CatalogServiceStub

Code = grpc.StatusCode


async def test_agents_are_listed_by_name_and_found_by_it(rig: Any) -> None:
    agents = (await rig.thread(rig.catalog.ListAgents, pb.ListAgentsRequest())).agents
    names = [agent.name for agent in agents]
    assert names == sorted(rig.engine.catalog.agents)
    found = (await rig.thread(rig.catalog.GetAgent, pb.GetAgentRequest(name="echo"))).agent
    assert found == agents[names.index("echo")]
    assert found.kind == pb.AGENT_KIND_FUNCTION


async def test_groups_are_listed_by_name_and_found_by_it_as_they_would_run(rig: Any) -> None:
    groups = (await rig.thread(rig.catalog.ListGroups, pb.ListGroupsRequest())).groups
    assert [info.group.name for info in groups] == sorted(rig.engine.catalog.groups)
    found = (await rig.thread(rig.catalog.GetGroup, pb.GetGroupRequest(name="pair"))).group
    assert found.description == "Says it twice."
    assert [member.agent for member in found.group.members] == ["echo", "upper"]
    assert found.group.aggregation.name == "combine"


async def test_aggregations_are_listed_by_name_with_their_options(rig: Any) -> None:
    rules = (await rig.thread(rig.catalog.ListAggregations, pb.ListAggregationsRequest())).aggregations
    assert [rule.name for rule in rules] == sorted(rig.engine.catalog.aggregations)
    assert {rule.name: rule.decides_early for rule in rules}["first"]
    assert all(isinstance(json.loads(rule.options_schema), dict) for rule in rules if rule.options_schema)


async def test_what_has_no_entry_is_not_found(rig: Any) -> None:
    for method, request, reason in [
        (rig.catalog.GetAgent, pb.GetAgentRequest(name="nobody"), "AGENT_NOT_FOUND"),
        (rig.catalog.GetGroup, pb.GetGroupRequest(name="nobody"), "GROUP_NOT_FOUND"),
    ]:
        refusal = await rig.refused(method, request)
        assert (refusal.code, refusal.reason) == (Code.NOT_FOUND, reason)


async def test_an_empty_name_is_refused(rig: Any) -> None:
    refusal = await rig.refused(rig.catalog.GetAgent, pb.GetAgentRequest())
    assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, {"name": "must not be empty"})


class Bounded:
    """An agent whose card says all that guards look at."""

    info = AgentInfo(
        name="bounded",
        kind=AgentKind.FUNCTION,
        replay_safe=True,
        estimated_tokens=100,
        rate=Rate(calls_per_minute=600.0, burst=5.0),
        weight=2.0,
        breaker=Breaker(failures=3, cooldown=2.5),
    )

    async def call(self, call: Call, /) -> Reply:
        return Reply(call.input)


async def test_bounds_and_policies_of_the_catalog_are_shown_as_they_hold() -> None:
    catalog = Catalog()
    catalog.add(Bounded())
    member = Member("bounded", retry=RetryPolicy(max_attempts=2), idempotency=Idempotency(key="k", ttl=60.0))
    limits = Limits(max_cost_nanos=5, max_duration=1.5, min_successes=1, skip_infeasible=True)
    catalog.add_group(
        Group("g", [member], limits=limits, hedge=HedgePolicy(delay=0.25), idempotency=Idempotency()), "Bounded."
    )
    async with motet.open_engine(catalog) as engine, motet_server.serve(engine, "127.0.0.1:0") as server:
        with grpc.insecure_channel(server.address) as channel:
            stub = CatalogServiceStub(channel)
            agent = (await trio.to_thread.run_sync(stub.GetAgent, pb.GetAgentRequest(name="bounded"))).agent
            group = (await trio.to_thread.run_sync(stub.GetGroup, pb.GetGroupRequest(name="g"))).group.group
    assert (agent.replay_safe, agent.estimated_tokens, agent.weight) == (True, 100, 2.0)
    assert (agent.rate.calls_per_minute, agent.rate.burst, agent.rate.HasField("calls_per_second")) == (600, 5, False)
    assert (agent.breaker.failures, agent.breaker.cooldown.ToMilliseconds(), agent.breaker.probes) == (3, 2500, 1)
    assert (group.limits.max_cost_nanos, group.limits.max_duration.ToMilliseconds()) == (5, 1500)
    assert (group.limits.min_successes, group.limits.skip_infeasible) == (1, True)
    assert (group.hedge.delay.ToMilliseconds(), group.idempotency.ttl.ToSeconds()) == (250, 3600)
    assert (group.members[0].retry.max_attempts, group.members[0].idempotency.key) == (2, "k")
    assert not group.HasField("retry")
