"""The mcp agent: one tool of an MCP server answers a call. Knows the server by what it asks of it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from motet.agents._card import checked
from motet.agents.mcp.convert import arguments_of
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.payload import Payload
from motet.model.rate import Breaker, Rate
from motet.ports import Call

if TYPE_CHECKING:
    from motet.agents.mcp.server import McpServer


class McpAgent:
    """Calls a tool of an MCP server. The input is a JSON object of its arguments; text will do for a tool with one string
    parameter.

    The reply is the tool's structured content as JSON, or its text, or its content blocks as JSON. Progress that the server
    tells is reported. When the call is cancelled the server is told so; nothing says whether it obeyed. Failures:
    TOOL_FAILED in the tool's own words, TOOL_SERVER_LOST when the server is not to be had (retryable, unless the call may
    have done its work and `replay_safe` is False), OUTPUT_TOO_LARGE above 16 MiB, INPUT_INVALID, OUTPUT_INVALID.

    `timeout` None means the server's `call_timeout`. What is not named here goes on the card as it is: `AgentInfo` says
    what it means. Raises ValueError, which names the parameter, when one is wrong.
    """

    def __init__(
        self,
        name: str,
        server: "McpServer",
        tool: str,
        *,
        description: str = "",
        input_schema: Mapping[str, Any] | None = None,
        version: str = "",
        max_parallel: int | None = None,
        provider: str = "",
        timeout: float | None = None,
        replay_safe: bool | None = None,
        labels: Mapping[str, str] | None = None,
        estimated_cost_nanos: int | None = None,
        estimated_tokens: int | None = None,
        rate: Rate | None = None,
        weight: float = 1.0,
        breaker: Breaker | None = None,
    ) -> None:
        if not tool:
            raise ValueError("tool: must name a tool of the server")
        self.server = server
        self.tool = tool
        self.info = checked(
            AgentInfo(
                name=name,
                kind=AgentKind.MCP,
                description=description,
                version=version,
                input_schema=Payload.from_json(dict(input_schema)).text if input_schema is not None else "",
                max_parallel=max_parallel if max_parallel is not None else server.max_parallel,
                provider=provider,
                timeout=timeout if timeout is not None else server.call_timeout,
                replay_safe=replay_safe,
                labels=dict(labels or {}),
                estimated_cost_nanos=estimated_cost_nanos,
                estimated_tokens=estimated_tokens,
                rate=rate,
                weight=weight,
                breaker=breaker,
            )
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return {**self.server.settings, "tool": self.tool}

    async def call(self, call: Call, /) -> Reply:
        return await self.server.call_tool(call, self.tool, lambda schema: arguments_of(self.tool, call.input, schema))
