"""Whatever a catalog file holds, only CatalogError comes out."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motet._catalog_agents import AGENT_TABLES
from motet._catalog_bounds import (
    BreakerTable,
    HedgeTable,
    IdempotencyTable,
    LimitsTable,
    ProviderTable,
    QuotaTable,
    RateTable,
    RetryTable,
    TenantTable,
)
from motet._catalog_file import load_tables
from motet._catalog_models import FallbackTable, GuardrailTable, ToolTable
from motet._catalog_schema import (
    EngineTable,
    GroupTable,
    MemberTable,
    NamedFunctionTable,
    OverrideTable,
    RuleTable,
)
from motet._catalog_services import PROVIDER_TABLES, McpTable, PriceTable, SessionsTable
from motet._catalog_values import Table
from motet.errors import CatalogError, CatalogProblem

NAMES = [
    "a",
    "b",
    "json:dumps",
    "{input}",
    "1s",
    "2xx",
    "process",
    "argument",
    "json",
    "first",
    "http://h/",
    "${env:X}",
]
VALUES = st.recursive(
    st.sampled_from(NAMES)
    | st.text(max_size=4)
    | st.integers(-2, 3)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.datetimes(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
RIGHT: dict[str, Any] = {
    "argv": st.lists(st.sampled_from(["true", "{input}", "{", "{v}"]), max_size=3),
    "function": st.sampled_from(["json:dumps", "json:loads", "json:nothing", "os.path:join"]),
    "parse": st.sampled_from(["json:dumps", "gone.py:x"]),
    "url": st.sampled_from(["http://127.0.0.1/", "ftp://x", "http://[", "https://u:p@h/?q"]),
    "headers": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    "env": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    "group": st.sampled_from(["a", "b", "c"]),
    "provider": st.sampled_from(["a", "c"]),
    "max_parallel": st.integers(-1, 5),
    "replicas": st.integers(-1, 2_000_000),
    "timeout": st.sampled_from([0, 1.5, "1s", "-1s", float("inf")]),
    "input": st.sampled_from(["argument", "stdin", "x"]),
    "estimated_cost": st.sampled_from([0, 0.0021, "0.1", -1, "x", 1e-30, 10**40]),
    "aggregation": st.sampled_from(
        ["a", {"name": "b", "k": 1}, "first", {"name": "majority"}, {"name": "first", "k": 1}, "x"]
    ),
}


def table_of(model: type[Table], /, **parts: Any) -> st.SearchStrategy[dict[str, Any]]:
    """A table with the model's required keys and some of the others, mostly of the right type."""
    values = {key: parts.get(key, RIGHT.get(key, VALUES)) for key in model.model_fields}
    required = {key for key, field in model.model_fields.items() if field.is_required()}
    usual = {key: value for key, value in values.items() if key in required}
    few = st.sets(st.sampled_from(sorted(values)), max_size=3)
    return few.flatmap(
        lambda keys: st.fixed_dictionaries({**usual, **{key: values[key] | VALUES for key in keys - required}})
    )


BOUNDS: dict[str, type[Table]] = {
    "rate": RateTable,
    "breaker": BreakerTable,
    "retry": RetryTable,
    "hedge": HedgeTable,
    "idempotency": IdempotencyTable,
    "limits": LimitsTable,
    "per_hour": QuotaTable,
    "total": QuotaTable,
}
RIGHT.update({key: table_of(model) for key, model in BOUNDS.items()})
NAME = st.sampled_from(["a", "b"])
TOOL = (
    NAME | st.sampled_from(["json:loads", "json:nothing", "x"]) | table_of(ToolTable, agent=NAME, group=NAME, mcp=NAME)
)
GUARDRAIL = NAME | st.just("json:loads") | table_of(GuardrailTable, agent=NAME, function=st.just("json:loads"))
RIGHT.update(
    tools=st.lists(TOOL, max_size=3),
    input_guardrails=st.lists(GUARDRAIL, max_size=2),
    output_guardrails=st.lists(GUARDRAIL, max_size=2),
    handoffs=st.lists(NAME, max_size=2),
    fallbacks=st.lists(table_of(FallbackTable, provider=NAME, model=st.just("x")), max_size=2),
    output_schema=st.sampled_from([{"type": "object"}, {"type": 3}, "gone.json", {"$ref": "#/x"}]),
    output_type=st.sampled_from(["builtins:int", "json:loads", "decimal:Decimal"]),
    instructions_function=st.sampled_from(["json:loads", "x"]),
    model=st.sampled_from(["x", ""]),
    prices=st.dictionaries(NAME, table_of(PriceTable, input_per_million=st.just(1), output_per_million=st.just("0.5"))),
    base_url=st.sampled_from(["http://h/v1", "x", "http://u:p@h/"]),
    command=st.lists(st.sampled_from(["true", "", "x"]), max_size=2),
    server=NAME,
)
SERVICE = st.one_of([table_of(model, kind=st.just(kind)) for kind, model in PROVIDER_TABLES.items()])
MCP = table_of(McpTable) | table_of(McpTable, tools=st.lists(st.text(max_size=3), max_size=2))
OVERRIDE = table_of(OverrideTable, replica=st.integers(0, 3))
MEMBER = NAME | table_of(MemberTable, agent=NAME, overrides=st.lists(OVERRIDE, max_size=2))
AGENT = st.one_of([table_of(model, kind=st.just(kind)) for kind, model in AGENT_TABLES.items()])
GROUP = table_of(GroupTable, members=st.lists(MEMBER, max_size=4))
RULE = table_of(RuleTable, rule=st.sampled_from(["a", "b", "first", "vote", "zzz"])).flatmap(
    lambda rule: st.dictionaries(NAME | st.sampled_from(["field", "steps"]), VALUES, max_size=2).map(
        lambda options: {**options, **rule}
    )
)
TABLES = st.fixed_dictionaries(
    {},
    optional={
        "engine": table_of(EngineTable) | VALUES,
        "limits": table_of(LimitsTable) | VALUES,
        "tenants": st.dictionaries(NAME | st.text(max_size=3), table_of(TenantTable) | VALUES, max_size=2) | VALUES,
        "providers": st.dictionaries(NAME, table_of(ProviderTable) | SERVICE | VALUES, max_size=2) | VALUES,
        "mcp": st.dictionaries(NAME | st.text(max_size=3), MCP | VALUES, max_size=2) | VALUES,
        "sessions": table_of(SessionsTable, summary_agent=NAME) | VALUES,
        "functions": st.dictionaries(NAME, table_of(NamedFunctionTable) | VALUES, max_size=2) | VALUES,
        "aggregations": st.dictionaries(NAME | st.text(max_size=3), RULE | VALUES, max_size=3) | VALUES,
        "agents": st.dictionaries(NAME | st.text(max_size=3), AGENT | VALUES, min_size=1, max_size=3) | VALUES,
        "groups": st.dictionaries(NAME | st.text(max_size=3), GROUP | VALUES, max_size=2) | VALUES,
        "x": VALUES,
    },
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TABLES)
def test_whatever_a_file_holds_it_gives_a_catalog_or_a_catalog_error(tables: dict[str, Any]) -> None:
    problems: tuple[CatalogProblem, ...] = ()
    try:
        load_tables(tables, file="f.toml").check()
    except CatalogError as error:
        problems = error.problems
    assert all(problem.file == "f.toml" and problem.message for problem in problems)
