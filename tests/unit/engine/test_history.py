"""What the events of a run say of where it stood, cut after any of them; and the events that end what cannot go on."""

from dataclasses import replace
from typing import Any

import trio

import motet
from motet.engine.history import INTERRUPTED, History
from motet.model.event import MAX_SEATS_LISTED, Event, GroupEnded, MemberEnded, RunEnded
from motet.model.result import Stats
from motet.model.state import State
from motet.model.usage import NONE
from motet.testing import ScriptedAgent
from motet.testing._history import History as Replay


def closed(prefix: list[Event]) -> list[Event]:
    """These events, and those that close what is open in them."""
    history = History(prefix)
    told = list(history.close_run(history.elapsed, INTERRUPTED))
    events = list(prefix)
    for each in told:
        events.append(Event(len(events) + 1, history.elapsed, each.detail, each.group, each.member, each.parent))
    if history.ended is None:
        events.append(Event(len(events) + 1, history.elapsed, RunEnded(State.FAILED, INTERRUPTED, NONE, Stats())))
    return events


async def test_a_run_closed_after_any_event_is_whole(told: Any, autojump_clock: trio.testing.MockClock) -> None:
    for cut in range(1, len(told.events) + 1):
        events = closed(told.events[:cut])
        assert Replay(events).problems == [], f"cut after event {cut}"


async def test_closing_leaves_every_recorded_outcome_and_answer_as_it_was(
    told: Any, autojump_clock: trio.testing.MockClock
) -> None:
    for cut in range(1, len(told.events) + 1):
        history = History(told.events[:cut])
        list(history.close_run(history.elapsed, INTERRUPTED))
        for event in told.events[:cut]:
            group = history.groups.get((event.parent, event.group))
            if isinstance(event.detail, MemberEnded):
                assert group is not None
                assert group.outcomes[event.member] == event.detail.outcome
            if isinstance(event.detail, GroupEnded):
                assert group is not None
                assert group.told == event.detail.result


async def test_what_is_closed_is_failed_or_skipped_as_interrupted(
    told: Any, autojump_clock: trio.testing.MockClock
) -> None:
    for cut in range(1, len(told.events) + 1):
        for event in closed(told.events[:cut])[cut:-1]:
            match event.detail:
                case MemberEnded(outcome):
                    assert outcome.failure == INTERRUPTED
                    assert outcome.state is (State.FAILED if outcome.attempts else State.SKIPPED)
                case GroupEnded(result):
                    assert (result.state, result.failure) == (State.FAILED, INTERRUPTED)


async def test_closing_twice_tells_nothing_more(told: Any, autojump_clock: trio.testing.MockClock) -> None:
    history = History(told.events[: len(told.events) // 2])
    list(history.close_run(history.elapsed, INTERRUPTED))
    assert list(history.close_run(history.elapsed, INTERRUPTED)) == []


async def test_a_whole_history_has_the_result_that_the_run_had(
    told: Any, autojump_clock: trio.testing.MockClock
) -> None:
    history = History(told.events)
    assert history.ended == told.events[-1].detail
    assert history.sequence == len(told.events)
    assert list(history.close_run(history.elapsed, INTERRUPTED)) == []
    for event in told.events:
        if isinstance(event.detail, GroupEnded):
            result = history.result(history.groups[event.parent, event.group])
            assert result is not None
            assert all(outcome is not None for outcome in result.outcomes)
            assert len(result.outcomes) == event.detail.result.stats.members


def test_a_history_without_events_is_at_the_start() -> None:
    history = History()
    assert (history.sequence, history.elapsed, history.ended) == (0, 0.0, None)
    assert list(history.close_run(0.0, INTERRUPTED)) == []


async def test_members_beyond_those_that_the_start_lists_count_too(autojump_clock: trio.testing.MockClock) -> None:
    group = motet.Group("g", [motet.Member(ScriptedAgent("a", delay=1), replicas=MAX_SEATS_LISTED + 200)])
    async with motet.open_engine() as engine, engine.stream(replace(group, max_parallel=600)) as stream:
        events = [event async for event in stream]
    ended = [number for number, event in enumerate(events) if isinstance(event.detail, MemberEnded)]
    # All of the first 600, and half of the others, who are not all listed.
    history = History(events[: ended[900]])
    told = [each.detail for each in history.close_run(history.elapsed, INTERRUPTED)]
    (result,) = [detail.result for detail in told if isinstance(detail, GroupEnded)]
    known = 900 + sum(isinstance(detail, MemberEnded) for detail in told)
    assert (result.stats.members, result.stats.succeeded, result.usage.calls) == (known, 900, known)
