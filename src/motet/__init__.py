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
    from motet.catalog import Catalog, CatalogGroup, EngineSettings
    from motet.store.memory import MemoryStore
    from motet.store.sqlite import SqliteStore

_LAZY = {
    "Catalog": "motet.catalog",
    "CatalogGroup": "motet.catalog",
    "CommandAgent": "motet.agents.command",
    "CommandResult": "motet.agents.command",
    "EngineSettings": "motet.catalog",
    "FunctionAgent": "motet.agents.function",
    "GroupAgent": "motet.agents.group",
    "HttpAgent": "motet.agents.http",
    "MemoryStore": "motet.store.memory",
    "SqliteStore": "motet.store.sqlite",
    "agent": "motet.agents.function",
}

__all__ = [
    "Agent",
    "AgentError",
    "AgentInfo",
    "AgentKind",
    "Aggregation",
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
    "CommandAgent",
    "CommandResult",
    "Engine",
    "EngineSettings",
    "EngineStatistics",
    "Event",
    "Exhausted",
    "Failure",
    "FunctionAgent",
    "Group",
    "GroupAgent",
    "GroupEnded",
    "GroupResult",
    "GroupStarted",
    "HedgePolicy",
    "HttpAgent",
    "Idempotency",
    "InvalidRequest",
    "LeaseLost",
    "LimitUse",
    "Limits",
    "MapInput",
    "MapResult",
    "Member",
    "MemberEnded",
    "MemberProgress",
    "MemberStarted",
    "MemoryStore",
    "MotetError",
    "NotFound",
    "OnBreach",
    "OnFailure",
    "Outcome",
    "Parallel",
    "Payload",
    "Plan",
    "ProviderBounds",
    "Quota",
    "Rate",
    "ReplicaOverride",
    "Reply",
    "RequestError",
    "RequestIdReused",
    "RetryPolicy",
    "RunEnded",
    "RunFailed",
    "RunPage",
    "RunQuery",
    "RunRecord",
    "RunRequest",
    "RunResult",
    "RunStarted",
    "RunStream",
    "Saved",
    "Sequence",
    "SqliteStore",
    "Started",
    "State",
    "Stats",
    "StopKind",
    "StopReceipt",
    "StoreFailed",
    "TenantBounds",
    "Unavailable",
    "Usage",
    "Violation",
    "agent",
    "open_engine",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
