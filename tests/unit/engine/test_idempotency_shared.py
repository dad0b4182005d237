"""One key, one call, also when several processes share a store: here engines that each open the same file."""

from pathlib import Path

import trio

import motet
import motet.testing
from motet import Group, Idempotency, Member, State


async def test_callers_of_several_engines_on_one_file_share_one_call(tmp_path: Path) -> None:
    calls: list[str] = []

    async def once(call: motet.Call) -> str:
        calls.append(call.member)
        await trio.sleep(0.2)
        return "the answer"

    agent = motet.FunctionAgent(once, name="once")
    group = Group("g", [Member(agent, replicas=None)], idempotency=Idempotency(key="the key"))
    states: list[tuple[State, bool]] = []

    async def caller(engine: motet.Engine) -> None:
        outcome = (await engine.run(group, "question"))["g"]["once"]
        assert outcome.output is not None
        assert outcome.output.text == "the answer"
        states.append((outcome.state, outcome.cached))

    path = tmp_path / "motet.db"
    one, two = await motet.SqliteStore.open(path), await motet.SqliteStore.open(path)
    async with motet.open_engine(store=one) as first, motet.open_engine(store=two) as second:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                for engine in (first, second) * 5:
                    nursery.start_soon(caller, engine)
    assert calls == ["once"]
    assert sorted(states) == [(State.SUCCEEDED, False)] + [(State.SUCCEEDED, True)] * 9


async def test_an_answer_is_given_again_after_a_restart_and_another_request_is_refused(tmp_path: Path) -> None:
    agent = motet.testing.ScriptedAgent("a", reply="kept")
    group = Group("g", [agent], idempotency=Idempotency(key="the key"))
    reasons: list[str] = []
    for question, state, cached in [
        ("one", State.SUCCEEDED, False),
        ("one", State.SUCCEEDED, True),
        ("two", State.SKIPPED, False),
    ]:
        store = await motet.SqliteStore.open(tmp_path / "motet.db")
        async with motet.open_engine(store=store) as engine:
            outcome = (await engine.run(group, question))["g"]["a"]
        assert (outcome.state, outcome.cached) == (state, cached)
        reasons.append("" if outcome.failure is None else outcome.failure.reason)
    assert len(agent.calls) == 1
    assert reasons == ["", "", "IDEMPOTENCY_KEY_REUSED"]
