"""A member that waits for runs, in whichever way, holds no width meanwhile, and takes it again exactly once."""

from collections.abc import AsyncIterator, Hashable, Sequence

import pytest
import trio

import motet
from motet import Group, State
from motet.ports import Guard, Start
from motet.testing import ScriptedAgent

INNER = Group("inner", [ScriptedAgent("leaf", delay=1)])


async def one_input() -> AsyncIterator[motet.MapInput]:
    yield motet.MapInput(motet.Payload.of("x"))


class Width(Guard):
    """Counts the calls that hold width at the same moment, and the most that did."""

    name = "width"

    def __init__(self) -> None:
        self.held = self.peak = 0

    def started(self, start: Start, now: float) -> None:
        self.held += 1
        self.peak = max(self.peak, self.held)

    def ended(self, start: Start, now: float) -> Sequence[Hashable]:
        self.held -= 1
        return ()

    def paused(self, start: Start, now: float) -> Sequence[Hashable]:
        return self.ended(start, now)

    def resumed(self, start: Start, now: float) -> None:
        self.started(start, now)


async def wait_for_a_run(engine: motet.Engine, way: str) -> str:
    if way == "run":
        return str((await engine.run(INNER)).state)
    if way == "join":
        return str((await engine.run(motet.RunRequest(target=INNER, request_id="r"))).state)
    if way == "map":
        async with engine.map(INNER, one_input()) as answers:
            return str((await anext(answers)).result.state)
    stream = engine.stream(INNER) if way == "stream" else engine.watch((await engine.start(INNER)).run_id)
    async with stream:
        async for _ in stream:
            pass
    return str(stream.result.state if stream.result is not None else None)


def in_use(engine: motet.Engine) -> int:
    (row,) = (row for row in engine.limits() if (row.guard, row.scope) == ("capacity", "engine"))
    return int(row.used)


@pytest.mark.parametrize("way", ["run", "join", "map", "stream", "watch"])
async def test_a_member_that_waits_for_a_run_does_not_hold_what_the_run_waits_for(
    way: str, autojump_clock: trio.testing.MockClock
) -> None:
    async with motet.open_engine(max_parallel=1) as engine:

        async def outer(call: motet.Call) -> str:
            said = await wait_for_a_run(engine, way)
            assert in_use(engine) == 1
            return said

        result = await engine.run(Group("g", [motet.FunctionAgent(outer)], aggregation="first"), timeout=30)
        assert result.unwrap() == "SUCCEEDED"
        assert in_use(engine) == 0


@pytest.mark.parametrize("way", ["run", "join", "map", "stream", "watch"])
@pytest.mark.parametrize("after", [0.5, 1.5])
async def test_a_cancel_while_it_waits_or_comes_back_leaves_the_count_right(
    way: str, after: float, autojump_clock: trio.testing.MockClock
) -> None:
    async with motet.open_engine(max_parallel=1) as engine, trio.open_nursery() as nursery:

        async def outer(call: motet.Call) -> str:
            return await wait_for_a_run(engine, way)

        nursery.start_soon(engine.run, Group("g", [motet.FunctionAgent(outer)]))
        await trio.sleep(0.2)
        # It stands in line for the width that the nested run will free, so the member cannot have it back at once.
        nursery.start_soon(engine.run, Group("hogs", [ScriptedAgent("hog", delay=60)]))
        await trio.sleep(after)
        nursery.cancel_scope.cancel()
    assert in_use(engine) == 0
    assert engine.statistics().width_waiters == 0


async def test_runs_that_begin_and_end_in_several_tasks_of_a_member_take_its_width_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def outer(call: motet.Call) -> str:
        async def nested(wait: float, delay: float) -> None:
            await trio.sleep(wait)
            await call.run(Group("inner", [ScriptedAgent("leaf", delay=delay)]))

        async with trio.open_nursery() as nursery:
            # While the first stands in line for the width, the second begins; then both end at nearly the same time.
            nursery.start_soon(nested, 0, 1)
            nursery.start_soon(nested, 2, 1)
            nursery.start_soon(nested, 2.5, 1)
        return "done"

    width = Width()
    async with motet.open_engine(max_parallel=2, guards=[width]) as engine, trio.open_nursery() as background:
        background.start_soon(engine.run, Group("g", [motet.FunctionAgent(outer)]))
        await trio.sleep(0.5)
        hogs = [ScriptedAgent(f"hog{n}", delay=1.7) for n in range(4)]
        background.start_soon(engine.run, Group("hogs", hogs))
        await trio.sleep(60)
        assert in_use(engine) == 0
        assert engine.statistics().runs_ended == {State.SUCCEEDED: 2}
        assert (width.held, width.peak) == (0, 2)


async def test_an_input_that_comes_after_the_engine_has_closed_is_refused_and_harms_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def slow_inputs() -> AsyncIterator[motet.MapInput]:
        yield motet.MapInput(motet.Payload.of("before"))
        await trio.sleep(2)
        yield motet.MapInput(motet.Payload.of("after"))

    states: list[State] = []
    group = Group("g", [ScriptedAgent("a", delay=30)])

    async def use(engine: motet.Engine) -> None:
        async with engine.map(group, slow_inputs()) as answers:
            with pytest.raises(motet.Unavailable):
                async for answer in answers:
                    states.append(answer.result.state)  # noqa: PERF401 - those before the error count

    async with trio.open_nursery() as nursery, motet.open_engine() as engine:
        nursery.start_soon(use, engine)  # noqa: ASYNC111 - that the engine closes first is the point
        await trio.sleep(1)
    assert states == [State.CANCELLED]
