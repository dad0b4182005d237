"""Motet runs a group of agents together and combines what they say: structured concurrency on trio.

The names here are the public ones. Agents, catalogs and the rest of what is not needed to start load on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from motet.app import open_engine
from motet.engine.background import Started
from motet.engine.engine import Engine
from motet.engine.mapping import MapInput, MapResult
from motet.engine.statistics import EngineStatistics
from motet.engine.stream import RunStream
from motet.errors import (
    AgentError,
    CatalogError,
    CatalogProblem,
    Exhausted,
    InvalidRequest,
    LeaseLost,
    MotetError,
    NotFound,
    RequestError,
    RequestIdReused,
    RunFailed,
    StoreFailed,
    Unavailable,
    Violation,
)
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.bounds import ProviderBounds, Quota, TenantBounds
from motet.model.event import (
    AttemptEnded,
    AttemptStarted,
    Event,
    GroupEnded,
    GroupStarted,
    MemberEnded,
    MemberProgress,
    MemberStarted,
    RunEnded,
    RunStarted,
)
from motet.model.limit_use import LimitUse
from motet.model.outcome import Attempt, AttemptKind, Failure, Outcome, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.plan import (
    Aggregation,
    Group,
    HedgePolicy,
    Idempotency,
    Limits,
    Member,
    OnBreach,
    OnFailure,
    Parallel,
    Plan,
    ReplicaOverride,
    RetryPolicy,
    Sequence,
)
from motet.model.rate import Breaker, Rate
from motet.model.result import GroupResult, RunResult, Saved, Stats
from motet.model.run import RunPage, RunQuery, RunRecord, RunRequest
from motet.model.state import State
from motet.model.usage import Usage
from motet.ports import Agent, Call

if TYPE_CHECKING:
    from motet.agents.command import CommandAgent, CommandResult
    from motet.agents.function import FunctionAgent, agent
    from motet.agents.group import GroupAgent
    from motet.agents.http import HttpAgent
    from motet.agents.mcp.agent import McpAgent
    from motet.agents.mcp.server import McpServer
    from motet.agents.model.agent import ModelAgent
    from motet.agents.model.as_tool import as_tool
    from motet.agents.model.choice import ModelChoice
    from motet.agents.model.defaults import set_default_model
    from motet.agents.model.guardrails import AgentGuardrail, Guardrail, guardrail
    from motet.agents.model.instructions import ModelState, Template
    from motet.agents.model.providers.anthropic import AnthropicProvider
    from motet.agents.model.providers.network import forbid_network
    from motet.agents.model.providers.openai import OpenAIProvider
    from motet.agents.model.providers.prices import Price
    from motet.agents.model.providers.scripted import Say, ScriptedProvider
    from motet.agents.model.tool import Tool, ToolStatus
    from motet.agents.model.tool_function import tool
    from motet.agents.model.tool_services import command_tool, http_tool
    from motet.catalog import Catalog, CatalogGroup, EngineSettings
    from motet.instrument.otel import Tracing
    from motet.model.chat import ChatReply, ChatRequest, Finish, Message, Role, Sampling, ToolCall, ToolSpec
    from motet.model.session import SessionEntry, SessionSettings, WhenBusy
    from motet.ports.provider import ChatContext, Provider
    from motet.store.memory import MemoryStore
    from motet.store.sqlite import SqliteStore

_LAZY = {
    "AgentGuardrail": "motet.agents.model.guardrails",
    "AnthropicProvider": "motet.agents.model.providers.anthropic",
    "Catalog": "motet.catalog",
    "CatalogGroup": "motet.catalog",
    "ChatContext": "motet.ports.provider",
    "ChatReply": "motet.model.chat",
    "ChatRequest": "motet.model.chat",
    "CommandAgent": "motet.agents.command",
    "CommandResult": "motet.agents.command",
    "EngineSettings": "motet.catalog",
    "Finish": "motet.model.chat",
    "FunctionAgent": "motet.agents.function",
    "GroupAgent": "motet.agents.group",
    "Guardrail": "motet.agents.model.guardrails",
    "HttpAgent": "motet.agents.http",
    "McpAgent": "motet.agents.mcp.agent",
    "McpServer": "motet.agents.mcp.server",
    "MemoryStore": "motet.store.memory",
    "Message": "motet.model.chat",
    "ModelAgent": "motet.agents.model.agent",
    "ModelChoice": "motet.agents.model.choice",
    "ModelState": "motet.agents.model.instructions",
    "OpenAIProvider": "motet.agents.model.providers.openai",
    "Price": "motet.agents.model.providers.prices",
    "Provider": "motet.ports.provider",
    "Role": "motet.model.chat",
    "Sampling": "motet.model.chat",
    "Say": "motet.agents.model.providers.scripted",
    "ScriptedProvider": "motet.agents.model.providers.scripted",
    "SessionEntry": "motet.model.session",
    "SessionSettings": "motet.model.session",
    "SqliteStore": "motet.store.sqlite",
    "Template": "motet.agents.model.instructions",
    "Tool": "motet.agents.model.tool",
    "ToolCall": "motet.model.chat",
    "ToolSpec": "motet.model.chat",
    "ToolStatus": "motet.agents.model.tool",
    "Tracing": "motet.instrument.otel",
    "WhenBusy": "motet.model.session",
    "agent": "motet.agents.function",
    "as_tool": "motet.agents.model.as_tool",
    "command_tool": "motet.agents.model.tool_services",
    "forbid_network": "motet.agents.model.providers.network",
    "guardrail": "motet.agents.model.guardrails",
    "http_tool": "motet.agents.model.tool_services",
    "set_default_model": "motet.agents.model.defaults",
    "tool": "motet.agents.model.tool_function",
}

__all__ = [
    "Agent",
    "AgentError",
    "AgentGuardrail",
    "AgentInfo",
    "AgentKind",
    "Aggregation",
    "AnthropicProvider",
    "Attempt",
    "AttemptEnded",
    "AttemptKind",
    "AttemptStarted",
    "Breaker",
    "Call",
    "Catalog",
    "CatalogError",
    "CatalogGroup",
    "CatalogProblem",
    "ChatContext",
    "ChatReply",
    "ChatRequest",
    "CommandAgent",
    "CommandResult",
    "Engine",
    "EngineSettings",
    "EngineStatistics",
    "Event",
    "Exhausted",
    "Failure",
    "Finish",
    "FunctionAgent",
    "Group",
    "GroupAgent",
    "GroupEnded",
    "GroupResult",
    "GroupStarted",
    "Guardrail",
    "HedgePolicy",
    "HttpAgent",
    "Idempotency",
    "InvalidRequest",
    "LeaseLost",
    "LimitUse",
    "Limits",
    "MapInput",
    "MapResult",
    "McpAgent",
    "McpServer",
    "Member",
    "MemberEnded",
    "MemberProgress",
    "MemberStarted",
    "MemoryStore",
    "Message",
    "ModelAgent",
    "ModelChoice",
    "ModelState",
    "MotetError",
    "NotFound",
    "OnBreach",
    "OnFailure",
    "OpenAIProvider",
    "Outcome",
    "Parallel",
    "Payload",
    "Plan",
    "Price",
    "Provider",
    "ProviderBounds",
    "Quota",
    "Rate",
    "ReplicaOverride",
    "Reply",
    "RequestError",
    "RequestIdReused",
    "RetryPolicy",
    "Role",
    "RunEnded",
    "RunFailed",
    "RunPage",
    "RunQuery",
    "RunRecord",
    "RunRequest",
    "RunResult",
    "RunStarted",
    "RunStream",
    "Sampling",
    "Saved",
    "Say",
    "ScriptedProvider",
    "Sequence",
    "SessionEntry",
    "SessionSettings",
    "SqliteStore",
    "Started",
    "State",
    "Stats",
    "StopKind",
    "StopReceipt",
    "StoreFailed",
    "Template",
    "TenantBounds",
    "Tool",
    "ToolCall",
    "ToolSpec",
    "ToolStatus",
    "Tracing",
    "Unavailable",
    "Usage",
    "Violation",
    "WhenBusy",
    "agent",
    "as_tool",
    "command_tool",
    "forbid_network",
    "guardrail",
    "http_tool",
    "open_engine",
    "set_default_model",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
