"""The tree of calls, from the events of real runs and of runs that were cut short."""

from typing import Any

import trio

import motet
from motet.errors import AgentError
from motet.instrument.tree import Node, Tree, owner_of, tool_use
from motet.model.payload import Payload

COMBINE = motet.Aggregation("combine", early_stop=False)


async def recorded(catalog: motet.Catalog, plan: motet.Plan | str) -> list[motet.Event]:
    events: list[motet.Event] = []
    async with motet.open_engine(catalog, observers=[lambda _, event: events.append(event)]) as engine:
        await engine.run(plan, "hello")
    return events


def grown(events: list[motet.Event]) -> Node:
    tree = Tree()
    for event in events:
        tree.apply(event)
    return tree.snapshot()


def below(node: Node, *names: str) -> Node:
    for name in names:
        node = next(child for child in node.children if child.name == name)
    return node


def flat(node: Node) -> list[Node]:
    return [node, *(each for child in node.children for each in flat(child))]


def sample() -> motet.Catalog:
    catalog = motet.Catalog()
    made = 0

    @catalog.agent
    async def echo(call: motet.Call) -> str:
        await trio.sleep(1)
        return call.text

    @catalog.agent
    async def flaky(call: motet.Call) -> Any:
        nonlocal made
        made += 1
        await trio.sleep(1)
        if made < 2:
            raise AgentError("not now", reason="BUSY", retryable=True)
        result = await call.run(motet.Group("inner", ["echo"]))
        return result.unwrap()

    @catalog.agent
    async def model(call: motet.Call) -> str:
        await call.ask(motet.Group("turn_1", [motet.Member("echo", name="lab:small")]))
        call.report({"tool": "unknown", "call_id": "c0", "status": "tool_not_found"})
        await call.ask(motet.Group("tools_1", [motet.Member("echo", name="search")], COMBINE))
        call.report({"tool": "search", "call_id": "c1", "status": "executed"})
        await call.ask(motet.Group("turn_2_fallback_1", ["echo"]))
        return "answer"

    return catalog


async def test_the_tree_has_groups_members_attempts_and_what_each_of_them_ran(autojump_clock: object) -> None:
    group = motet.Group("work", ["echo", "flaky"], retry=motet.RetryPolicy(max_attempts=3, initial_backoff=1, jitter=0))
    run = grown(await recorded(sample(), group))
    flaky = below(run, "work", "flaky")
    assert [(node.kind, node.name) for node in flat(flaky)] == [
        ("member", "flaky"),
        ("attempt", "1"),
        ("attempt", "2"),
        ("group", "inner"),
        ("member", "echo"),
    ]
    first, second = flaky.children
    assert (first.state, first.reason, first.why, first.start, first.end) == ("FAILED", "BUSY", "FIRST", 0.0, 1.0)
    assert (second.state, second.why, second.end) == ("SUCCEEDED", "RETRY", flaky.end)
    assert (flaky.attempts, flaky.state, run.state, run.members) == (2, "SUCCEEDED", "SUCCEEDED", 2)
    assert run.end == flaky.end
    assert run.started_at is not None


async def test_turns_and_tools_of_a_model_agent_are_told_by_their_names(autojump_clock: object) -> None:
    run = grown(await recorded(sample(), motet.Group("work", ["model"])))
    model = below(run, "work", "model")
    assert [(node.name, node.role) for node in model.children] == [
        ("turn_1", "turn"),
        ("tools_1", "tools"),
        ("turn_2_fallback_1", "turn"),
    ]
    assert (below(model, "turn_1", "lab:small").role, below(model, "tools_1", "search").role) == ("request", "tool")
    assert [(use.tool, use.call_id, use.status) for use in model.tools] == [
        ("unknown", "c0", "tool_not_found"),
        ("search", "c1", "executed"),
    ]


async def test_a_group_of_any_other_agent_is_no_turn_whatever_its_name(autojump_clock: object) -> None:
    catalog = sample()

    @catalog.agent
    async def worker(call: motet.Call) -> str:
        await call.run(motet.Group("tools_1", ["echo"]))
        return "done"

    run = grown(await recorded(catalog, motet.Group("turn_1", ["worker"])))
    assert {node.role for node in flat(run)} == {""}


async def test_second_runs_and_questions_of_aggregations_stand_where_they_belong(autojump_clock: object) -> None:
    catalog = sample()

    @catalog.agent
    async def twice(call: motet.Call) -> str:
        await call.run(motet.Group("one", ["echo"]))
        await call.run(motet.Group("two", ["echo"]))
        return "done"

    rule = motet.Aggregation("summarize", {"agent": "echo"})
    run = grown(await recorded(catalog, motet.Group("work", ["twice", "echo"], rule)))
    assert [node.name for node in below(run, "work", "twice").children] == ["one", "two"]
    asked = [node for node in below(run, "work").children if node.role == "question"]
    assert [node.kind for node in flat(asked[0])] == ["group", "member"]


async def test_every_prefix_of_the_events_is_a_tree_whose_open_nodes_have_no_end(autojump_clock: object) -> None:
    group = motet.Group("work", ["echo", "flaky", "model"], max_parallel=1, retry=motet.RetryPolicy(max_attempts=3))
    events = await recorded(sample(), group)
    for number in range(len(events)):
        run = grown(events[:number])
        assert run.is_open
        for node in flat(run):
            assert node.is_open == (node.state in ("RUNNING", "QUEUED"))
            assert node.start is None or node.end is None or node.queued_at <= node.start <= node.end
            if not node.is_open:
                assert not any(child.is_open for child in flat(node))
    assert not any(node.is_open for node in flat(grown(events)))


async def test_events_that_begin_in_the_middle_make_a_tree_too(autojump_clock: object) -> None:
    events = await recorded(sample(), motet.Group("work", ["echo", "flaky", "model"], retry=motet.RetryPolicy()))
    for number in range(len(events)):
        assert grown(events[number:]).state == "SUCCEEDED"


async def test_members_that_were_stopped_have_their_receipt_and_those_never_started_no_start(
    autojump_clock: object,
) -> None:
    catalog = sample()

    @catalog.agent
    async def forever() -> None:
        await trio.sleep_forever()

    group = motet.Group("work", ["echo", "forever", "flaky"], motet.Aggregation("first"), max_parallel=2)
    run = grown(await recorded(catalog, group))
    forever_node, flaky = below(run, "work", "forever"), below(run, "work", "flaky")
    assert (forever_node.state, forever_node.stop, forever_node.reason) == ("CANCELLED", "STOPPED", "DECIDED")
    assert (flaky.state, flaky.start, flaky.attempts) == ("SKIPPED", None, 0)


def test_the_owner_of_a_group_is_read_from_its_parent() -> None:
    assert owner_of("") == ("", "", "")
    assert owner_of("g/m") == ("", "g", "m")
    assert owner_of("g/m#2/inner/x#3") == ("g/m#2", "inner", "x")
    assert owner_of("g/@") == ("", "g", "")
    assert owner_of("g/@#2") == ("", "g", "")


def test_only_a_report_that_says_all_of_a_tool_is_one() -> None:
    assert tool_use(Payload.of({"tool": "t", "call_id": "c", "status": "executed"})) is not None
    for other in ("half way", {"call_id": "c"}, {"tool": 1, "call_id": "c", "status": "s"}, ["call_id"], b"call_id"):
        assert tool_use(Payload.of(other)) is None
