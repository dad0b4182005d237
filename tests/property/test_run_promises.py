"""Random plans over random agents, rules, questions, delays, failures, resistances, deadlines and cancels: every promise
about runs holds, and nothing of a run is left when it has ended but what a receipt names."""

from collections.abc import Callable
from typing import Any

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import motet
from motet import Aggregation, Group, Member, OnFailure, Parallel, Sequence, State, StopKind
from motet.testing import AskingRule, ScriptedAgent, check_run

STOP_GRACE = 3.0
SECONDS = st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 5.0, 30.0])
TIMEOUTS = st.none() | st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0])
WIDTHS = st.none() | st.integers(1, 3)
ASKING = ["asking_1", "asking_2"]
RULES = ["combine", "first", "majority", "vote", "ensemble", "merge"]


def fails(_: object) -> None:
    raise ArithmeticError("scripted")


@st.composite
def agents(draw: st.DrawFn, depth: int = 0, *, asked: bool = False) -> ScriptedAgent:
    """An agent; one that is asked runs no group whose rule may ask it in turn."""
    nested = None
    if depth < 2 and draw(st.integers(0, 5)) == 0:
        nested = draw(plans(depth + 1, asked=asked))
    return ScriptedAgent(
        draw(st.sampled_from(["a", "b", "c", "d"])),
        reply=draw(st.sampled_from(["ok", "1", "other"])),
        delay=draw(SECONDS),
        error=draw(st.sampled_from([None, None, ValueError("scripted")])),
        progress=draw(st.sampled_from([(), ("half",), ("one", "two")])),
        resist=draw(st.sampled_from([0.0, 0.0, 0.0, 1.0, 20.0])),
        swallow=draw(st.sampled_from([False, False, False, True])),
        nested=nested,
        max_parallel=draw(WIDTHS),
        timeout=draw(TIMEOUTS),
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
            ),
            min_size=1,
            max_size=4,
        )
    )
    numbered = [
        Member(m.agent, name=f"m{n}", timeout=m.timeout, replicas=draw(st.sampled_from([None, None, 2, 3])))
        for n, m in enumerate(members)
    ]
    return Group(
        f"g{draw(st.integers(0, 10**9))}",
        numbered,
        aggregation=draw(aggregations(asked=asked)),
        timeout=draw(TIMEOUTS),
        max_parallel=draw(WIDTHS),
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


def in_trio_time(test: Callable[[], Any]) -> None:
    trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))


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


CANCELS = st.none() | st.tuples(SECONDS, st.booleans())
"""After how long the run is cancelled, and whether its caller leaves instead."""


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans().filter(unique), rules=asking_rules(), width=WIDTHS, timeout=TIMEOUTS, cancel=CANCELS)
def test_every_promise_holds_for_every_plan(
    plan: motet.Plan,
    rules: list[AskingRule],
    width: int | None,
    timeout: float | None,
    cancel: tuple[float, bool] | None,
) -> None:
    keeps_every_promise(plan, rules, width, timeout, cancel)


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


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    members=st.lists(agents(2, asked=True), min_size=1, max_size=4),
    rule=rules_that_ask(),
    rules=asking_rules(),
    bounds=st.tuples(WIDTHS, WIDTHS, st.sampled_from([None, None, 1.0, 2.0, 7.0])),
    cancel=st.none() | CANCELS,
)
def test_every_promise_holds_for_every_question(
    members: list[ScriptedAgent],
    rule: Aggregation,
    rules: list[AskingRule],
    bounds: tuple[int | None, int | None, float | None],
    cancel: tuple[float, bool] | None,
) -> None:
    width, max_parallel, timeout = bounds
    group = Group("asks", members, rule, timeout=timeout, max_parallel=max_parallel)
    # Once in the plan itself, and once inside a member, whose group has limits of its own.
    inside = Group("around", [Member(ScriptedAgent("host", nested=group), timeout=timeout)])
    for plan in (group, inside):
        keeps_every_promise(plan, rules, width, None, cancel)


def keeps_every_promise(
    plan: motet.Plan,
    rules: list[AskingRule],
    width: int | None,
    timeout: float | None,
    cancel: tuple[float, bool] | None,
) -> None:
    cancel_after, leave = cancel or (None, False)

    async def main() -> None:
        events: list[motet.Event] = []
        observers = [lambda run_id, event: events.append(event)]
        catalog = motet.Catalog()
        for rule in rules:
            catalog.add_aggregation(rule)
        async with motet.open_engine(catalog, max_parallel=width, stop_grace=STOP_GRACE, observers=observers) as engine:
            stream = engine.stream(plan, "x", timeout=timeout)

            async def stop() -> None:
                await trio.sleep(cancel_after or 0)
                stream.cancel()

            seen = []
            async with trio.open_nursery() as nursery, stream:
                if cancel_after is not None and not leave:
                    nursery.start_soon(stop)
                with trio.move_on_after(cancel_after if leave and cancel_after is not None else 10_000):
                    async for event in stream:
                        seen.append(event)  # noqa: PERF401 - what was seen before a cancel counts
                nursery.cancel_scope.shield = True
                await stream.__aexit__(None, None, None)
                nursery.cancel_scope.cancel()
            result = stream.result
            assert result is not None
            check_run(events, result, plan=plan)
            assert seen == events[: len(seen)]
            detached = sum(
                outcome.stop is not None and outcome.stop.kind is StopKind.DETACHED for outcome in every_outcome(result)
            )
            now = engine.statistics()
            assert now.members_running == 0
            assert now.members_waiting == 0
            assert now.members_detached <= detached
            assert now.width_waiters == 0
            assert now.guards["capacity"]["engine"]["in_use"] <= now.members_detached
        assert engine.statistics().guards["capacity"]["engine"]["in_use"] == 0

    in_trio_time(main)


def every_outcome(result: motet.RunResult) -> list[motet.Outcome]:
    found: list[motet.Outcome] = []
    waiting = list(result.groups)
    while waiting:
        group = waiting.pop()
        found.extend(group.outcomes)
        waiting.extend(nested for outcome in group.outcomes for nested in outcome.nested)
        waiting.extend(group.asked)
    return found


@settings(max_examples=150, deadline=None)
@given(
    delays=st.lists(SECONDS, min_size=1, max_size=6),
    fails=st.lists(st.booleans(), min_size=6, max_size=6),
    width=st.integers(1, 6),
)
def test_stopping_early_and_running_all_give_a_majority_the_same_answer(
    delays: list[float], fails: list[bool], width: int
) -> None:
    results: list[motet.RunResult] = []

    async def main() -> None:
        async with motet.open_engine() as engine:
            for early in (True, False):
                members = [
                    ScriptedAgent(f"a{n}", reply=str(n), delay=delay, error=OSError() if fails[n] else None)
                    for n, delay in enumerate(delays)
                ]
                group = Group("g", members, aggregation=Aggregation("majority", early_stop=early), max_parallel=width)
                results.append(await engine.run(group))

    in_trio_time(main)
    early, full = results
    assert early.output == full.output
    # Which reason is given for having no answer may differ: whether a member would still have succeeded is not known.
    assert early.state is full.state


@settings(max_examples=100, deadline=None)
@given(
    widths=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    engine_width=st.integers(1, 4),
    starts=st.lists(st.tuples(SECONDS, st.integers(0, 2), st.integers(1, 4), SECONDS), min_size=1, max_size=8),
)
def test_no_width_is_ever_exceeded_and_every_member_gets_its_turn(
    widths: list[int], engine_width: int, starts: list[tuple[float, int, int, float]]
) -> None:
    async def main() -> None:
        pool = [ScriptedAgent(f"a{n}", delay=1, max_parallel=width) for n, width in enumerate(widths)]
        everything = [0, 0]

        def count(run_id: str, event: motet.Event) -> None:
            everything[0] += isinstance(event.detail, motet.MemberStarted)
            everything[0] -= isinstance(event.detail, motet.MemberEnded) and event.detail.outcome.attempts
            everything[1] = max(everything)

        async with motet.open_engine(max_parallel=engine_width, observers=[count]) as engine:

            async def one(number: int, wait: float, which: int, replicas: int) -> None:
                await trio.sleep(wait)
                agent = pool[which % len(pool)]
                result = await engine.run(Group(f"g{number}", [Member(agent, replicas=replicas)]))
                assert result.state is State.SUCCEEDED

            async with trio.open_nursery() as nursery:
                for number, (wait, which, replicas, _) in enumerate(starts):
                    nursery.start_soon(one, number, wait, which, replicas)
        assert everything[1] <= engine_width
        assert all(agent.peak <= (agent.info.max_parallel or 0) for agent in pool)

    in_trio_time(main)
