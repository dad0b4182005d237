"""Runs that continue a session: what they see, what is kept, and whose turn it is."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import motet
from motet.model import reason
from motet.model.session import MEMBER, SUMMARY, USER, SessionEntry, SessionSettings, WhenBusy
from motet.ports import Call
from motet.sessions.book import session_key
from motet.store.memory import MemoryStore
from motet.testing import ScriptedAgent, check_run


def told(entries: Sequence[SessionEntry]) -> list[tuple[str, str, str]]:
    return [(entry.role, entry.member, entry.payload.text) for entry in entries]


class Rememberer(ScriptedAgent):
    """Answers with how much it remembers, and keeps what it saw."""

    def __init__(self, name: str, **own: Any) -> None:
        super().__init__(name, reply=self.remember, **own)
        self.seen: list[list[tuple[str, str, str]]] = []

    def remember(self, call: Call) -> str:
        self.seen.append(told(call.history))
        return f"{self.info.name} {len(call.history)}"


def talk(*agents: Any, **own: Any) -> motet.Group:
    return motet.Group("talk", agents, preserve_session=True, **own)


async def test_members_continue_the_session_and_every_answer_is_kept_in_declared_order(
    autojump_clock: MockClock,
) -> None:
    slow, quick = Rememberer("slow", delay=2), Rememberer("quick", delay=1)
    store = MemoryStore()
    async with motet.open_engine(store=store) as engine:
        for word in ("one", "two"):
            assert (await engine.run(talk(slow, quick), word, session_id="s")).succeeded
        entries = await store.session(session_key("", "s"))
    first = [(USER, "", "one"), (MEMBER, "slow", "slow 0"), (MEMBER, "quick", "quick 0")]
    assert told(entries) == [*first, (USER, "", "two"), (MEMBER, "slow", "slow 3"), (MEMBER, "quick", "quick 3")]
    assert slow.seen == quick.seen == [[], first]


async def test_a_group_that_does_not_preserve_it_neither_sees_nor_writes_the_session(autojump_clock: MockClock) -> None:
    agent = Rememberer("a")
    store = MemoryStore()
    async with motet.open_engine(store=store) as engine:
        await engine.run(talk(agent), "kept", session_id="s")
        await engine.run(motet.Group("talk", [agent]), "not kept", session_id="s")
        assert len(await store.session(session_key("", "s"))) == 2
    assert agent.seen == [[], []]


async def test_only_answers_are_kept_not_failures_and_nothing_of_a_group_without_an_answer(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    bad, good = ScriptedAgent("bad", error=OSError("no")), ScriptedAgent("good")
    async with motet.open_engine(store=store) as engine:
        await engine.run(talk(bad, good), "q", session_id="s")
        await engine.run(talk(bad), "again", session_id="s")
        entries = await store.session(session_key("", "s"))
    assert told(entries) == [(USER, "", "q"), (MEMBER, "good", "ok")]


async def test_a_member_with_its_own_input_is_remembered_with_what_it_alone_was_asked(
    autojump_clock: MockClock,
) -> None:
    store = MemoryStore()
    own = motet.Member(ScriptedAgent("own"), input=motet.Payload.of("mine"))
    async with motet.open_engine(store=store) as engine:
        await engine.run(talk(ScriptedAgent("all"), own), "ours", session_id="s")
        entries = await store.session(session_key("", "s"))
    assert told(entries) == [(USER, "", "ours"), (MEMBER, "all", "ok"), (USER, "own", "mine"), (MEMBER, "own", "ok")]


async def test_runs_of_one_session_take_turns_in_the_order_in_which_they_came(autojump_clock: MockClock) -> None:
    agent = Rememberer("a", delay=1)
    async with motet.open_engine() as engine, trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(partial(engine.run, talk(agent), str(number), session_id="s"))
            await wait_all_tasks_blocked()
    assert agent.peak == 1
    assert [len(seen) for seen in agent.seen] == [0, 2, 4, 6, 8]
    assert [text for role, _, text in agent.seen[-1] if role == USER] == ["0", "1", "2", "3"]


async def test_sessions_and_tenants_do_not_wait_for_each_other_nor_see_each_other(autojump_clock: MockClock) -> None:
    agent = Rememberer("a", delay=1)
    async with motet.open_engine() as engine, trio.open_nursery() as nursery:
        for tenant, session in (("", "s"), ("", "t"), ("x", "s"), ("y", "s"), ("", "x/s")):
            nursery.start_soon(partial(engine.run, talk(agent), "q", session_id=session, tenant=tenant))
    assert agent.peak == 5
    assert agent.seen == [[]] * 5


async def test_with_refuse_a_second_run_ends_at_once_and_has_started_nothing(autojump_clock: MockClock) -> None:
    catalog = motet.Catalog(sessions=SessionSettings(when_busy=WhenBusy.REFUSE))
    agent = Rememberer("a", delay=10)
    async with motet.open_engine(catalog) as engine, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: engine.run(talk(agent), "first", session_id="s"))
        await trio.sleep(1)
        result = await engine.run(talk(agent), "second", session_id="s")
        assert result.elapsed == 0
    assert (result.state, result.failure.reason) == (motet.State.FAILED, reason.SESSION_BUSY)
    assert result.groups[0].outcomes[0].state is motet.State.SKIPPED
    assert len(agent.calls) == 1


async def test_waiting_for_the_session_counts_against_the_timeout_of_the_run(autojump_clock: MockClock) -> None:
    agent = Rememberer("a", delay=10)
    async with motet.open_engine() as engine, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: engine.run(talk(agent), "first", session_id="s"))
        await trio.sleep(1)
        result = await engine.run(talk(agent), "second", session_id="s", timeout=2)
        assert result.state is motet.State.TIMED_OUT
        assert result.elapsed == pytest.approx(2)
        after = await engine.run(talk(agent), "third", session_id="s")
        assert after.succeeded
    assert [len(seen) for seen in agent.seen] == [0, 2]


async def test_a_run_that_is_stopped_while_it_waits_ends_at_once_and_the_turn_goes_on(
    autojump_clock: MockClock,
) -> None:
    agent = Rememberer("a", delay=10)
    async with motet.open_engine() as engine, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: engine.run(talk(agent), "first", session_id="s"))
        await trio.sleep(1)
        started = await engine.start(talk(agent), "second", session_id="s")
        await trio.sleep(1)
        record = await engine.cancel(started.run_id)
        assert record.state is motet.State.CANCELLED
        with trio.move_on_after(1) as scope:
            await engine.run(talk(agent), "third", session_id="s")
        assert scope.cancelled_caught
    assert len(agent.calls) == 1


async def test_what_was_said_before_a_cancellation_is_kept(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    async with motet.open_engine(store=store) as engine:
        with trio.move_on_after(5):
            await engine.run(talk(ScriptedAgent("quick", delay=1), ScriptedAgent("slow", delay=9)), "q", session_id="s")
        entries = await store.session(session_key("", "s"))
    assert told(entries) == [(USER, "", "q"), (MEMBER, "quick", "ok")]


async def test_a_run_inside_a_member_does_not_wait_for_the_session_that_the_outer_run_holds(
    autojump_clock: MockClock,
) -> None:
    inner = talk(ScriptedAgent("inner"))

    async with motet.open_engine() as engine:

        async def outer(call: Call) -> str:
            result = await engine.run(inner, "x", session_id="s")
            return result.failure.reason if result.failure else "none"

        result = await engine.run(talk(motet.FunctionAgent(outer)), "q", session_id="s", timeout=60)
    assert result.output.json()["combined_results"] == [reason.SESSION_BUSY]


async def test_a_nested_group_takes_part_in_the_session_of_its_run(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    agent = Rememberer("deep")
    nested = motet.GroupAgent("nested", motet.Group("inner", [agent], preserve_session=True, aggregation="first"))
    async with motet.open_engine(store=store) as engine:
        for word in ("one", "two"):
            await engine.run(talk(nested), word, session_id="s")
        entries = await store.session(session_key("", "s"))
    assert [entry.member for entry in entries if entry.role == MEMBER] == ["deep", "nested", "deep", "nested"]
    assert [len(seen) for seen in agent.seen] == [0, 3]


async def test_a_session_keeps_its_newest_entries(autojump_clock: MockClock) -> None:
    catalog = motet.Catalog(sessions=SessionSettings(max_entries=4))
    store = MemoryStore()
    async with motet.open_engine(catalog, store=store) as engine:
        for number in range(5):
            await engine.run(talk(ScriptedAgent("a")), str(number), session_id="s")
        entries = await store.session(session_key("", "s"))
    assert told(entries) == [(USER, "", "3"), (MEMBER, "a", "ok"), (USER, "", "4"), (MEMBER, "a", "ok")]


async def test_a_session_that_grew_too_long_is_summed_up_by_an_agent_that_the_run_pays(
    autojump_clock: MockClock,
) -> None:
    catalog = motet.Catalog(sessions=SessionSettings(max_entries=6, summary_agent="writer"))
    writer = ScriptedAgent("writer", reply="so far", usage=motet.Usage(calls=1, cost_nanos=7))
    catalog.add(writer)
    store = MemoryStore()
    priced = ScriptedAgent("a", usage=motet.Usage(calls=1, cost_nanos=1))
    async with motet.open_engine(catalog, store=store) as engine:
        for number in range(3):
            await engine.run(talk(priced), str(number), session_id="s")
        async with engine.stream(talk(priced), "3", session_id="s") as run:
            events = [event async for event in run]
        check_run(events, run.result)
        entries = await store.session(session_key("", "s"))
        assert run.result.usage.cost_nanos == 8
        assert run.result.groups[0].asked[0].name == "session_summary"
        assert run.result.output.json()["combined_results"] == ["ok"]
    assert told(entries) == [(SUMMARY, "", "so far"), *[(USER, "", "3"), (MEMBER, "a", "ok")]]
    question = writer.calls[0].value
    assert [entry["text"] for entry in question["entries"]] == ["0", "ok", "1", "ok", "2", "ok"]


async def test_a_summary_that_fails_costs_the_oldest_entries_and_nothing_else(autojump_clock: MockClock) -> None:
    catalog = motet.Catalog(sessions=SessionSettings(max_entries=4, summary_agent="writer"))
    catalog.add(ScriptedAgent("writer", error=OSError("no")))
    store = MemoryStore()
    async with motet.open_engine(catalog, store=store) as engine:
        for number in range(3):
            result = await engine.run(talk(ScriptedAgent("a")), str(number), session_id="s")
            assert result.succeeded
        entries = await store.session(session_key("", "s"))
    assert told(entries)[0] == (USER, "", "1")
    assert len(entries) == 4


class Broken(MemoryStore):
    """Fails where it is told to."""

    broken = ""

    async def session(self, session_id: str) -> Sequence[SessionEntry]:
        if self.broken == "session":
            raise motet.StoreFailed("the disk is gone")
        return await super().session(session_id)

    async def remember(self, session_id: str, entries: Sequence[SessionEntry], keep: int) -> None:
        if self.broken == "remember":
            raise motet.StoreFailed("the disk is full")
        await super().remember(session_id, entries, keep)


async def test_a_store_that_cannot_tell_the_session_fails_the_run_before_anything_starts(
    autojump_clock: MockClock,
) -> None:
    store = Broken()
    store.broken = "session"
    agent = ScriptedAgent("a")
    async with motet.open_engine(store=store) as engine:
        result = await engine.run(talk(agent), "q", session_id="s")
        assert (result.state, result.failure.reason) == (motet.State.FAILED, reason.STORE_UNAVAILABLE)
        assert agent.calls == []
        store.broken = ""
        assert (await engine.run(talk(agent), "q", session_id="s")).succeeded


async def test_a_store_that_cannot_keep_what_was_said_fails_the_run_with_every_outcome_there(
    autojump_clock: MockClock,
) -> None:
    store = Broken()
    store.broken = "remember"
    async with motet.open_engine(store=store) as engine:
        result = await engine.run(talk(ScriptedAgent("a")), "q", session_id="s")
    assert (result.state, result.failure.reason) == (motet.State.FAILED, reason.SESSION_NOT_KEPT)
    assert result.groups[0].state is motet.State.SUCCEEDED
    assert result.output is not None


async def test_a_session_can_be_read_and_forgotten_but_not_while_a_run_takes_part(autojump_clock: MockClock) -> None:
    agent = Rememberer("a", delay=5)
    async with motet.open_engine() as engine, trio.open_nursery() as nursery:
        await engine.run(talk(agent), "q", session_id="s", tenant="t")
        assert told(await engine.session("s", "t")) == [(USER, "", "q"), (MEMBER, "a", "a 0")]
        assert told(await engine.session("s")) == []
        nursery.start_soon(lambda: engine.run(talk(agent), "again", session_id="s", tenant="t"))
        await trio.sleep(1)
        with pytest.raises(motet.Unavailable) as busy:
            await engine.forget_session("s", "t")
        assert busy.value.reason == reason.SESSION_BUSY
        await trio.sleep(10)
        await engine.forget_session("s", "t")
        assert told(await engine.session("s", "t")) == []
