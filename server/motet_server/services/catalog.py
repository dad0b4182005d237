"""CatalogService: what the engine knows by name. Shows no commands, addresses, headers or keys."""

from typing import TYPE_CHECKING, cast

from motet.errors import NotFound
from motet_proto.v1 import catalog_service_pb2 as pb
from motet_server import wire_results
from motet_server.rpc import RpcContext
from motet_server.services.intake import Intake

if TYPE_CHECKING:
    from motet.catalog import Catalog
    from motet.engine.engine import Engine


class CatalogService:
    """The handlers. Lists are sorted by name."""

    def __init__(self, engine: "Engine", intake: Intake) -> None:
        # The engine itself needs to know less of a catalog than there is to show.
        self._catalog = cast("Catalog", engine.catalog)
        self._intake = intake

    async def list_agents(self, _message: pb.ListAgentsRequest, _context: RpcContext) -> pb.ListAgentsResponse:
        agents = self._catalog.agents
        return pb.ListAgentsResponse(agents=[wire_results.agent_to_pb(agents[name].info) for name in sorted(agents)])

    async def get_agent(self, message: pb.GetAgentRequest, _context: RpcContext) -> pb.GetAgentResponse:
        self._intake.check(message)
        agent = self._catalog.agents.get(message.name)
        if agent is None:
            raise NotFound(
                f"there is no agent {message.name!r} in the catalog; ListAgents names them", reason="AGENT_NOT_FOUND"
            )
        return pb.GetAgentResponse(agent=wire_results.agent_to_pb(agent.info))

    async def list_groups(self, _message: pb.ListGroupsRequest, _context: RpcContext) -> pb.ListGroupsResponse:
        groups = self._catalog.groups
        entries = (groups[name] for name in sorted(groups))
        return pb.ListGroupsResponse(
            groups=[wire_results.group_info_to_pb(entry.group, entry.description) for entry in entries]
        )

    async def get_group(self, message: pb.GetGroupRequest, _context: RpcContext) -> pb.GetGroupResponse:
        self._intake.check(message)
        entry = self._catalog.groups.get(message.name)
        if entry is None:
            raise NotFound(
                f"there is no group {message.name!r} in the catalog; ListGroups names them", reason="GROUP_NOT_FOUND"
            )
        return pb.GetGroupResponse(group=wire_results.group_info_to_pb(entry.group, entry.description))

    async def list_aggregations(
        self, _message: pb.ListAggregationsRequest, _context: RpcContext
    ) -> pb.ListAggregationsResponse:
        rules = self._catalog.aggregations
        return pb.ListAggregationsResponse(
            aggregations=[wire_results.aggregation_to_pb(rules[name]) for name in sorted(rules)]
        )
