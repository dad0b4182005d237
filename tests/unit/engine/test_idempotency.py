"""Calls with a key: made once, whoever asks and however many at once; only successes are given again, as copies."""

from typing import Any

import pytest
import trio

import motet
from motet import FunctionAgent, Group, Member, State
from motet.errors import StoreFailed
from motet.model import reason
from motet.model.outcome import Outcome
from motet.model.plan import Idempotency
from motet.ports import Claim
from motet.store import MemoryStore
from motet.testing import ScriptedAgent

ONCE = Idempotency()


class LastingStore(MemoryStore):
    """Outlives the engine that closes it, as a store on disk does."""

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class FailingStore(MemoryStore):
    """Fails to claim, or to settle, so often."""

    def __init__(self, claims: int = 0, settles: int = 0) -> None:
        super().__init__()
        self.claims = claims
        self.settles = settles

    async def claim(self, key: str, fingerprint: str) -> Claim:
        await trio.lowlevel.checkpoint()
        if self.claims:
            self.claims -= 1
            raise StoreFailed("the disk is full", reason=reason.STORE_FULL)
        return await super().claim(key, fingerprint)

    async def settle(self, key: str, epoch: int, outcome: Outcome | None, ttl: float = 0.0) -> None:
        if self.settles:
            self.settles -= 1
            raise StoreFailed("the disk is gone")
        await super().settle(key, epoch, outcome, ttl)


def counted(result: motet.RunResult, group: str = "g") -> tuple[int, int]:
    """Calls made and answers given again."""
    outcomes = result[group].outcomes
    return sum(o.attempts for o in outcomes), sum(o.cached for o in outcomes)


def keyed(agent: Any, key: str, name: str = "", input: object = None) -> Member:
    payload = None if input is None else motet.Payload.of(input)
    return Member(agent, name=name, input=payload, idempotency=Idempotency(key=key))


# --------------------------------------------------------------------------------------------------------- single flight


async def test_ten_members_with_one_key_make_one_call_at_the_same_time(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=3)
    members = [keyed(agent, "K", name=f"m{i}") for i in range(10)]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members))
    assert len(agent.calls) == 1
    assert counted(result) == (1, 9)
    assert {outcome.output.text for outcome in result["g"].outcomes} == {"ok"}
    assert result.usage.calls == 1
    assert result.elapsed == pytest.approx(3)
    cached = [outcome for outcome in result["g"].outcomes if outcome.cached]
    assert all((o.state, o.attempts, o.ran) == (State.SUCCEEDED, 0, 0) for o in cached)


async def test_concurrent_runs_with_one_key_make_one_call(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=3)
    async with motet.open_engine() as engine, trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(engine.run, Group(f"g{number}", [agent], idempotency=ONCE))
    assert len(agent.calls) == 1
    assert trio.current_time() == pytest.approx(3)


async def test_a_later_run_gets_the_answer_of_the_first(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a")
    async with motet.open_engine() as engine:
        first = await checked_run(engine, Group("g", [agent], idempotency=ONCE), "x")
        again = await checked_run(engine, Group("g", [agent], idempotency=ONCE), "x")
    assert counted(first) == (1, 0)
    assert counted(again) == (0, 1)
    assert again["g"]["a"].output == first["g"]["a"].output
    assert again.usage.calls == 0


async def test_who_waits_for_anothers_call_holds_no_width_of_the_agent(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=3, max_parallel=2)
    members = [keyed(agent, "K", name=f"m{i}") for i in range(5)]
    members.append(keyed(agent, "other", name="other"))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members))
    assert result["g"]["other"].queued == pytest.approx(0)
    assert result.elapsed == pytest.approx(3)


# ------------------------------------------------------------------------------------------------- which calls are the same


@pytest.mark.parametrize(
    ("input", "variables", "calls"),
    [("x", {"n": 1}, 1), ("y", {"n": 1}, 2), ("x", {"n": 2}, 2), ("x", {}, 2), ("x", {"n": 1, "m": 1}, 2)],
)
async def test_without_a_key_agent_input_and_variables_tell_calls_apart(
    input: str, variables: dict[str, int], calls: int, autojump_clock: trio.testing.MockClock
) -> None:
    agent = ScriptedAgent("a")
    group = Group("g", [agent], idempotency=ONCE)
    async with motet.open_engine() as engine:
        await engine.run(group, "x", variables={"n": 1})
        await engine.run(group, input, variables=variables)
    assert len(agent.calls) == calls


async def test_other_agents_and_other_versions_have_calls_of_their_own(autojump_clock: trio.testing.MockClock) -> None:
    runs: list[str] = []

    def made(name: str, version: str) -> Any:
        async def run(call: motet.Call) -> str:
            await trio.lowlevel.checkpoint()
            runs.append(f"{name}{version}")
            return "ok"

        return FunctionAgent(run, name=name, version=version)

    async with motet.open_engine() as engine:
        for name, version in [("a", "1"), ("a", "2"), ("b", "1"), ("a", "1")]:
            await engine.run(Group("g", [made(name, version)], idempotency=ONCE), "x")
    assert runs == ["a1", "a2", "b1"]


async def test_replicas_differ_by_their_own_variables(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    agent = ScriptedAgent("a")
    group = Group("g", [Member(agent, replicas=3)], idempotency=ONCE)
    async with motet.open_engine() as engine:
        first = await checked_run(engine, group)
        again = await checked_run(engine, group)
    assert counted(first) == (3, 0)
    assert counted(again) == (0, 3)


async def test_a_groups_key_has_each_members_name_added(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a")
    group = Group("g", [agent, agent], idempotency=Idempotency(key="K"))
    async with motet.open_engine() as engine:
        first = await checked_run(engine, group)
        again = await checked_run(engine, group)
    assert counted(first) == (2, 0)
    assert counted(again) == (0, 2)


@pytest.mark.parametrize("at_once", [False, True])
async def test_a_key_that_belongs_to_another_request_is_refused(
    at_once: bool, autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=1)
    members = [keyed(agent, "K", "one", "x"), keyed(agent, "K", "two", "y")]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members, max_parallel=2 if at_once else 1))
    # Of two at once, either may be the first.
    (outcome,) = [outcome for outcome in result["g"].outcomes if outcome.state is State.SKIPPED]
    assert (outcome.attempts, at_once or outcome.member) == (0, at_once or "two")
    assert outcome.failure.reason == reason.IDEMPOTENCY_KEY_REUSED
    assert len(agent.calls) == 1


async def test_tenants_do_not_share_answers(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a")
    hashed = Group("g", [agent], idempotency=ONCE)
    named = Group("g", [keyed(agent, "K")])
    async with motet.open_engine() as engine:
        for tenant in ("one", "two", "", "one"):
            await engine.run(hashed, "x", tenant=tenant)
            await engine.run(named, "x", tenant=tenant)
    assert len(agent.calls) == 6


# ----------------------------------------------------------------------------------------------------- what is given again


async def test_failures_are_not_given_again(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    agent = ScriptedAgent("a", delay=1, error=ValueError("broken"))
    members = [keyed(agent, "K", name=f"m{i}") for i in range(3)]
    async with motet.open_engine() as engine:
        result = await checked_run(engine, Group("g", members))
    assert counted(result) == (3, 0)
    assert agent.peak == 1
    assert result.stats.failed == 3


async def test_a_retry_is_made_under_the_same_claim(autojump_clock: trio.testing.MockClock, checked_run: Any) -> None:
    async def flaky(call: motet.Call) -> str:
        await trio.sleep(1)
        if call.attempt == 1:
            raise motet.AgentError("later", retryable=True)
        return "ok"

    agent = FunctionAgent(flaky)
    members = [keyed(agent, "K", name=f"m{i}") for i in range(3)]
    group = Group("g", members, retry=motet.RetryPolicy(max_attempts=2, jitter=0, initial_backoff=1))
    async with motet.open_engine() as engine:
        result = await checked_run(engine, group)
    assert counted(result) == (2, 2)
    assert result.elapsed == pytest.approx(3)


async def test_an_answer_is_given_again_until_its_time_is_over(autojump_clock: trio.testing.MockClock) -> None:
    wall = 1000.0
    agent = ScriptedAgent("a")
    group = Group("g", [agent], idempotency=Idempotency(ttl=60))
    async with motet.open_engine(store=MemoryStore(clock=lambda: wall)) as engine:
        for after, calls in ((0, 1), (59, 1), (2, 2), (59, 2)):
            wall += after
            await engine.run(group)
            assert len(agent.calls) == calls


async def test_a_ttl_of_zero_joins_calls_at_the_same_time_and_keeps_nothing(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=1)
    members = [Member(agent, name=f"m{i}", idempotency=Idempotency(key="K", ttl=0)) for i in range(3)]
    async with motet.open_engine() as engine:
        first = await checked_run(engine, Group("g", members))
        later = await checked_run(engine, Group("g", members))
    assert counted(first) == (1, 2)
    assert counted(later) == (1, 2)


async def test_what_a_caller_does_to_an_answer_does_not_change_the_kept_one(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", reply=motet.Reply(motet.Payload.of("ok"), None, {"list": [1]}), delay=1)
    group = Group("g", [keyed(agent, "K", name=f"m{i}") for i in range(2)])
    async with motet.open_engine() as engine:
        for _ in range(3):
            result = await checked_run(engine, group)
            for outcome in result["g"].outcomes:
                assert outcome.metadata == {"list": [1]}
            for outcome in result["g"].outcomes:
                outcome.metadata["list"].append(2)
                outcome.metadata["more"] = True
    assert len(agent.calls) == 1


# --------------------------------------------------------------------------------------------------------------- the store


async def test_an_engine_that_opens_the_store_later_gives_the_kept_answer(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a")
    store = LastingStore()
    for expected in ((1, 0), (0, 1)):
        async with motet.open_engine(store=store) as engine:
            assert counted(await checked_run(engine, Group("g", [agent], idempotency=ONCE))) == expected


async def test_two_engines_that_share_a_store_make_one_call(autojump_clock: trio.testing.MockClock) -> None:
    agent = ScriptedAgent("a", delay=10)
    store = LastingStore()
    group = Group("g", [agent], idempotency=ONCE)
    results: list[motet.RunResult] = []

    async def run(engine: motet.Engine) -> None:
        results.append(await engine.run(group))

    async with (
        motet.open_engine(store=store) as one,
        motet.open_engine(store=store) as two,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(run, one)
        nursery.start_soon(run, two)
    assert len(agent.calls) == 1
    assert sorted(result["g"]["a"].cached for result in results) == [False, True]


async def test_a_store_that_cannot_claim_a_key_skips_the_member_and_nobody_hangs(
    autojump_clock: trio.testing.MockClock, checked_run: Any
) -> None:
    agent = ScriptedAgent("a", delay=1)
    members = [keyed(agent, "K", name=f"m{i}") for i in range(3)]
    async with motet.open_engine(store=FailingStore(claims=1)) as engine:
        result = await checked_run(engine, Group("g", members))
        again = await checked_run(engine, Group("g", members))
    skipped = [outcome for outcome in result["g"].outcomes if outcome.state is State.SKIPPED]
    assert [outcome.failure.reason for outcome in skipped] == [reason.STORE_FULL]
    assert counted(result) == (1, 1)
    assert counted(again) == (0, 3)


async def test_an_answer_that_cannot_be_kept_is_an_answer_all_the_same(
    autojump_clock: trio.testing.MockClock, checked_run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    agent = ScriptedAgent("a", delay=1)
    members = [keyed(agent, "K", name=f"m{i}") for i in range(3)]
    async with motet.open_engine(store=FailingStore(settles=1)) as engine:
        result = await checked_run(engine, Group("g", members))
    assert counted(result) == (1, 2)
    assert "could not be kept" in caplog.text


async def test_a_call_that_asks_for_its_own_key_does_not_wait_for_itself(
    autojump_clock: trio.testing.MockClock,
) -> None:
    nested: list[motet.RunResult] = []

    async def recursive(call: motet.Call) -> str:
        if call.depth == 0:
            nested.append(await call.run(Group("inner", [keyed(agent, "K")])))
        return "ok"

    agent = FunctionAgent(recursive)
    async with motet.open_engine() as engine:
        with trio.fail_after(100):
            result = await engine.run(Group("g", [keyed(agent, "K")]))
    assert result["g"]["recursive"].state is State.SUCCEEDED
    assert nested[0]["inner"]["recursive"].state is State.SKIPPED
