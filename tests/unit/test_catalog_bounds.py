"""Limits, policies, rates, breakers and tenants in a catalog: a file gives what Python gives, and each mistake is named."""

import math
from pathlib import Path

import pytest

from motet.catalog import Catalog, EngineSettings
from motet.errors import CatalogError
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.bounds import ProviderBounds, Quota, TenantBounds
from motet.model.plan import Group, HedgePolicy, Idempotency, Limits, Member, OnBreach, RetryPolicy
from motet.model.rate import Breaker, Rate
from motet.ports import Call

CATALOG = """
[engine]
retry_share = 0.5
hedge_share = 0
[limits]
max_cost = "2.50"
max_duration = "1h"
on_breach = "cancel"
[providers.p]
max_parallel = 8
rate = { calls_per_second = 5, tokens_per_minute = 100_000, burst = 10 }
breaker = {}
[tenants.acme]
max_parallel = 4
max_runs = 2
per_hour = { calls = 100, duration = "2h" }
per_day = { calls = 1000, tokens = 5, cost = 12.5 }
total = { cost = "100" }
limits = { max_cost_nanos = 7, skip_infeasible = true }
[tenants."*"]
max_runs = 1
[agents.a]
kind = "http"
url = "http://127.0.0.1/"
provider = "p"
replay_safe = true
estimated_tokens = 300
rate = { calls_per_minute = 30 }
weight = 2
breaker = { failures = 3, cooldown = "1m", probes = 2 }
[agents.b]
kind = "command"
argv = ["true"]
replay_safe = false
[groups.g]
members = ["b", { agent = "a", replicas = 2, retry = { max_attempts = 2 }, idempotency = { key = "k", ttl = 0 } }]
retry = { max_attempts = 3, initial_backoff = "100ms", max_backoff = "10s", backoff_multiplier = 1, jitter = 0, reasons = ["BUSY"] }
hedge = { delay = "300ms", max_attempts = 3 }
idempotency = true
[groups.g.limits]
max_cost = 0.5
max_tokens = 10
max_calls = 0
max_duration = 90
max_failure_rate = 0.5
min_samples = 3
min_successes = 3
max_members = 5
max_depth = 0
on_breach = "drain"
skip_infeasible = false
[groups.live]
members = ["a"]
hedge = {}
"""


class Card:
    """An agent of somebody's own, which looks at nothing itself."""

    def __init__(self, **card: object) -> None:
        self.info = AgentInfo(name="own", kind=AgentKind.FUNCTION, **card)  # type: ignore[arg-type]

    async def call(self, call: Call, /) -> Reply:
        return Reply(call.input)


def load(folder: Path, text: str) -> Catalog:
    path = folder / "catalog.toml"
    path.write_text(text)
    return Catalog.load(path)


def problems(catalog: Catalog) -> list[tuple[str, str]]:
    with pytest.raises(CatalogError) as caught:
        catalog.check()
    return [(problem.table, problem.key) for problem in caught.value.problems]


def test_every_bound_of_a_file_becomes_what_python_gives(tmp_path: Path) -> None:
    catalog = load(tmp_path, CATALOG)
    assert catalog.settings == EngineSettings(retry_share=0.5, hedge_share=0)
    assert catalog.limits == Limits(max_cost_nanos=2_500_000_000, max_duration=3600, on_breach=OnBreach.CANCEL)
    rate = Rate(calls_per_second=5, tokens_per_minute=100_000, burst=10)
    assert catalog.providers == {"p": ProviderBounds(max_parallel=8, rate=rate, breaker=Breaker())}
    acme = TenantBounds(
        max_parallel=4,
        max_runs=2,
        per_hour=Quota(calls=100, duration=7200),
        per_day=Quota(calls=1000, tokens=5, cost_nanos=12_500_000_000),
        total=Quota(cost_nanos=100_000_000_000),
        limits=Limits(max_cost_nanos=7, skip_infeasible=True),
    )
    assert catalog.tenants == {"acme": acme, "*": TenantBounds(max_runs=1)}


def test_agents_of_a_file_carry_what_guards_look_at(tmp_path: Path) -> None:
    agents = load(tmp_path, CATALOG).agents
    a, b = agents["a"].info, agents["b"].info
    assert (a.replay_safe, a.estimated_tokens, a.weight) == (True, 300, 2)
    assert (a.rate, a.breaker) == (Rate(calls_per_minute=30), Breaker(failures=3, cooldown=60, probes=2))
    assert (b.replay_safe, b.estimated_tokens, b.weight, b.rate, b.breaker) == (False, None, 1, None, None)


def test_groups_and_members_of_a_file_carry_their_policies(tmp_path: Path) -> None:
    groups = load(tmp_path, CATALOG).groups
    group = groups["g"].group
    assert group.retry == RetryPolicy(max_attempts=3, backoff_multiplier=1, jitter=0, reasons=("BUSY",))
    assert (group.hedge, group.idempotency) == (HedgePolicy(delay=0.3, max_attempts=3), Idempotency())
    assert group.limits == Limits(
        max_cost_nanos=500_000_000,
        max_tokens=10,
        max_calls=0,
        max_duration=90,
        max_failure_rate=0.5,
        min_samples=3,
        min_successes=3,
        max_members=5,
        max_depth=0,
        on_breach=OnBreach.DRAIN,
        skip_infeasible=False,
    )
    retry, keyed = RetryPolicy(max_attempts=2), Idempotency(key="k", ttl=0)
    assert group.members == (Member("b"), Member("a", replicas=2, retry=retry, idempotency=keyed))
    assert groups["live"].group.hedge == HedgePolicy(delay=None, max_attempts=2)


def test_tenants_are_added_once_and_under_names_that_a_request_can_have() -> None:
    catalog = Catalog()
    catalog.add_tenant("team@acme", TenantBounds(max_runs=1))
    with pytest.raises(CatalogError, match=r"\[tenants\.team@acme\]: there is already a tenant"):
        catalog.add_tenant("team@acme", TenantBounds())
    with pytest.raises(CatalogError, match=r"\[tenants\.x\]: int is not what a tenant may use; give TenantBounds"):
        catalog.add_tenant("x", 3)  # type: ignore[arg-type]
    catalog.check()
    for name in ("a b", "**", "", "@x", "x" * 129):
        catalog.add_tenant(name, TenantBounds())
    assert problems(catalog) == [(f"tenants.{name}", "") for name in ("a b", "**", "", "@x", "x" * 129)]


def test_bounds_given_in_python_are_looked_at_too() -> None:
    settings = EngineSettings(retry_share=-0.1, hedge_share=math.inf)
    catalog = Catalog(settings=settings, limits=Limits(max_calls=-1, max_failure_rate=2))
    catalog.add_provider("p", 1, rate=Rate(calls_per_second=0), breaker=Breaker(failures=0, probes=0))
    catalog.add_tenant("t", TenantBounds(max_runs=0, per_day=Quota(tokens=-1), limits=Limits(min_samples=0)))
    catalog.add(Card(estimated_cost_nanos=-1, weight=0, rate=Rate(burst=0.5), replay_safe="yes"))
    assert problems(catalog) == [
        ("engine", "retry_share"),
        ("engine", "hedge_share"),
        ("limits", "max_calls"),
        ("limits", "max_failure_rate"),
        ("providers.p", "rate.calls_per_second"),
        ("providers.p", "breaker.failures"),
        ("providers.p", "breaker.probes"),
        ("tenants.t", "max_runs"),
        ("tenants.t", "per_day.tokens"),
        ("tenants.t", "limits.min_samples"),
        ("agents.own", "replay_safe"),
        ("agents.own", "estimated_cost_nanos"),
        ("agents.own", "rate.burst"),
        ("agents.own", "weight"),
    ]


def test_a_hedge_needs_one_agent_that_may_be_called_twice() -> None:
    for replay_safe in (None, False):
        catalog = Catalog()
        catalog.add(Card(replay_safe=replay_safe))
        catalog.add_group(Group("g", ["own"], hedge=HedgePolicy()))
        assert problems(catalog) == [("groups.g", "hedge")]
    catalog = Catalog()
    catalog.add_group(Group("g", [Card(), Card(replay_safe=True)], hedge=HedgePolicy()))
    catalog.check()


def test_a_hedge_of_a_group_whose_agent_is_missing_is_not_blamed() -> None:
    catalog = Catalog()
    catalog.add_group(Group("g", ["gone"], hedge=HedgePolicy()))
    assert problems(catalog) == [("groups.g", "members[0]")]


def test_more_members_than_every_run_may_have_are_a_mistake_of_the_group() -> None:
    catalog = Catalog(limits=Limits(max_members=2))
    catalog.add(Card())
    catalog.add_group(Group("g", [Member("own", replicas=3)]))
    with pytest.raises(CatalogError, match=r"more than max_members of the catalog's limits \(2\) allows"):
        catalog.check()


def test_members_that_cannot_be_counted_are_blamed_once() -> None:
    catalog = Catalog()
    catalog.add(Card())
    catalog.add_group(Group("g", [Member("own", replicas="3")], limits=Limits(min_successes=9)))  # type: ignore[arg-type]
    assert problems(catalog) == [("groups.g", "members[0].replicas")]


HTTP = '[agents.a]\nkind = "http"\nurl = "http://127.0.0.1/"\n'
GROUP = HTTP + '[groups.g]\nmembers = ["a"]\n'
ABOVE = "must be a finite number above 0"
WAIT = "must be a finite number of seconds, 0 or more"
COST_TWICE = "give either max_cost or max_cost_nanos, not both"


@pytest.mark.parametrize(
    ("text", "table", "key", "message"),
    [
        ("limits = 1", "limits", "", "must be a table"),
        ("[limits]\nmax_call = 1", "limits", "max_call", "is not a known key; did you mean 'max_calls'?"),
        ("[limits]\nmax_cost = -1", "limits", "max_cost", "must be US dollars, 0 or more"),
        ("[limits]\nmax_cost_nanos = 1.5", "limits", "max_cost_nanos", "must be a whole number"),
        ("[limits]\nmax_cost = 1\nmax_cost_nanos = 1", "limits", "", COST_TWICE),
        ("[limits]\nmax_duration = inf", "limits", "max_duration", WAIT),
        ('[limits]\non_breach = "DRAIN"', "limits", "on_breach", "must be 'drain' or 'cancel'"),
        ("[limits]\nmin_successes = -1", "limits", "min_successes", "must be 0 or more, not -1"),
        ("tenants = 3", "tenants", "", "must be a table of tables: write [tenants.NAME]"),
        ("[tenants]\nt = 3", "tenants.t", "", "must be a table"),
        ('[tenants."a b"]', "tenants.a b", "", "is not the name of a tenant"),
        ("[tenants.t]\nper_hour = { call = 1 }", "tenants.t", "per_hour.call", "is not a known key; did you mean 'calls'?"),
        ("[tenants.t]\ntotal = { cost = -1 }", "tenants.t", "total.cost", "must be US dollars, 0 or more"),
        ("[tenants.t]\nmax_parallel = 0", "tenants.t", "max_parallel", "must be 1 or more, not 0"),
        ("[providers.p]\nrate = 3", "providers.p", "rate", "must be a table"),
        ("[providers.p]\nrate = { calls_per_minute = -1 }", "providers.p", "rate.calls_per_minute", ABOVE),
        ("[providers.p]\nrate = { tokens_per_second = nan }", "providers.p", "rate.tokens_per_second", ABOVE),
        ("[providers.p]\nrate = { burst = 2 }", "providers.p", "rate.burst", "is for calls, and the rate does not bound them"),
        ("[providers.p]\nbreaker = { cooldown = -1 }", "providers.p", "breaker.cooldown", WAIT),
        (HTTP + "weight = 0", "agents.a", "weight", ABOVE),
        (HTTP + "weight = true", "agents.a", "weight", "must be a number"),
        (HTTP + "estimated_tokens = -1", "agents.a", "estimated_tokens", "must be 0 or more, not -1"),
        (HTTP + "rate = { burst = 0.5, calls_per_second = 1 }", "agents.a", "rate.burst", "must be a finite number, 1 or more"),
        (HTTP + "breaker = { failures = 0 }", "agents.a", "breaker.failures", "must be 1 or more, not 0"),
        (HTTP + "breaker = { probes = 0 }", "agents.a", "breaker.probes", "must be 1 or more, not 0"),
        ('[agents.a]\nkind = "group"\ngroup = "g"\nrate = {}', "agents.a", "rate", "is not a known key"),
        (GROUP + "retry = 3", "groups.g", "retry", "must be a table"),
        (GROUP + "retry = { max_attempts = 101 }", "groups.g", "retry.max_attempts", "must be 100 or less"),
        (GROUP + "retry = { initial_backoff = -0.1 }", "groups.g", "retry.initial_backoff", WAIT),
        (GROUP + "retry = { backoff_multiplier = 0 }", "groups.g", "retry.backoff_multiplier", "must be a finite number, 1 or more"),
        (GROUP + 'retry = { reasons = "BUSY" }', "groups.g", "retry.reasons", "must be a list"),
        (GROUP + 'retry = { reasons = [""] }', "groups.g", "retry.reasons", "must be reasons of failures"),
        (GROUP + "hedge = {}", "groups.g", "hedge", "would never make a second attempt"),
        (GROUP + "idempotency = false", "groups.g", "idempotency", "must be true or a table"),
        (GROUP + "idempotency = 3", "groups.g", "idempotency", "must be a table"),
        (GROUP + "idempotency = { ttl = inf }", "groups.g", "idempotency.ttl", WAIT),
        (GROUP + 'idempotency = { key = "\\u0000" }', "groups.g", "idempotency.key", "must be Unicode text without NUL"),
        (GROUP + "limits = { min_successes = 2 }", "groups.g", "limits.min_successes", "must be 1 or less, not 2"),
        (GROUP + "limits = { max_cost = 1, max_cost_nanos = 1 }", "groups.g", "limits", COST_TWICE),
        (HTTP + "replay_safe = true\n" + GROUP.removeprefix(HTTP) + "hedge = { max_attempts = 1 }", "groups.g", "hedge.max_attempts", "must be 2 or more, not 1"),
        (HTTP + '[[groups.g.members]]\nagent = "a"\nretry = { jitter = 1.5 }', "groups.g", "members[0].retry.jitter", "must be a number from 0 to 1"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_bound_is_named_by_table_and_key(
    text: str, table: str, key: str, message: str, tmp_path: Path
) -> None:
    extra = (
        ""
        if "[groups.g]" in text or "[[groups.g" in text
        else '\n[groups.g]\nmembers = ["z"]\n[agents.z]\nkind = "command"\nargv = ["true"]\n'
    )
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, text + extra)
    [problem] = caught.value.problems
    assert (problem.table, problem.key) == (table, key)
    assert problem.message.startswith(message)


def test_all_mistakes_of_one_agent_come_together(tmp_path: Path) -> None:
    text = HTTP + "weight = -1\nestimated_tokens = -1\nrate = { calls_per_second = 0 }\nbreaker = { probes = 0 }\n"
    with pytest.raises(CatalogError) as caught:
        load(tmp_path, text)
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["estimated_tokens", "rate.calls_per_second", "weight", "breaker.probes"]
