"""Plans: sequences, parallels, feed_forward, nesting of runs, what is refused."""

from typing import Any, cast

import pytest
import trio

import motet
from motet import Group, Member, OnFailure, Parallel, Sequence, State
from motet.testing import ScriptedAgent


def echo(name: str, **options: Any) -> ScriptedAgent:
    return ScriptedAgent(name, reply=lambda call: f"{name}({call.text})", **options)


async def test_steps_run_one_after_another_and_the_last_one_answers(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    steps = [Group(n, [echo(n, delay=1)], aggregation="first") for n in ("a", "b", "c")]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Sequence(steps), "x")
    assert result.unwrap() == "c(x)"
    assert result.elapsed == pytest.approx(3)
    assert result.stats.peak_running == 1


async def test_feed_forward_gives_a_step_the_answers_before_it(checked_run: Any) -> None:
    last = ScriptedAgent("last", reply=lambda call: [call.text, call.variables])
    own = ScriptedAgent("own", reply=lambda call: [call.text, call.variables])
    steps = [
        Group("one", [echo("a")], aggregation="first"),
        Group("two", [echo("b")], aggregation="first"),
        Group("three", [last, Member(own, input=motet.Payload.of("mine"))]),
    ]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Sequence(steps, feed_forward=True), "x", variables={"k": 1})
    answers = {"k": 1, "one": "a(x)", "two": "b(a(x))"}
    assert result.unwrap()["combined_results"] == [["b(a(x))", answers], ["mine", answers]]


async def test_without_feed_forward_steps_do_not_see_each_other_and_all_run(checked_run: Any) -> None:
    bad = Group("bad", [ScriptedAgent("bad", error=OSError())])
    seen = ScriptedAgent("seen", reply=lambda call: [call.text, call.variables])
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Sequence([bad, Group("next", [seen])]), "x")
    assert result["next"].aggregate.value["combined_results"] == [["x", {}]]
    assert result.state is State.FAILED
    assert result.failure.details == {"group": "bad"}
    assert result.output is not None


@pytest.mark.parametrize(
    ("feed_forward", "on_failure", "ran"),
    [
        (True, None, False),
        (True, OnFailure.CONTINUE, True),
        (False, None, True),
        (False, OnFailure.STOP, False),
    ],
)
async def test_what_happens_after_a_failed_step(
    feed_forward: bool, on_failure: OnFailure | None, ran: bool, checked_run: Any
) -> None:
    agent = echo("after")
    steps = [Group("bad", [ScriptedAgent("bad", error=OSError())]), Group("after", [agent, agent])]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Sequence(steps, feed_forward=feed_forward, on_failure=on_failure), "x")
    assert bool(agent.calls) is ran
    if not ran:
        assert result["after"].state is State.SKIPPED
        assert [o.failure.reason for o in result["after"].outcomes] == ["PREVIOUS_STEP_FAILED"] * 2
    assert result.state is State.FAILED


async def test_branches_run_together_and_answer_as_an_object_by_group_name(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    plan = Parallel(
        [
            Group("a", [echo("a", delay=2)], aggregation="first"),
            Sequence([Group("b", [echo("b", delay=1)]), Group("c", [echo("c", delay=1)], aggregation="first")]),
            Parallel([Group("d", [echo("d", delay=2)], aggregation="first")]),
        ]
    )
    async with motet.open_engine() as engine:
        result = await checked_run(engine, plan, "x")
    assert result.unwrap() == {"a": "a(x)", "c": "c(x)", "d": "d(x)"}
    assert result.elapsed == pytest.approx(2)
    assert [g.name for g in result.groups] == ["a", "b", "c", "d"]


async def test_one_failed_branch_fails_the_run_and_keeps_the_others_answers(checked_run: Any) -> None:
    plan = Parallel([Group("bad", [ScriptedAgent("x", error=OSError())]), Group("good", [echo("y")])])
    async with motet.open_engine() as engine:
        result = await checked_run(engine, plan, "q")
    assert result.state is State.FAILED
    assert result.output.value == {"good": {"combined_results": ["y(q)"], "result_count": 1}}


async def test_a_nested_run_belongs_to_its_member_in_events_outcome_and_usage(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    priced = ScriptedAgent("leaf", usage=motet.Usage(calls=1, cost_nanos=10), delay=1)
    outer = ScriptedAgent("outer", nested=Group("inner", [priced, priced]), usage=motet.Usage(calls=1, cost_nanos=1))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [outer]))
    nested = result["g"]["outer"].nested
    assert [(n.name, n.parent, len(n.outcomes)) for n in nested] == [("inner", "g/outer", 2)]
    assert result.usage == motet.Usage(calls=3, cost_nanos=21)
    assert priced.calls[0].depth == 1


async def test_depth_is_counted_by_the_engine_and_bounded(checked_run: Any) -> None:
    catalog = motet.Catalog()
    depths: list[int] = []

    @catalog.agent
    async def deeper(call: motet.Call) -> str:
        depths.append(call.depth)
        result = await call.run("loop")
        return str(result.unwrap())

    catalog.add_group(Group("loop", ["deeper"]))
    async with motet.open_engine(catalog, max_depth=3) as engine:
        result = await checked_run(engine, Group("g", ["deeper"]))
    assert depths == [0, 1, 2, 3]
    innermost = result["g"]["deeper"]
    while innermost.nested:
        innermost = innermost.nested[0]["deeper"]
    assert innermost.failure.reason == "DEPTH_EXCEEDED"


async def test_a_run_that_a_member_starts_on_the_engine_itself_is_deeper_too() -> None:
    depths: list[int] = []
    failures: list[motet.Failure | None] = []
    async with motet.open_engine(max_depth=2, max_parallel=1) as engine:

        async def sneaky(call: motet.Call) -> str:
            depths.append(call.depth)
            result = await engine.run(Group("again", [agent]))
            failures.append(result["again"]["sneaky"].failure)
            return "done"

        agent = motet.FunctionAgent(sneaky)
        await engine.run(Group("g", [agent]))
    assert depths == [0, 1, 2]
    assert [failure and failure.reason for failure in failures] == ["DEPTH_EXCEEDED", None]


async def test_a_caller_can_lower_the_depth_and_not_raise_it(checked_run: Any) -> None:
    outer = ScriptedAgent("outer", nested=Group("inner", [echo("leaf")]))
    async with motet.open_engine(max_depth=1) as engine:
        lowered = await checked_run(engine, Group("g", [outer]), limits=motet.Limits(max_depth=0))
        raised = await checked_run(engine, Group("g", [outer]), limits=motet.Limits(max_depth=99))
        group = Group("g", [outer], limits=motet.Limits(max_depth=0))
        by_group = await checked_run(engine, group)
        claimed = motet.RunRequest(target=Group("g", [outer]), depth=1)
        deeper = await engine.run(claimed)
    assert lowered["g"]["outer"].failure.reason == "DEPTH_EXCEEDED"
    assert by_group["g"]["outer"].failure.reason == "DEPTH_EXCEEDED"
    assert deeper["g"]["outer"].failure.reason == "DEPTH_EXCEEDED"
    assert raised.state is State.SUCCEEDED


async def test_nested_members_count_against_the_runs_limit(checked_run: Any) -> None:
    outer = ScriptedAgent("outer", nested=Group("inner", [Member(echo("leaf"), replicas=5)]))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", [outer]), limits=motet.Limits(max_members=5))
    assert result["g"]["outer"].failure.reason == "MEMBERS_EXCEEDED"


async def test_a_group_agent_answers_with_its_groups_answer(checked_run: Any) -> None:
    catalog = motet.Catalog()
    catalog.add(echo("a"), echo("b"))
    catalog.add_group(Group("pair", ["a", "b"]))
    catalog.add(motet.GroupAgent("panel", "pair"))
    async with motet.open_engine(catalog) as engine:
        result = await checked_run(engine, Group("g", ["panel"], aggregation="first"), "x")
    assert result.unwrap() == {"combined_results": ["a(x)", "b(x)"], "result_count": 2}


async def test_a_session_reaches_members_of_groups_that_preserve_it() -> None:
    agent = ScriptedAgent("a")
    async with motet.open_engine() as engine:
        await engine.run(Group("g", [agent], preserve_session=True), session_id="s1")
        await engine.run(Group("g", [agent]), session_id="s1")
    assert [call.session_id for call in agent.calls] == ["s1", ""]


def safe() -> ScriptedAgent:
    return ScriptedAgent("safe", replay_safe=True)


@pytest.mark.parametrize(
    ("plan", "field", "says"),
    [
        (lambda a: Group("g", []), "plan.group.members", "at least one"),
        (lambda a: Group("bad name", [a]), "plan.group.name", "not a name"),
        (lambda a: Group("g", ["ghost"]), "plan.group.members[0].agent", "ghost"),
        (lambda a: Group("g", [a], aggregation="vibes"), "plan.group.aggregation.name", "combine, custom, ensemble"),
        (
            lambda a: Group("g", [a], aggregation=motet.Aggregation("first", {"x": 1})),
            "plan.group.aggregation.options",
            "x",
        ),
        (lambda a: Group("g", [a], max_parallel=0), "plan.group.max_parallel", "at least 1"),
        (lambda a: Group("g", [Member(a, weight=0)]), "plan.group.members", "all weights are 0"),
        (lambda a: Group("g", [Member(a, replicas=0)]), "plan.group.members[0].replicas", "between 1"),
        (lambda a: Group("g", [Member(a, name="x"), Member(a, name="x")]), "plan.group.members[1].name", "unique"),
        (
            lambda a: Group("g", [Member(a, replicas=2), Member(a, name="a_2")]),
            "plan.group.members[1].name",
            "unique",
        ),
        (
            lambda a: Group("g", [Member(a, replicas=2), Member(a, replicas=2)]),
            "plan.group.members[1].name",
            "give it a name",
        ),
        (
            lambda a: Group("g", [Member(a, replicas=2, overrides=(motet.ReplicaOverride(replica=3),))]),
            "plan.group.members[0].overrides[0].replica",
            "between 1",
        ),
        (lambda a: Group("g", [Member(a, input=motet.Payload.of("x" * 99))]), "plan.group.members[0].input", "99"),
        (lambda a: Sequence([]), "plan.sequence.steps", "empty"),
        (
            lambda a: Parallel([Group("g", [a]), Group("g", [a])]),
            "plan.parallel.branches[1].group.name",
            "unique in a plan",
        ),
        (
            lambda a: Group("g", [a], retry=motet.RetryPolicy(max_attempts=0)),
            "plan.group.retry.max_attempts",
            "must be 1 or more, not 0",
        ),
        (
            lambda a: Group("g", [Member(a, retry=motet.RetryPolicy(jitter=1.5))]),
            "plan.group.members[0].retry.jitter",
            "must be a number from 0 to 1",
        ),
        (
            lambda a: Group("g", [a], limits=motet.Limits(max_calls=-1)),
            "plan.group.limits.max_calls",
            "must be 0 or more, not -1",
        ),
        (
            lambda a: Group("g", [a], limits=motet.Limits(max_failure_rate=1.01)),
            "plan.group.limits.max_failure_rate",
            "must be a number from 0 to 1",
        ),
        (
            lambda a: Group("g", [Member(a, replicas=2)], limits=motet.Limits(min_successes=3)),
            "plan.group.limits.min_successes",
            "must be 2 or less, not 3",
        ),
        (
            lambda a: Group("g", [a], hedge=motet.HedgePolicy(delay=1)),
            "plan.group.hedge",
            "none of the group's agents is declared replay_safe",
        ),
        (
            lambda a: Group("g", [safe()], hedge=motet.HedgePolicy(delay=-1)),
            "plan.group.hedge.delay",
            "must be a finite number of seconds",
        ),
        (
            lambda a: Group("g", [safe()], hedge=motet.HedgePolicy(max_attempts=1)),
            "plan.group.hedge.max_attempts",
            "must be 2 or more, not 1",
        ),
        (
            lambda a: Group("g", [a], idempotency=motet.Idempotency(ttl=-1)),
            "plan.group.idempotency.ttl",
            "must be a finite number of seconds",
        ),
        (
            lambda a: Group("g", [Member(a, idempotency=motet.Idempotency(key="x" * 257))]),
            "plan.group.members[0].idempotency.key",
            "has 257 characters",
        ),
        (lambda a: Group("g", [cast("Any", 3)]), "plan.group.members[0].agent", "int is not an agent"),
    ],
)
async def test_a_wrong_plan_is_refused_before_anything_starts(plan: Any, field: str, says: str) -> None:
    agent = ScriptedAgent("a")
    heard: list[object] = []
    observers = [lambda run_id, event: heard.append(event)]
    async with motet.open_engine(max_payload_bytes=50, observers=observers) as engine:
        with pytest.raises(motet.InvalidRequest) as raised:
            await engine.run(plan(agent))
    (violation,) = raised.value.violations
    assert violation.field == field
    assert says in violation.message
    assert not agent.calls
    assert not heard


@pytest.mark.parametrize(
    ("limits", "field", "says"),
    [
        (motet.Limits(max_cost_nanos=-1), "limits.max_cost_nanos", "must be 0 or more, not -1"),
        (motet.Limits(max_tokens=2**63), "limits.max_tokens", "must be"),
        (motet.Limits(max_duration=-0.5), "limits.max_duration", "must be a finite number of seconds"),
        (motet.Limits(min_samples=0), "limits.min_samples", "must be 1 or more, not 0"),
        (motet.Limits(min_successes=4), "limits.min_successes", "4 successes are more than the 3 members of group g"),
        (motet.Limits(on_breach=cast("Any", "STOP")), "limits.on_breach", "OnBreach.DRAIN or OnBreach.CANCEL"),
    ],
)
async def test_wrong_limits_of_a_run_are_refused_before_anything_starts(
    limits: motet.Limits, field: str, says: str
) -> None:
    agent = ScriptedAgent("a")
    async with motet.open_engine() as engine:
        with pytest.raises(motet.InvalidRequest) as raised:
            await engine.run(Group("g", [Member(agent, replicas=3)]), limits=limits)
    (violation,) = raised.value.violations
    assert violation.field == field
    assert says in violation.message
    assert not agent.calls


async def test_every_mistake_is_named_at_once() -> None:
    plan = Sequence([Group("g", ["ghost"], timeout=-1), Parallel([Group("g", [])])])
    async with motet.open_engine() as engine:
        with pytest.raises(motet.InvalidRequest) as raised:
            await engine.run(plan, timeout=-1)
    assert len(raised.value.violations) == 5


async def test_a_plan_that_nests_too_deep_is_refused() -> None:
    plan: motet.Plan = Group("g", [ScriptedAgent("a")])
    for _ in range(5000):
        plan = Sequence([plan])
    async with motet.open_engine() as engine:
        with pytest.raises(motet.InvalidRequest, match="nests deeper than 32"):
            await engine.run(plan)


async def test_an_unknown_group_name_is_not_found() -> None:
    async with motet.open_engine() as engine:
        with pytest.raises(motet.NotFound, match="ghost") as raised:
            await engine.run("ghost")
    assert raised.value.reason == "GROUP_NOT_FOUND"


async def test_an_input_without_a_payload_form_is_refused_and_named() -> None:
    async with motet.open_engine() as engine:
        with pytest.raises(motet.InvalidRequest, match=r"variables\[\"v\"\]"):
            await engine.run(Group("g", [ScriptedAgent("a")]), variables={"v": object()})
        with pytest.raises(motet.InvalidRequest, match="input"):
            await engine.run(Group("g", [ScriptedAgent("a")]), float("nan"))
