"""Random plans over random agents, rules, questions and policies, for property tests of runs."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

import motet
from motet import Aggregation, Group, Idempotency, Limits, Member, OnBreach, OnFailure, Parallel, Sequence, Usage
from motet.testing import AskingRule, AttemptScript, ScriptedAgent

SECONDS = st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 5.0, 30.0])
TIMEOUTS = st.sampled_from([None] * 5 + [0.0, 0.5, 1.0, 2.0, 7.0, 30.0])
WIDTHS = st.none() | st.integers(1, 3)
ASKING = ["asking_1", "asking_2"]
PRICES = {"a": 1, "b": 2}
"""Billionths of a US dollar; calls of other agents name no price."""
HOST = "h"
RULES = ["combine", "first", "majority", "vote", "ensemble", "merge"]


ERROR, PASSING = ValueError("scripted"), motet.AgentError("scripted", retryable=True)
RATES = st.sampled_from(
    [None] * 5
    + [
        motet.Rate(calls_per_second=0.5),
        motet.Rate(calls_per_minute=20, burst=2),
        motet.Rate(tokens_per_second=1),
    ]
)
BREAKERS = st.sampled_from([None] * 4 + [motet.Breaker(failures=1, cooldown=3), motet.Breaker(failures=3, cooldown=60)])
RETRIES = st.none() | st.builds(
    motet.RetryPolicy,
    max_attempts=st.integers(1, 4),
    initial_backoff=st.sampled_from([0.0, 0.5, 3.0]),
    reasons=st.sampled_from([(), ("AGENT_FAILED", "DEADLINE_EXCEEDED", "GROUP_FAILED")]),
)
HEDGES = st.builds(
    motet.HedgePolicy, delay=st.sampled_from([None, 0.0, 0.5, 1.0]), max_attempts=st.sampled_from([2, 2, 3])
)
KEYS = st.none() | st.none() | st.builds(Idempotency, key=st.sampled_from(["", "k", "l"]), ttl=st.sampled_from([0, 60]))
AMOUNTS = st.sampled_from([None] * 5 + [0, 1, 2, 3, 4, 6, 8])
LIMITS = st.none() | st.builds(
    Limits,
    max_calls=AMOUNTS,
    max_cost_nanos=AMOUNTS,
    max_tokens=st.sampled_from([None] * 4 + [0, 3, 10, 20]),
    max_duration=st.sampled_from([None] * 4 + [0.0, 1.0, 5.0, 30.0]),
    max_failure_rate=st.none() | st.sampled_from([0.0, 0.25, 0.5]),
    min_samples=st.sampled_from([None, 1, 2]),
    min_successes=st.sampled_from([None, None, 0, 1]),
    on_breach=st.sampled_from([None, *OnBreach]),
    skip_infeasible=st.sampled_from([None, True]),
)
QUOTAS = st.builds(
    motet.Quota,
    calls=AMOUNTS,
    cost_nanos=AMOUNTS,
    tokens=st.sampled_from([None] * 4 + [3, 10, 20]),
    duration=st.sampled_from([None] * 4 + [0.0, 1.0, 5.0, 30.0]),
)
TENANTS = st.none() | st.builds(
    motet.TenantBounds,
    max_parallel=WIDTHS,
    max_runs=st.sampled_from([None, 1]),
    per_hour=QUOTAS,
    total=QUOTAS,
    limits=LIMITS,
)


def fails(_: object) -> None:
    raise ArithmeticError("scripted")


@st.composite
def agents(draw: st.DrawFn, depth: int = 0, *, asked: bool = False) -> ScriptedAgent:
    """An agent; one that is asked runs no group whose rule may ask it in turn."""
    nested = None
    if depth < 2 and draw(st.integers(0, 5)) == 0:
        nested = draw(plans(depth + 1, asked=asked))
    name = HOST if nested is not None else draw(st.sampled_from(["a", "b", "c", "d"]))
    usage = Usage(calls=1, input_tokens=3, cost_nanos=PRICES[name]) if name in PRICES else None
    return ScriptedAgent(
        name,
        reply=draw(st.sampled_from(["ok", "1", "other"])),
        delay=draw(SECONDS),
        error=draw(st.sampled_from([None, None, ERROR])),
        attempts=draw(st.sampled_from([(), (), (), (ERROR, AttemptScript()), (PASSING, PASSING, AttemptScript())])),
        progress=draw(st.sampled_from([(), ("half",), ("one", "two")])),
        resist=draw(st.sampled_from([0.0, 0.0, 0.0, 1.0, 20.0])),
        swallow=draw(st.sampled_from([False, False, False, True])),
        nested=nested,
        usage=usage,
        spends=draw(st.sampled_from([None, usage])),
        max_parallel=draw(WIDTHS),
        timeout=draw(TIMEOUTS),
        replay_safe=draw(st.sampled_from([None, True, True, False])),
        estimated_cost_nanos=draw(st.sampled_from([None, PRICES.get(name)])),
        estimated_tokens=draw(st.sampled_from([None, 3])),
        rate=draw(RATES),
        breaker=draw(BREAKERS),
    )


@st.composite
def asking_rules(draw: st.DrawFn) -> list[AskingRule]:
    """Rules that ask random agents, for a catalog."""
    return [
        AskingRule(
            draw(agents(1, asked=True)),
            name=name,
            rounds=draw(st.sampled_from([0, 1, 1, 1, 2, 3, 1000])),
            questions=draw(st.integers(1, 3)),
            enough=draw(st.sampled_from([None, None, 1, 2])),
            timeout=draw(TIMEOUTS),
            max_parallel=draw(WIDTHS),
            then=draw(st.sampled_from([None, None, None, fails])),
        )
        for name in ASKING
    ]


@st.composite
def aggregations(draw: st.DrawFn, *, asked: bool) -> Aggregation:
    score: dict[str, Any] = {"score": {"field": ""}, "numbers_in_text": True, "good_enough": 1}
    name = draw(st.sampled_from([*RULES, "best"] if asked else [*RULES, "best", *ASKING, *ASKING]))
    return Aggregation(name, score if name == "best" else {}, early_stop=draw(st.booleans()))


@st.composite
def groups(draw: st.DrawFn, depth: int, asked: bool) -> Group:
    members = draw(
        st.lists(
            st.builds(
                Member,
                agents(depth, asked=asked),
                timeout=TIMEOUTS,
                weight=st.just(1.0),
                replicas=st.none() | st.just(1),
                retry=st.none() | RETRIES,
                idempotency=KEYS,
            ),
            min_size=1,
            max_size=4,
        )
    )
    numbered = [
        replace(m, name=f"m{n}", replicas=draw(st.sampled_from([None, None, 2, 3]))) for n, m in enumerate(members)
    ]
    safe = any(not isinstance(m.agent, str) and m.agent.info.replay_safe for m in members)
    return Group(
        f"g{draw(st.integers(0, 10**9))}",
        numbered,
        aggregation=draw(aggregations(asked=asked)),
        timeout=draw(TIMEOUTS),
        max_parallel=draw(WIDTHS),
        limits=draw(st.none() | LIMITS),
        retry=draw(RETRIES),
        hedge=draw(st.none() | HEDGES) if safe else None,
        idempotency=draw(KEYS),
    )


def plans(depth: int = 0, *, asked: bool = False) -> st.SearchStrategy[motet.Plan]:
    return st.recursive(
        groups(depth, asked),
        lambda children: st.one_of(
            st.builds(
                Sequence,
                st.lists(children, min_size=1, max_size=3),
                feed_forward=st.booleans(),
                on_failure=st.sampled_from([None, *OnFailure]),
                timeout=TIMEOUTS,
            ),
            st.builds(Parallel, st.lists(children, min_size=1, max_size=3), timeout=TIMEOUTS),
        ),
        max_leaves=3,
    )


CANCELS = st.none() | st.tuples(SECONDS, st.booleans())
"""After how long the run is cancelled, and whether its caller leaves instead."""


@st.composite
def rules_that_ask(draw: st.DrawFn) -> Aggregation:
    """Rules of every kind that put questions to an agent."""
    judge = draw(agents(2, asked=True))
    patience = draw(st.sampled_from([None, None, 0.5, 2.0]))
    score: dict[str, Any] = {"score": {"agent": judge, "timeout": patience, "max_parallel": draw(WIDTHS)}}
    vote: dict[str, Any] = {"ties": "tiebreaker", "tiebreaker": judge, "tiebreaker_timeout": patience}
    fallback = draw(st.sampled_from([None, "vote", "ensemble"]))
    every: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in ASKING]
    name, options = draw(
        st.sampled_from(
            [
                *every,
                ("vote", vote),
                ("vote", {**vote, "method": "majority", "minimum_share": 0.5}),
                ("best", score),
                ("rank", score),
                ("summarize", {"agent": judge, "fallback": fallback}),
                ("custom", {"agent": judge, "fallback": fallback}),
                ("chain", {"steps": [{"name": "rank", **score}, {"name": "summarize", "agent": judge}]}),
            ]
        )
    )
    return Aggregation(name, options, early_stop=draw(st.booleans()))


def unique(plan: motet.Plan) -> bool:
    names: list[str] = []

    def walk(node: motet.Plan) -> None:
        if isinstance(node, Group):
            names.append(node.name)
        else:
            for child in node.steps if isinstance(node, Sequence) else node.branches:
                walk(child)

    walk(plan)
    return len(set(names)) == len(names)
