"""What becomes of a blocking function when its member is cancelled: seen stopped, or named as detached."""

import threading
from typing import Any

import pytest
import trio

from motet.agents.function import FunctionAgent, agent
from motet.model.payload import EMPTY, Payload
from motet.ports import Call

LONG = 30.0
"""Seconds that no test takes: a bound for what would otherwise hang."""


class RecordingHost:
    history: Any = ()

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.nested = trio.Event()
        self.nested_stopped = False

    def left(self, what: Any) -> None:
        return None

    def keep(self, resident: Any) -> None:
        raise AssertionError(resident)

    def report(self, call: Call, report: Payload) -> None:
        self.reports.append(report.value)

    async def run(self, *_: Any, **__: Any) -> Any:
        self.nested.set()
        try:
            await trio.sleep_forever()
        finally:
            self.nested_stopped = True


async def cancel_when(made: FunctionAgent[..., Any], call: Call, began: threading.Event) -> None:
    """Call it, cancel the call once the function runs, and return when the call has."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.call, call)
        assert await trio.to_thread.run_sync(began.wait, LONG)
        nursery.cancel_scope.cancel()


async def until(condition: Any) -> None:
    with trio.fail_after(LONG):
        while not condition():  # noqa: ASYNC110 - threads set no events
            await trio.sleep(0.005)


async def test_a_thread_that_ignores_the_cancel_is_named_as_detached_until_it_ends() -> None:
    began, gate = threading.Event(), threading.Event()

    @agent
    def stubborn() -> None:
        began.set()
        gate.wait(LONG)

    call = Call(EMPTY, host=RecordingHost())
    try:
        await cancel_when(stubborn, call, began)
        assert call.detached == "thread of function 'stubborn'"
        assert stubborn.detached == 1
    finally:
        gate.set()
    await until(lambda: stubborn.detached == 0)


async def test_a_thread_that_polls_is_stopped() -> None:
    began, ended = threading.Event(), threading.Event()

    @agent(stop_grace=LONG)
    def polite() -> None:
        began.set()
        try:
            while True:
                trio.from_thread.check_cancelled()
                gate.wait(0.001)
        finally:
            ended.set()

    gate = threading.Event()
    call = Call(EMPTY, host=RecordingHost())
    await cancel_when(polite, call, began)
    assert ended.is_set()
    assert call.detached == ""
    assert polite.detached == 0


async def test_a_deadline_is_a_cancel_too() -> None:
    gate = threading.Event()
    call = Call(EMPTY, host=RecordingHost())
    made = FunctionAgent(lambda: gate.wait(LONG), name="waits")
    try:
        with trio.move_on_after(0.01) as scope:
            await made.call(call)
        assert scope.cancelled_caught
        assert call.detached == "thread of function 'waits'"
    finally:
        gate.set()
    await until(lambda: made.detached == 0)


async def test_a_detached_thread_keeps_its_place_and_one_that_waits_for_it_never_starts() -> None:
    began, gate = threading.Event(), threading.Event()
    starts: list[str] = []

    @agent(max_parallel=1)
    def one(x: str) -> None:
        starts.append(x)
        began.set()
        gate.wait(LONG)

    first, second = (Call(Payload.of(name), host=RecordingHost()) for name in ("first", "second"))
    try:
        await cancel_when(one, first, began)
        with trio.move_on_after(0.05) as scope:
            await one.call(second)
        assert scope.cancelled_caught
        assert second.detached == ""
        assert one.detached == 1
    finally:
        gate.set()
    await until(lambda: one.detached == 0)
    await one.call(Call(Payload.of("third"), host=RecordingHost()))
    assert starts == ["first", "third"]


async def test_a_detached_thread_reports_to_nobody() -> None:
    began, gate, done = threading.Event(), threading.Event(), threading.Event()
    host = RecordingHost()

    @agent
    def chatty(call: Call) -> None:
        began.set()
        gate.wait(LONG)
        call.report("late")
        done.set()

    await cancel_when(chatty, Call(EMPTY, host=host), began)
    gate.set()
    await until(done.is_set)
    await until(lambda: chatty.detached == 0)
    assert host.reports == []


async def test_a_group_that_a_thread_runs_is_cancelled_with_it() -> None:
    host = RecordingHost()

    @agent(stop_grace=LONG)
    def nests(call: Call) -> None:
        trio.from_thread.run(call.run, "group")

    call = Call(EMPTY, host=host)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(nests.call, call)
        await host.nested.wait()
        nursery.cancel_scope.cancel()
    assert host.nested_stopped
    assert call.detached == ""


def test_a_thread_that_outlives_its_trio_run_does_not_take_the_place_of_the_next_runs() -> None:
    began, gate = threading.Event(), threading.Event()

    @agent(max_parallel=1)
    def slow(x: str) -> str:
        if x == "stay":
            began.set()
            gate.wait(LONG)
        return x

    async def leave_one() -> None:
        await cancel_when(slow, Call(Payload.of("stay"), host=RecordingHost()), began)

    async def again() -> Any:
        with trio.fail_after(LONG):
            return (await slow.call(Call(Payload.of("go"), host=RecordingHost()))).output.value

    try:
        trio.run(leave_one)
        assert slow.detached == 1
        assert trio.run(again) == "go"
    finally:
        gate.set()
    trio.run(until, lambda: slow.detached == 0)


async def test_a_call_cancelled_before_it_begins_starts_no_thread() -> None:
    starts: list[int] = []
    made = FunctionAgent(lambda: starts.append(1), name="never")
    call = Call(EMPTY, host=RecordingHost())
    with trio.CancelScope() as scope:
        scope.cancel()
        with pytest.raises(trio.Cancelled):
            await made.call(call)
    assert (starts, call.detached) == ([], "")


async def test_cancels_at_any_moment_leave_nothing_running() -> None:
    running: set[object] = set()

    @agent(stop_grace=LONG)
    def brief() -> None:
        me = object()
        running.add(me)
        try:
            for _ in range(50):
                trio.from_thread.check_cancelled()
        finally:
            running.discard(me)

    for i in range(200):
        call = Call(EMPTY, host=RecordingHost())
        with trio.move_on_after(i * 5e-6):
            await brief.call(call)
        assert not running
        assert call.detached == ""
