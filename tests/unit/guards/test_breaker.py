"""CircuitBreaker: when it opens, whom it lets probe, what closes it, and what says nothing."""

from typing import Any

import pytest

from motet.guards.breaker import MAX_IDLE, CircuitBreaker
from motet.model import reason, usage
from motet.model.outcome import AttemptKind, Failure
from motet.model.rate import Breaker
from motet.ports import ADMIT, End, Guard, Refuse, Start, Ticket
from motet.testing.contracts_guard import GuardContract, make_start, make_ticket

RULE = Breaker(failures=3, cooldown=10.0, probes=2)


class TestCircuitBreakerKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return CircuitBreaker({"p": RULE}, clock=lambda: self.now)

    def make_tickets(self) -> list[Ticket]:
        return [make_ticket(provider="p", breaker=RULE), make_ticket("other"), make_ticket("third", provider="q")]


class Bench:
    """A breaker, its clock, and one agent to call."""

    def __init__(self, rule: Breaker | None = RULE, providers: dict[str, Breaker] | None = None) -> None:
        self.now = 0.0
        self.guard = CircuitBreaker(providers, clock=lambda: self.now)
        self.ticket = make_ticket("a", provider="p", breaker=rule)

    def begin(self, kind: AttemptKind = AttemptKind.FIRST) -> Start:
        start = make_start(self.ticket, kind=kind)
        assert self.guard.may_start(start, self.now) == ADMIT
        self.guard.started(start, self.now)
        return start

    def end(self, start: Start, fault: bool | None) -> None:
        self.guard.ended(start, self.now)
        self.guard.settled(start, End(usage.UNPRICED_CALL, 1.0, fault), self.now)

    def call(self, *faults: bool | None) -> None:
        for fault in faults:
            self.end(self.begin(), fault)

    def refusal(self, kind: AttemptKind = AttemptKind.FIRST) -> Failure | None:
        verdict = self.guard.may_start(make_start(self.ticket, kind=kind), self.now)
        return verdict.failure if isinstance(verdict, Refuse) else None

    @property
    def state(self) -> str:
        (use,) = self.guard.uses()
        return use.state


def test_faults_in_a_row_open_it_and_the_refusal_says_when_to_try_again() -> None:
    bench = Bench()
    bench.call(True, True)
    assert bench.refusal() is None
    bench.call(True)
    bench.now = 3.5
    failure = bench.refusal()
    assert failure.reason == reason.CIRCUIT_OPEN
    assert failure.message == "agent a fails, 3 in a row, and is left alone; try again in 6.5 s"
    assert failure.details == {"retry_after_seconds": 6.5}
    assert bench.state == "open"


def test_an_answer_begins_the_row_anew() -> None:
    bench = Bench()
    bench.call(True, True, False, True, True)
    assert bench.state == "closed"


def test_calls_that_were_stopped_neither_add_to_the_row_nor_end_it() -> None:
    bench = Bench()
    bench.call(True, None, True, None)
    assert bench.state == "closed"
    bench.call(True)
    assert bench.state == "open"


def test_calls_that_started_before_it_opened_no_longer_count() -> None:
    bench = Bench()
    late = [bench.begin() for _ in range(3)]
    bench.call(True, True, True)
    bench.end(late[0], False)
    assert bench.state == "open"
    bench.now = 10.0
    bench.end(late[1], True)
    assert bench.state == "half_open"
    bench.call(False, False)
    assert bench.state == "closed"
    bench.end(late[2], True)
    assert [use.used for use in bench.guard.uses()] == [0.0]


def test_after_the_cooldown_it_lets_a_few_probe_at_once() -> None:
    bench = Bench()
    bench.call(True, True, True)
    bench.now = 10.0
    assert bench.state == "half_open"
    bench.begin()
    probe = bench.begin()
    failure = bench.refusal()
    assert failure.reason == reason.CIRCUIT_OPEN
    assert "probe" in failure.message
    bench.end(probe, None)
    assert bench.state == "half_open"
    bench.begin()
    assert bench.refusal() is not None


def test_as_many_answers_as_probes_close_it() -> None:
    bench = Bench()
    bench.call(True, True, True)
    bench.now = 10.0
    bench.call(False, None)
    assert bench.state == "half_open"
    bench.call(False)
    assert bench.state == "closed"
    assert [bench.begin() for _ in range(5)]


def test_one_fault_of_a_probe_opens_it_anew_and_other_probes_no_longer_count() -> None:
    bench = Bench()
    bench.call(True, True, True)
    bench.now = 12.0
    other, probe = bench.begin(), bench.begin()
    bench.end(probe, True)
    bench.end(other, False)
    assert bench.refusal().details == {"retry_after_seconds": 10.0}
    bench.now = 22.0
    bench.call(False)
    assert bench.state == "half_open"
    bench.call(False)
    assert bench.state == "closed"


def test_hedges_are_made_only_while_it_is_closed() -> None:
    bench = Bench()
    bench.end(bench.begin(AttemptKind.HEDGE), False)
    bench.call(True, True, True)
    assert bench.refusal(AttemptKind.HEDGE) is not None
    bench.now = 10.0
    assert bench.refusal(AttemptKind.HEDGE) is not None
    assert bench.refusal(AttemptKind.RETRY) is None


def test_a_provider_has_a_circuit_that_all_its_agents_share() -> None:
    bench = Bench(None, {"p": RULE})
    for name in ("a", "b", "c"):
        bench.ticket = make_ticket(name, provider="p")
        bench.call(True)
    bench.ticket = make_ticket("d", provider="p")
    assert bench.refusal().message.startswith("provider p fails, 3 in a row")
    bench.ticket = make_ticket("d", provider="q")
    assert bench.refusal() is None


def test_uses_show_failures_in_a_row_of_providers_and_of_agents_that_were_called() -> None:
    bench = Bench(providers={"p": Breaker(), "idle": Breaker(failures=9)})
    bench.call(True, True)
    assert [(use.scope, use.name, use.what, use.used, use.limit, use.state) for use in bench.guard.uses()] == [
        ("provider", "p", "failures", 2.0, 5.0, "closed"),
        ("provider", "idle", "failures", 0.0, 9.0, "closed"),
        ("agent", "a", "failures", 2.0, 3.0, "closed"),
    ]


def test_agents_that_are_remembered_are_bounded_but_none_is_forgotten_while_it_runs() -> None:
    bench = Bench()
    bench.call(True)
    running = bench.begin()
    bench.call(True)
    for number in range(MAX_IDLE + 10):
        bench.ticket = make_ticket(f"agent {number}", breaker=RULE)
        bench.call(True)
    names = [use.name for use in bench.guard.uses()]
    assert len(names) == MAX_IDLE + 1
    assert "a" in names
    assert "agent 0" not in names
    bench.end(running, False)
    assert len(bench.guard.uses()) == MAX_IDLE


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"failures": 0}, "failures"), ({"probes": 0}, "probes"), ({"cooldown": -1.0}, "cooldown")],
)
def test_a_provider_with_a_wrong_figure_is_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValueError, match=f"provider p: {field} is"):
        CircuitBreaker({"p": Breaker(**wrong)})
