"""RateLimit: who waits for which bound, and until when; what tokens are set aside, corrected and given back."""

import math
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from motet.guards.rate import MAX_IDLE, RateLimit
from motet.model.outcome import AttemptKind
from motet.model.rate import Rate
from motet.model.usage import Usage
from motet.ports import ADMIT, Admission, End, Guard, Profile, Start, Ticket, Wait
from motet.testing.contracts_guard import GuardContract, StubProfile, make_start, make_ticket

AGENT = ("rate", "agent", "agent")


class TestRateOfAnAgentKeepsTheContract(GuardContract):
    rest = 60.0

    def make_guard(self) -> Guard:
        return RateLimit(clock=lambda: self.now)

    def make_tickets(self) -> list[Ticket]:
        return [make_ticket(rate=Rate(calls_per_second=5.0, tokens_per_minute=9.0)), make_ticket("other")]


class TestRateOfAProviderKeepsTheContract(GuardContract):
    rest = 60.0

    def make_guard(self) -> Guard:
        return RateLimit({"p": Rate(calls_per_minute=600.0, burst=3.0)}, clock=lambda: self.now)

    def make_tickets(self) -> list[Ticket]:
        return [make_ticket(provider="p", weight=0.7), make_ticket(provider="other"), make_ticket()]


class TestRateOfTokensKeepsTheContract(GuardContract):
    rest = 60.0

    def make_guard(self) -> Guard:
        return RateLimit({"p": Rate(tokens_per_minute=100.0)}, clock=lambda: self.now)

    def make_tickets(self) -> list[Ticket]:
        return [make_ticket(provider="p", profile=StubProfile(tokens=30))]


class Bench:
    """A guard, its clock, and one agent to call."""

    def __init__(
        self,
        rate: Rate | None = None,
        *,
        provider: Rate | None = None,
        weight: float = 1.0,
        profile: Profile | None = None,
    ) -> None:
        self.now = 1000.0
        self.guard = RateLimit({"p": provider} if provider else None, clock=lambda: self.now)
        self.ticket = make_ticket(provider="p", rate=rate, weight=weight, profile=profile)

    def ask(self) -> Admission:
        return self.guard.may_start(make_start(self.ticket), self.now)

    def begin(self, kind: AttemptKind = AttemptKind.FIRST) -> Start:
        start = make_start(self.ticket, kind=kind)
        assert self.guard.may_start(start, self.now) == ADMIT
        self.guard.started(start, self.now)
        return start

    def end(self, start: Start, tokens: int) -> list[Any]:
        self.guard.ended(start, self.now)
        used = Usage(calls=1, input_tokens=tokens // 3, output_tokens=tokens - tokens // 3)
        return list(self.guard.settled(start, End(used, 1.0, False), self.now))

    def burst(self) -> int:
        """Starts that are admitted at once."""
        made = 0
        while self.ask() == ADMIT and made < 1000:
            self.begin()
            made += 1
        return made

    @property
    def used(self) -> list[tuple[str, float]]:
        return [(use.what, use.used) for use in self.guard.uses()]


@pytest.mark.parametrize(
    ("rate", "burst"),
    [
        (Rate(calls_per_second=5), 5),
        (Rate(calls_per_second=0.5), 1),
        (Rate(calls_per_minute=60), 1),
        (Rate(calls_per_minute=600), 10),
        (Rate(calls_per_second=5, calls_per_minute=120), 2),
        (Rate(calls_per_second=5, burst=8), 8),
        (Rate(calls_per_second=5, calls_per_minute=120, burst=8), 8),
    ],
)
def test_after_a_rest_as_many_calls_start_at_once_as_the_burst_or_one_second_allows(rate: Rate, burst: int) -> None:
    bench = Bench(rate)
    assert bench.burst() == burst
    bench.now += 3600
    assert bench.burst() == burst


def test_a_start_waits_until_the_rate_has_room_and_no_longer() -> None:
    bench = Bench(Rate(calls_per_second=4))
    assert bench.burst() == 4
    assert bench.ask() == Wait(AGENT, 1000.25)
    bench.now = math.nextafter(1000.25, 0)
    assert bench.ask() == Wait(AGENT, 1000.25)
    bench.now = 1000.25
    assert bench.burst() == 1


def test_a_start_waits_for_the_later_of_its_agent_and_its_provider() -> None:
    bench = Bench(Rate(calls_per_second=1), provider=Rate(calls_per_minute=6))
    bench.begin()
    assert bench.ask() == Wait(("rate", "provider", "p"), 1010.0)
    bench = Bench(Rate(calls_per_minute=6), provider=Rate(calls_per_second=1))
    bench.begin()
    assert bench.ask() == Wait(AGENT, 1010.0)


def test_agents_of_one_provider_share_its_rate_and_no_other_waits() -> None:
    bench = Bench(provider=Rate(calls_per_second=1))
    bench.begin()
    bench.ticket = make_ticket("b", provider="p")
    assert bench.ask() == Wait(("rate", "provider", "p"), 1001.0)
    bench.ticket = make_ticket("b", provider="q")
    assert bench.ask() == ADMIT


def test_a_call_counts_as_much_as_it_weighs() -> None:
    assert Bench(Rate(calls_per_second=6), weight=2.0).burst() == 3
    assert Bench(Rate(calls_per_second=6), weight=0.5).burst() == 12


def test_a_call_that_weighs_more_than_a_burst_starts_after_a_rest_and_leaves_a_debt() -> None:
    bench = Bench(Rate(calls_per_second=2), weight=10.0)
    assert bench.burst() == 1
    assert bench.used == [("calls", 10.0)]
    assert bench.ask() == Wait(AGENT, 1005.0)
    bench.now = 1005.0
    assert bench.burst() == 1


@pytest.mark.parametrize("kind", list(AttemptKind))
def test_every_attempt_counts(kind: AttemptKind) -> None:
    bench = Bench(Rate(calls_per_second=1))
    bench.begin(kind)
    assert isinstance(bench.ask(), Wait)


def test_a_start_sets_aside_the_tokens_that_it_is_expected_to_use() -> None:
    bench = Bench(Rate(tokens_per_minute=6000), profile=StubProfile(tokens=2500))
    assert bench.burst() == 2
    assert bench.used == [("tokens", 5000.0)]
    assert bench.ask() == Wait(AGENT, 1015.0)


def test_a_call_expected_to_use_more_than_a_window_starts_after_a_rest() -> None:
    bench = Bench(Rate(tokens_per_second=100), profile=StubProfile(tokens=1000))
    assert bench.burst() == 1
    assert bench.ask() == Wait(AGENT, 1010.0)


def test_tokens_that_were_not_used_are_given_back_and_the_keys_named() -> None:
    bench = Bench(Rate(tokens_per_minute=60), provider=Rate(tokens_per_second=60), profile=StubProfile(tokens=60))
    start = bench.begin()
    assert bench.ask() == Wait(AGENT, 1060.0)
    assert bench.end(start, 0) == [AGENT, ("rate", "provider", "p")]
    assert bench.ask() == ADMIT
    assert bench.used == [("tokens", 0.0), ("tokens", 0.0)]


def test_tokens_used_beyond_the_estimate_become_a_debt_and_name_no_key() -> None:
    bench = Bench(Rate(tokens_per_second=10), profile=StubProfile(tokens=4))
    assert bench.end(bench.begin(), 40) == []
    assert bench.used == [("tokens", 40.0)]
    assert bench.ask() == Wait(AGENT, 1003.4)


def test_no_more_is_given_back_than_fits_in() -> None:
    bench = Bench(Rate(tokens_per_second=10), profile=StubProfile(tokens=10))
    start = bench.begin()
    bench.now += 100
    bench.end(start, 0)
    assert bench.burst() == 1


def test_an_estimate_that_moves_while_a_call_runs_does_not_change_what_it_took() -> None:
    bench = Bench(Rate(tokens_per_minute=600), profile=StubProfile(tokens=100))
    start = make_start(bench.ticket)
    bench.guard.started(start, bench.now)
    object.__setattr__(bench.ticket, "profile", StubProfile(tokens=5))
    bench.end(start, 30)
    assert bench.used == [("tokens", 30.0)]


def test_a_call_of_unknown_size_takes_nothing_and_starts_while_a_token_is_left() -> None:
    bench = Bench(Rate(tokens_per_second=10))
    starts = [bench.begin() for _ in range(3)]
    assert bench.used == [("tokens", 0.0)]
    bench.end(starts[0], 9)
    assert bench.ask() == ADMIT
    bench.end(starts[1], 9)
    assert bench.ask() == Wait(AGENT, 1000.9)


def test_a_call_that_uses_no_tokens_does_not_wait_for_any() -> None:
    bench = Bench(provider=Rate(tokens_per_second=10))
    bench.end(bench.begin(), 100)
    assert isinstance(bench.ask(), Wait)
    bench.ticket = make_ticket("b", provider="p", profile=StubProfile(tokens=0))
    assert bench.ask() == ADMIT


def test_calls_and_tokens_hold_together() -> None:
    bench = Bench(Rate(calls_per_second=100, tokens_per_second=10), profile=StubProfile(tokens=5))
    assert bench.burst() == 2
    bench.ticket = make_ticket(rate=bench.ticket.agent.rate, profile=StubProfile(tokens=0))
    assert bench.burst() == 98


def test_uses_show_what_has_not_flowed_back() -> None:
    bench = Bench(Rate(calls_per_minute=120, tokens_per_second=50), provider=Rate(calls_per_second=4))
    bench.end(bench.begin(), 20)
    bench.begin()
    bench.now += 0.25
    assert [(use.scope, use.name, use.what, use.limit, use.window, use.used) for use in bench.guard.uses()] == [
        ("provider", "p", "calls", 4, 1.0, 1.0),
        ("agent", "agent", "calls", 120, 60.0, 1.5),
        ("agent", "agent", "tokens", 50, 1.0, 7.5),
    ]


async def test_uses_are_told_on_trios_clock(autojump_clock: MockClock) -> None:
    guard = RateLimit({"p": Rate(calls_per_second=1)})
    guard.started(make_start(make_ticket(provider="p")), trio.current_time())
    await trio.sleep(0.25)
    assert [use.used for use in guard.uses()] == [0.75]


def test_agents_at_rest_are_dropped_and_those_in_debt_are_not() -> None:
    bench = Bench()
    rate = Rate(calls_per_minute=1)
    bench.ticket = make_ticket("debtor", rate=rate, weight=1000.0)
    bench.begin()
    for number in range(3 * MAX_IDLE):
        bench.now += 1
        bench.ticket = make_ticket(f"agent {number}", rate=rate)
        bench.begin()
    assert len(bench.guard.uses()) <= MAX_IDLE + 1
    bench.ticket = make_ticket("debtor", rate=rate)
    assert isinstance(bench.ask(), Wait)


@pytest.mark.parametrize(
    "field", ["calls_per_second", "calls_per_minute", "tokens_per_second", "tokens_per_minute", "burst"]
)
@pytest.mark.parametrize("figure", [0.0, -1.0, math.inf, math.nan])
def test_a_provider_with_a_wrong_figure_is_refused(field: str, figure: float) -> None:
    wrong: dict[str, Any] = {field: figure}
    with pytest.raises(ValueError, match=f"provider p: {field} is .*; give a finite number"):
        RateLimit({"p": Rate(**wrong)})
