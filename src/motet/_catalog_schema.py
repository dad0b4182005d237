"""The shape of a catalog file: which tables and keys there are, and what type each value has. Whether names exist and
numbers make sense is looked at later. Imported only when a file is loaded, because it brings pydantic."""

import math
import re
from decimal import Decimal, localcontext
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from motet._catalog_check import MAX_NANOS, UNSUPPORTED
from motet._duration import parse_duration
from motet.model.payload import Payload

_DECIMAL: Final = re.compile(r"[0-9]{1,30}(\.[0-9]{1,30})?")
MAX_NESTING: Final = 100
"""Deepest nesting of a value in a file; nobody writes deeper, and the bound keeps recursion harmless."""


def _length(value: object) -> object:
    """Texts become seconds; numbers stay as they are, and are judged with the rest of the group."""
    return value if isinstance(value, float) or (isinstance(value, int) and value < 0) else parse_duration(value)


def _json_value(value: object, depth: int = 0) -> object:
    if depth > MAX_NESTING:
        raise ValueError("is nested too deep")
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a JSON number")
        return value
    if isinstance(value, list):
        return [_json_value(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item, depth + 1) for key, item in value.items()}
    raise ValueError(f"a {type(value).__name__} has no JSON form; write it as text")


def _payload(value: object) -> object:
    return Payload.of(_json_value(value))


def _json_payload(value: object) -> object:
    return Payload.from_json(_json_value(value))


def _list(value: object) -> object:
    return [value] if isinstance(value, dict) else value


def _unsupported(_value: object) -> object:
    raise ValueError(UNSUPPORTED)


def _statuses(value: object) -> object:
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, bool) or not isinstance(item, str | int) for item in items):
        raise ValueError('must be a status such as 204, a class such as "2xx", or a list of them')
    return value


def _nanos(value: object) -> object:
    """US dollars, as a number or decimal text, in billionths."""
    wrong = 'must be US dollars, 0 or more, as a number or as text such as "0.0021"'
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and _DECIMAL.fullmatch(value)):
        raise ValueError(wrong)
    # The shortest text that gives this float is what was written, as far as a float can tell.
    with localcontext(prec=400):
        dollars = Decimal(str(value))
        if not (dollars.is_finite() and dollars >= 0):
            raise ValueError(wrong)
        if dollars > MAX_NANOS // 10**9:
            raise ValueError(f"must be {MAX_NANOS // 10**9} or less")
        nanos = dollars.scaleb(9)
        if nanos != nanos.to_integral_value():
            raise ValueError("has more than 9 decimals; billionths of a US dollar are the smallest part")
        return int(nanos)


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character; no program or path can take it")
    return value


Duration = Annotated[float, BeforeValidator(parse_duration)]
Seconds = Annotated[float, BeforeValidator(_length)]
Json = Annotated[Any, AfterValidator(_json_value)]
AsPayload = Annotated[Any, AfterValidator(_payload)]
AsJsonPayload = Annotated[Any, AfterValidator(_json_payload)]
Unsupported = Annotated[Any, BeforeValidator(_unsupported)]
Dollars = Annotated[Any, AfterValidator(_nanos)]
"""Billionths."""
Text = Annotated[str, AfterValidator(_no_nul)]


class Table(BaseModel):
    """A table of the file."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    def given(self) -> dict[str, Any]:
        """What the table says, without defaults."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class EngineTable(Table):
    """`[engine]`."""

    max_parallel: int | None = None
    max_depth: int = 8
    max_members: int = 1_000_000
    stop_grace: Seconds = 10.0


class ProviderTable(Table):
    """`[providers.NAME]`."""

    max_parallel: int | None = None


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
    replay_safe: bool = False
    labels: dict[str, str] = {}
    version: str = ""
    estimated_cost: Dollars = None


class BoundedTable(AgentTable):
    """What agents that do their work themselves have too."""

    max_parallel: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    provider: str = ""


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
    ok_exit_codes: list[Annotated[int, Field(ge=0, le=255)]] = [0]
    env: dict[Text, Text] = {}
    inherit_env: list[Text] = []
    cwd: Text | None = None
    term_grace: Duration = 2.0
    max_output_bytes: Annotated[int, Field(ge=1, le=2**63 - 1)] = 16 * 2**20


class HttpTable(BoundedTable):
    """kind = "http"."""

    url: str
    method: str | None = None
    headers: dict[str, str] = {}
    send: Literal["body", "json", "query"] = "body"
    output: Literal["auto", "text", "json", "bytes"] = "auto"
    connect_timeout: Duration = 5.0
    max_output_bytes: Annotated[int, Field(ge=1, le=2**63 - 1)] = 16 * 2**20
    ok_statuses: Annotated[Any, AfterValidator(_statuses)] = "2xx"
    verify: bool = True


class GroupAgentTable(AgentTable):
    """kind = "group"."""

    group: str


AGENT_TABLES: Final[dict[str, type[AgentTable]]] = {
    "function": FunctionTable,
    "command": CommandTable,
    "http": HttpTable,
    "group": GroupAgentTable,
}


class OverrideTable(Table):
    """One of `overrides`."""

    replica: int
    input: Annotated[str, AfterValidator(_payload)] | None = None
    input_json: AsJsonPayload = None
    variables: dict[str, AsPayload] = {}
    weight: float | None = None
    timeout: Seconds | None = None


class MemberTable(Table):
    """One of `members`; a text stands for a table with the agent alone."""

    agent: str
    name: str = ""
    input: Annotated[str, AfterValidator(_payload)] | None = None
    input_json: AsJsonPayload = None
    variables: dict[str, AsPayload] = {}
    weight: float = 1.0
    timeout: Seconds | None = None
    replicas: int | None = None
    overrides: list[OverrideTable] = []
    retry: Unsupported = None

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


class LimitsTable(Table):
    """`limits` of a group."""

    max_members: int | None = None
    max_depth: int | None = None
    max_cost_nanos: Unsupported = None
    max_tokens: Unsupported = None
    max_calls: Unsupported = None
    max_failure_rate: Unsupported = None
    min_samples: Unsupported = None
    min_successes: Unsupported = None
    on_breach: Unsupported = None


class GroupTable(Table):
    """`[groups.NAME]`."""

    description: str = ""
    members: Annotated[list[MemberTable], BeforeValidator(_list)]
    aggregation: AggregationTable | None = None
    timeout: Seconds | None = None
    max_parallel: int | None = None
    limits: LimitsTable | None = None
    retry: Unsupported = None
    hedge: Unsupported = None
    metadata: dict[str, Json] = {}
    preserve_session: bool = False
