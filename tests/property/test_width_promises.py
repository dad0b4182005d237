"""Orders in which members end: an early answer is the full one, no width is exceeded, everyone gets a turn."""

from collections.abc import Callable
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

import motet
from motet import Aggregation, Group, Member, State
from motet.testing import ScriptedAgent

SECONDS = st.sampled_from([0.0, 0.5, 1.0, 1.0, 2.0, 5.0, 30.0])


def in_trio_time(test: Callable[[], Any]) -> None:
    trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))


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
