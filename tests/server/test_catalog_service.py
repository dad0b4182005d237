"""CatalogService over a real socket: what the engine knows, sorted by name."""

import json
from typing import Any

import grpc

from motet_proto.v1 import catalog_service_pb2 as pb

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
