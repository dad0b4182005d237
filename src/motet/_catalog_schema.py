"""The shape of a catalog file: which tables and keys there are, and what type each value has. Whether names exist and
numbers make sense is looked at later. Imported only when a file is loaded, because it brings pydantic."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from motet._catalog_bounds import BreakerTable, HedgeTable, IdempotencyTable, LimitsTable, RateTable, RetryTable
from motet._catalog_values import AsJsonPayload, AsPayload, AsTextPayload, Dollars, Duration, Json, Seconds, Table, Text


def _list(value: object) -> object:
    return [value] if isinstance(value, dict) else value


def _statuses(value: object) -> object:
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, bool) or not isinstance(item, str | int) for item in items):
        raise ValueError('must be a status such as 204, a class such as "2xx", or a list of them')
    return value


class EngineTable(Table):
    """`[engine]`."""

    max_parallel: int | None = None
    max_depth: int = 8
    max_members: int = 1_000_000
    stop_grace: Seconds = 10.0
    retry_share: float = 0.2
    hedge_share: float = 0.1


class NamedFunctionTable(Table):
    """`[functions.NAME]`."""

    function: str


class RuleTable(Table):
    """`[aggregations.NAME]`: with `rule` a preset, whose other keys are options; else a function."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Json]

    description: str = ""
    rule: str | None = None
    function: Json = None
    """Without `rule` an import string, with it an option like any other."""


class AgentTable(Table):
    """What `[agents.NAME]` has whatever its kind."""

    kind: str
    description: str = ""
    timeout: Duration | None = None
    replay_safe: bool | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    version: str = ""


class PricedTable(AgentTable):
    """What agents have whose calls are estimated as a whole."""

    estimated_cost: Dollars = None


class BoundedTable(PricedTable):
    """What agents that do their work themselves have too."""

    max_parallel: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    provider: str = ""
    estimated_tokens: int | None = None
    rate: RateTable | None = None
    weight: float = 1.0
    breaker: BreakerTable | None = None


class FunctionTable(BoundedTable):
    """kind = "function"."""

    function: str
    isolation: Literal["thread", "process"] | None = None
    memory_bytes: Annotated[int, Field(ge=1, le=2**63 - 1)] | None = None
    cpu_seconds: Duration | None = None
    stop_grace: Duration = 0.05


class CommandTable(BoundedTable):
    """kind = "command"."""

    argv: list[Text]
    input: Literal["stdin", "argument", "none"] = "stdin"
    output: Literal["text", "json", "bytes"] = "text"
    parse: str | None = None
    ok_exit_codes: list[Annotated[int, Field(ge=0, le=255)]] = Field(default_factory=lambda: [0])
    env: dict[Text, Text] = Field(default_factory=dict)
    inherit_env: list[Text] = Field(default_factory=list)
    cwd: Text | None = None
    term_grace: Duration = 2.0
    max_output_bytes: Annotated[int, Field(ge=1, le=2**63 - 1)] = 16 * 2**20


class HttpTable(BoundedTable):
    """kind = "http"."""

    url: str
    method: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    send: Literal["body", "json", "query"] = "body"
    output: Literal["auto", "text", "json", "bytes"] = "auto"
    connect_timeout: Duration = 5.0
    max_output_bytes: Annotated[int, Field(ge=1, le=2**63 - 1)] = 16 * 2**20
    ok_statuses: Annotated[Any, AfterValidator(_statuses)] = "2xx"
    verify: bool = True


class GroupAgentTable(PricedTable):
    """kind = "group"."""

    group: str


class McpAgentTable(BoundedTable):
    """kind = "mcp"."""

    server: str
    tool: str
    input_schema: dict[str, Json] | None = None


class RemoteTable(BoundedTable):
    """kind = "remote"."""

    queue_timeout: Duration = 30.0
    stop_timeout: Duration = 10.0
    worker_labels: dict[str, str] = Field(default_factory=dict)
    input_schema: dict[str, Json] | None = None


class OverrideTable(Table):
    """One of `overrides`."""

    replica: int
    input: AsTextPayload | None = None
    input_json: AsJsonPayload = None
    variables: dict[str, AsPayload] = Field(default_factory=dict)
    weight: float | None = None
    timeout: Seconds | None = None


class MemberTable(Table):
    """One of `members`; a text stands for a table with the agent alone."""

    agent: str
    name: str = ""
    input: AsTextPayload | None = None
    input_json: AsJsonPayload = None
    variables: dict[str, AsPayload] = Field(default_factory=dict)
    weight: float = 1.0
    timeout: Seconds | None = None
    replicas: int | None = None
    overrides: list[OverrideTable] = Field(default_factory=list)
    retry: RetryTable | None = None
    idempotency: IdempotencyTable | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {"agent": value} if isinstance(value, str) else value


class AggregationTable(Table):
    """`aggregation`; its other keys are options of the rule. A text stands for a table with the name alone."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Json]

    name: str
    early_stop: bool = True

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value


class GroupTable(Table):
    """`[groups.NAME]`."""

    description: str = ""
    members: Annotated[list[MemberTable], BeforeValidator(_list)]
    aggregation: AggregationTable | None = None
    timeout: Seconds | None = None
    max_parallel: int | None = None
    limits: LimitsTable | None = None
    retry: RetryTable | None = None
    hedge: HedgeTable | None = None
    idempotency: IdempotencyTable | None = None
    metadata: dict[str, Json] = Field(default_factory=dict)
    preserve_session: bool = False
