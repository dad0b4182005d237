"""The load of `motet bench`, on a clock that jumps: what is called when, and what is measured of it."""

import pytest
import trio
import trio.testing

from motet_server.cli import load
from motet_server.cli.load import Call, Ended, Load

Clock = trio.testing.MockClock


def taking(seconds: float, ended: Ended | None = None) -> Call:
    async def call() -> Ended:
        await trio.sleep(seconds)
        return ended or Ended()

    return call


async def test_each_client_of_a_closed_loop_has_one_call_at_a_time(autojump_clock: Clock) -> None:
    measured = await Load([taking(0.3), taking(0.6)]).run(3.1)
    assert (measured.calls, measured.succeeded) == (11 + 6, 11 + 6)
    assert measured.throughput == pytest.approx((10 + 5) / 3.1)  # the last of each ended after the time
    assert (measured.p50, measured.p90, measured.max) == pytest.approx((0.3, 0.6, 0.6))
    assert measured.elapsed == pytest.approx(3.1)
    assert (measured.unfinished, measured.unsent) == (0, 0)


async def test_percentiles_are_values_that_were_measured(autojump_clock: Clock) -> None:
    durations = iter([*range(1, 101), *[0] * 1000])

    async def call() -> Ended:
        await trio.sleep(next(durations))
        return Ended()

    measured = await Load([call]).run(5049)
    assert measured.calls == 100
    assert (measured.p50, measured.p90, measured.p99, measured.max) == pytest.approx((50, 90, 99, 100))


async def test_at_a_rate_calls_begin_at_their_time_whatever_the_others_do(autojump_clock: Clock) -> None:
    begun = []

    async def call() -> Ended:
        begun.append(trio.current_time())
        await trio.sleep(2)
        return Ended()

    since = trio.current_time()
    measured = await Load([call], rate=4).run(2)
    assert [at - since for at in begun] == pytest.approx([number / 4 for number in range(8)])
    assert (measured.calls, measured.unfinished) == (8, 0)
    assert measured.p50 == pytest.approx(2)
    assert measured.throughput == pytest.approx(0.5)  # only the first ended in time


async def test_at_a_rate_latency_counts_from_when_a_call_was_due(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = trio.sleep_until

    async def sleep_until(at: float) -> None:
        await late(at + 0.5)

    monkeypatch.setattr(trio, "sleep_until", sleep_until)
    measured = await Load([taking(1)], rate=1).run(3)
    assert measured.calls == 3
    assert measured.p50 == pytest.approx(1.5)


async def test_at_a_rate_no_more_are_under_way_than_the_bound(
    autojump_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "MAX_WAITING", 3)
    measured = await Load([taking(3.5)], rate=1).run(6)
    assert (measured.calls, measured.unsent) == (3 + 2, 1)  # the fourth is not sent, the fifth finds room again


async def test_errors_are_counted_by_reason_and_have_no_latency(autojump_clock: Clock) -> None:
    clients = [taking(1, Ended("FEW")), taking(0.5, Ended("MANY")), taking(1)]
    measured = await Load(clients).run(2)
    assert list(measured.errors.items()) == [("MANY", 4), ("FEW", 2)]
    assert (measured.calls, measured.succeeded) == (8, 2)
    assert measured.max == pytest.approx(1)


async def test_nothing_that_answers_leaves_latencies_out(autojump_clock: Clock) -> None:
    measured = await Load([taking(1, Ended("BAD"))]).run(1)
    assert (measured.p50, measured.max, measured.throughput) == (None, None, 0)


async def test_a_client_that_was_refused_waits_a_moment(autojump_clock: Clock) -> None:
    measured = await Load([taking(0, Ended("UNAVAILABLE", refused=True))]).run(load.PAUSE * 9.5)
    assert measured.errors == {"UNAVAILABLE": 10}


async def test_what_does_not_end_is_cancelled_and_counted_apart(autojump_clock: Clock) -> None:
    since = trio.current_time()
    measured = await Load([taking(1000), taking(load.LAST)]).run(1)
    assert trio.current_time() - since == pytest.approx(1 + load.LAST)
    assert (measured.calls, measured.unfinished, measured.throughput) == (1, 1, 0)
    assert measured.elapsed == pytest.approx(1)


@pytest.mark.parametrize("rate", [None, 2.0])
async def test_a_load_that_is_stopped_keeps_what_it_measured(autojump_clock: Clock, rate: float | None) -> None:
    under = Load([taking(1)], rate)

    async def stop() -> None:
        await trio.sleep(3.25)
        under.stop()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        measured = await under.run(60)
    assert measured.elapsed == pytest.approx(3.25)
    assert measured.succeeded == (3 if rate is None else 5)
    assert measured.unfinished == (1 if rate is None else 2)
    assert measured.throughput == pytest.approx(measured.succeeded / 3.25)


async def test_a_call_that_raises_ends_the_load(autojump_clock: Clock) -> None:
    async def broken() -> Ended:
        await trio.sleep(1)
        raise ValueError("a defect")

    with pytest.RaisesGroup(ValueError):
        await Load([broken, taking(5)]).run(60)
