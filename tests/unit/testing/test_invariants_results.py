"""The checker reports every promise about results, and about their plan, that a history breaks."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from motet.model.outcome import Failure, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.plan import Group, Member, OnFailure, Parallel, Sequence
from motet.model.result import Saved
from motet.model.state import State
from motet.model.usage import NONE, Usage

FAILURE = Failure("AGENT_FAILED", "it failed")
STOPPED = StopReceipt(StopKind.STOPPED, 0.0)


def stats(name: str, value: float) -> Callable[[Any], object]:
    return lambda c: c.edit_group("race", stats=replace(c.result["race"].stats, **{name: value}))


def run_stats(name: str, value: float) -> Callable[[Any], object]:
    return lambda c: c.edit_result(stats=replace(c.result.stats, **{name: value}))


def saved(**changes: int) -> Callable[[Any], object]:
    return lambda c: c.edit_group("race", saved=replace(c.result["race"].saved, **changes))


def outcome(whose: str, /, **changes: Any) -> Callable[[Any], object]:
    return lambda c: c.edit_outcome("race", whose, **changes)


def group(whose: str, /, **changes: Any) -> Callable[[Any], object]:
    return lambda c: c.edit_group(whose, **changes)


def run(**changes: Any) -> Callable[[Any], object]:
    return lambda c: c.edit_result(**changes)


def plan(make: Callable[[list[Any]], Any]) -> Callable[[Any], object]:
    """Change the plan: `make` gets its three groups."""
    return lambda c: setattr(c, "plan", make(list(c.plan.steps)))


BROKEN: dict[str, tuple[Callable[[Any], object], str]] = {
    # outcomes
    "success without output": (outcome("fast", output=None), "fast: it is SUCCEEDED and has no output"),
    "output without success": (outcome("slow", output=Payload.of(1)), "slow: it is CANCELLED and has an output"),
    "success with a failure": (outcome("fast", failure=FAILURE), "fast: it is SUCCEEDED and has a failure"),
    "failure without one": (outcome("slow", failure=None), "slow: it is CANCELLED and has no failure"),
    "lower case reason": (outcome("slow", failure=Failure("Decided", "x")), "reason 'Decided' is not upper case"),
    "empty reason": (outcome("slow", failure=Failure("", "x")), "reason '' is not upper case"),
    "failure without words": (outcome("slow", failure=Failure("DECIDED", "")), "slow: the failure has no message"),
    "no receipt": (outcome("slow", stop=None), "slow: it is CANCELLED and has no stop receipt"),
    "receipt of a success": (outcome("fast", stop=STOPPED), "fast: it is SUCCEEDED and has a stop receipt"),
    "receipt of a skipped": (outcome("late", stop=STOPPED), "late: it is SKIPPED and has a stop receipt"),
    "negative receipt": (outcome("slow", stop=StopReceipt(StopKind.STOPPED, -1.0)), "slow: took is -1.0"),
    "endless run time": (outcome("fast", ran=math.inf), "fast: ran is inf"),
    "queue time not a number": (outcome("fast", queued=math.nan), "fast: queued is nan"),
    "longer than its group": (outcome("fast", ran=1.5), "fast: it queued 0.0 s and ran 1.5 s in a group of 1.0 s"),
    "skipped that ran": (outcome("late", queued=0.5, ran=0.5), "late: it is SKIPPED and has run"),
    "skipped with usage": (outcome("late", usage=Usage(calls=1)), "late: it is SKIPPED and has used something"),
    "skipped with attempts": (outcome("late", attempts=1), "late: it is SKIPPED after 1 attempts"),
    "started without attempts": (outcome("fast", attempts=0), "fast: it is SUCCEEDED after 0 attempts"),
    "other attempts": (outcome("fast", attempts=2), "1 attempts started, the outcome says 2"),
    "skipped by an agent's failure": (outcome("late", failure=FAILURE), "late: it is SKIPPED with the reason AGENT_"),
    "skipped with nested groups": (
        lambda c: c.edit_outcome("race", "late", nested=c.result["outer"]["host"].nested),
        "late: it is SKIPPED and has run groups",
    ),
    "outcome that has not ended": (outcome("fast", state=State.RUNNING), "fast: its state is RUNNING, which is no end"),
    "usage below that of nested groups": (
        lambda c: c.edit_outcome("outer", "host", usage=NONE),
        "member outer/host: its usage is less than that of the groups it ran",
    ),
    "nested group elsewhere": (
        lambda c: c.edit_outcome("outer", "host", nested=(replace(c.result["outer"]["host"].nested[0], parent="x"),)),
        "group outer/host/inner: its parent is 'x'",
    ),
    "nested group with a wrong count": (
        lambda c: c.edit_outcome("outer", "host", nested=(replace(c.result["outer"]["host"].nested[0], usage=NONE),)),
        "group outer/host/inner: its usage is not the sum over its members and questions",
    ),
    # groups
    "answer of a failed group": (group("outer", aggregate=Payload.of(1)), "outer: it is FAILED and has an aggregate"),
    "success without an answer": (group("race", aggregate=None), "race: it is SUCCEEDED and has no aggregate"),
    "group failure of a success": (group("race", failure=FAILURE), "group race: it is SUCCEEDED and has a failure"),
    "group without a failure": (group("outer", failure=None), "group outer: it is FAILED and has no failure"),
    "group that has not ended": (group("outer", state=State.QUEUED), "outer: its state is QUEUED, which is no end"),
    "group in another place": (group("race", parent="x/y"), "group race: its parent is 'x/y'"),
    "group time": (group("race", elapsed=-1.0), "group race: elapsed is -1.0"),
    "two members of one name": (outcome("slow", member="fast"), "group race: member names repeat"),
    "group usage": (group("race", usage=NONE), "group race: its usage is not the sum over its members and"),
    "saved without a decision": (
        group("outer", saved=Saved()),
        "group outer: decided_early is False and saved is set",
    ),
    "decision without saved": (group("race", saved=None), "race: decided_early is True and saved is not set"),
    "saved members": (saved(members=1), "group race: saved.members is 1, the outcomes say 2"),
    "saved calls": (saved(calls=2), "group race: saved.calls is 2, the outcomes say 1"),
    "more unpriced calls than saved": (saved(unpriced_calls=2), "race: saved.unpriced_calls is 2 of 1 calls"),
    "negative unpriced calls": (saved(unpriced_calls=-1), "race: saved.unpriced_calls is -1 of 1 calls"),
    "negative cost saved": (saved(cost_nanos=-1, unpriced_calls=0), "saved.cost_nanos is -1 for 1 calls with a price"),
    "cost of calls without a price": (saved(cost_nanos=5), "saved.cost_nanos is 5 for 0 calls with a price"),
    "cancelled by nobody": (
        group("outer", state=State.CANCELLED, failure=Failure("CANCELLED", "x")),
        "group outer: it is CANCELLED, and no member or question has the reason CANCELLED",
    ),
    "failed because it was cancelled": (
        group("outer", failure=Failure("CANCELLED", "x")),
        "group outer: it is FAILED with the reason CANCELLED",
    ),
    "timed out without a deadline": (
        group("outer", state=State.TIMED_OUT, failure=Failure("DEADLINE_EXCEEDED", "x")),
        "group outer: it is TIMED_OUT, and no member or question has the reason DEADLINE_EXCEEDED",
    ),
    "decided without a sign": (group("outer", decided_early=True), "group outer: it was decided early and no member"),
    "sign without decided": (group("race", decided_early=False), "group race: members were stopped because it was"),
    "skipped group with a run": (
        lambda c: c.edit_outcome("after", "a", state=State.FAILED, attempts=1),
        "group after: it is SKIPPED and a member is not",
    ),
    "skipped group with a time": (group("after", elapsed=1.0), "group after: it is SKIPPED and has an elapsed time"),
    "started group without events": (
        group("after", state=State.CANCELLED),
        "group after: it is CANCELLED and has no events",
    ),
    **{
        f"group stats {name}": (stats(name, 7), f"group race: stats.{name} is 7")
        for name in ("members", "succeeded", "failed", "timed_out", "cancelled", "skipped", "detached", "ran", "queued")
    },
    "group peak": (stats("peak_running", 1), "group race: stats.peak_running is 1, the events say 2"),
    "group dropped": (stats("progress_dropped", -1), "group race: stats.progress_dropped is -1"),
    # runs
    "run that skipped": (run(state=State.SKIPPED), "run: its state is SKIPPED, which is no end of a run"),
    "run that succeeded": (run(state=State.SUCCEEDED, failure=None), "run: it is SUCCEEDED, its groups are SUCCEEDED"),
    "success without output of a run": (run(state=State.SUCCEEDED), "run: it is SUCCEEDED and has no output"),
    "run without a failure": (run(failure=None), "run: it is FAILED and has no failure"),
    "run time": (run(elapsed=math.nan), "run: elapsed is nan"),
    "run usage": (run(usage=NONE), "run: its usage is not the sum over its groups"),
    "groups of one name": (lambda c: run(groups=c.result.groups[:1] * 2)(c), "run: group names repeat"),
    **{
        f"run stats {name}": (run_stats(name, 9), f"run: stats.{name} is 9")
        for name in (
            "members",
            "succeeded",
            "failed",
            "timed_out",
            "cancelled",
            "skipped",
            "detached",
            "ran",
            "queued",
            "peak_running",
            "progress_dropped",
        )
    },
    # plans
    "another group": (plan(lambda g: Sequence(g[:2])), "run: its groups are race, outer, after; the plan says race, o"),
    "another order of groups": (plan(lambda g: Sequence([g[1], g[0], g[2]])), "the plan says outer, race, after"),
    "fewer members": (plan(lambda g: Sequence([replace(g[0], members=["a", "b"]), *g[1:]])), "the plan has 2"),
    "replicas": (
        plan(lambda g: Sequence([*g[:2], Group("after", [Member("a", replicas=3)])])),
        "group after: 1 members ended, the plan has 3",
    ),
    "another agent": (plan(lambda g: Sequence([*g[:2], Group("after", ["z"])])), "a is agent a, the plan has z in its"),
    "another member name": (
        plan(lambda g: Sequence([*g[:2], Group("after", [Member("a", "z")])])),
        "group after: a stands where the plan has z",
    ),
    "another replica name": (
        plan(lambda g: Sequence([*g[:2], Group("after", [Member("a", "z", replicas=1)])])),
        "group after: a stands where the plan has z_1",
    ),
    "a member without time": (
        plan(lambda g: Sequence([g[0], Group("outer", [Member("c", "host", timeout=0)]), g[2]])),
        "group outer: host has the timeout 0 and is FAILED",
    ),
    "other metadata": (
        plan(lambda g: Sequence([replace(g[0], metadata={"k": 1}), *g[1:]])),
        "race: its metadata are not",
    ),
    "too wide": (
        plan(lambda g: Sequence([replace(g[0], max_parallel=1), *g[1:]])),
        "event 4: 2 members of group race run, max_parallel is 1",
    ),
    "a step too early": (
        lambda c: c.move(10, to=9),
        "group outer: it starts before the step before it has ended",
    ),
    "a step after a failed one": (
        lambda c: setattr(
            c, "plan", Parallel([Sequence([c.plan.steps[1], c.plan.steps[0]], on_failure=OnFailure.STOP)])
        ),
        "group race: it starts after outer, a step that has no answer",
    ),
    "another output": (
        run(output=Payload.of("x")),
        "run: its output is not the answer of the group that the plan says",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_about_results_is_reported(name: str, case: Any) -> None:
    break_it, report = BROKEN[name]
    break_it(case)
    assert any(report in problem for problem in case.problems()), case.problems()


def test_members_of_a_nested_group_may_be_stopped_because_a_group_around_it_was_decided(case: Any) -> None:
    host = case.result["outer"]["host"]
    stopped = replace(
        host.nested[0].outcomes[0], state=State.CANCELLED, failure=Failure("DECIDED", "it was decided"), stop=STOPPED
    )
    inner = replace(
        host.nested[0],
        outcomes=(stopped,),
        stats=replace(host.nested[0].stats, failed=0, cancelled=1),
    )
    case.edit_detail(14, outcome=stopped)
    case.edit_detail(15, result=replace(inner, outcomes=()))
    stop = {"nested": (inner,), "state": State.CANCELLED, "stop": STOPPED}
    counts, run_counts = replace(case.result["outer"].stats, failed=0, cancelled=1), case.result.stats
    case.edit_outcome("outer", "host", **stop, failure=Failure("CANCELLED", "by the caller"))
    case.edit_group("outer", stats=counts)
    case.edit_result(stats=replace(run_counts, failed=0, cancelled=2))
    assert case.problems() == [
        "group outer/host/inner: members were stopped because it was decided, and decided_early is not set"
    ]
    case.edit_outcome("outer", "host", **stop, failure=stopped.failure)
    case.edit_group("outer", decided_early=True, saved=Saved(members=1))
    assert case.problems() == []


def test_a_peak_that_counts_nested_members_is_as_good_as_one_that_does_not(case: Any) -> None:
    case.edit_result(stats=replace(case.result.stats, peak_running=2))
    assert case.problems() == []


def test_a_detached_member_has_ended(case: Any) -> None:
    case.edit_outcome("race", "slow", stop=StopReceipt(StopKind.DETACHED, 0.0, "a thread"))
    stats("detached", 1)(case)
    run_stats("detached", 1)(case)
    assert case.problems() == []
