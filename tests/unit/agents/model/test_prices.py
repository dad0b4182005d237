"""What tokens cost: own tables, the bundled public prices, and what is not known."""

import socket
import subprocess
import sys
import threading
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.agents.model.providers import prices as module
from motet.agents.model.providers.prices import Price, cost_nanos, find_price, preload

CHEAP = Price(1, 2)
DEAR = Price(10.0, 20.0, 5.0)


def test_an_own_price_is_dollars_for_a_million_tokens_as_exact_billionths() -> None:
    assert cost_nanos("openai", "mine", 1_000_000, 0, prices={"mine": CHEAP}) == 1_000_000_000
    assert cost_nanos("openai", "mine", 0, 1, prices={"mine": CHEAP}) == 2_000
    assert cost_nanos("openai", "mine", 3, 7, prices={"mine": Price(Decimal("0.1"), 0.3)}) == 3 * 100 + 7 * 300


def test_half_a_billionth_is_rounded_up() -> None:
    assert Price(Decimal("0.0005"), 0).nanos(1, 0) == 1
    assert Price(Decimal("0.0004"), 0).nanos(1, 0) == 0
    assert Price(Decimal("0.0015"), 0).nanos(1, 0) == 2


def test_cached_tokens_have_a_price_of_their_own_or_that_of_the_others() -> None:
    assert DEAR.nanos(100, 0, cached_input_tokens=40) == 60 * 10_000 + 40 * 5_000
    assert CHEAP.nanos(100, 0, cached_input_tokens=40) == 100 * 1_000


def test_the_exact_name_goes_before_the_longest_prefix() -> None:
    table = {"*": Price(1, 0), "gpt-*": Price(2, 0), "gpt-4*": Price(3, 0), "gpt-4o": Price(4, 0)}
    found = {name: find_price(table, name) for name in ("llama", "gpt-3", "gpt-4o-mini", "gpt-4o")}
    assert {name: price.input_per_million for name, price in found.items() if price} == {
        "llama": 1,
        "gpt-3": 2,
        "gpt-4o-mini": 3,
        "gpt-4o": 4,
    }
    assert find_price({"gpt": CHEAP}, "gpt-4o") is None


def test_an_own_price_goes_before_the_public_one() -> None:
    assert cost_nanos("openai", "gpt-4o", 10, 0, prices={"gpt-4*": DEAR}) == 100_000


@pytest.mark.parametrize(("system", "model"), [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5")])
def test_public_models_have_a_price_and_cached_tokens_are_cheaper(system: str, model: str) -> None:
    whole = cost_nanos(system, model, 1000, 100)
    cached = cost_nanos(system, model, 1000, 100, cached_input_tokens=500)
    assert isinstance(whole, int)
    assert 0 < cached < whole


@pytest.mark.parametrize(
    ("system", "model"), [("openai", "no-such-model"), ("no-such-system", "gpt-4o"), ("openai", "")]
)
def test_what_nobody_knows_is_unpriced(system: str, model: str) -> None:
    assert cost_nanos(system, model, 10, 10) is None


def test_a_local_service_is_unpriced_unless_the_table_knows_it() -> None:
    assert cost_nanos("openai", "gpt-4o", 10, 10, local=True) is None
    assert cost_nanos("openai", "gpt-4o", 10, 10, local=True, prices={"*": CHEAP}) == 30_000


def test_a_known_model_without_a_price_is_unpriced(monkeypatch: pytest.MonkeyPatch) -> None:
    import genai_prices
    from genai_prices.types import ModelPrice

    class Found:
        model_price = ModelPrice()
        total_price = Decimal(0)

    monkeypatch.setattr(genai_prices, "calc_price", lambda *_, **__: Found())
    assert cost_nanos("openai", "gpt-4o", 10, 10) is None


def test_without_the_package_public_models_are_unpriced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_package", lambda: None)
    assert cost_nanos("openai", "gpt-4o", 10, 10) is None


def test_counts_that_a_service_gets_wrong_cost_nothing_and_raise_nothing() -> None:
    assert cost_nanos("openai", "m", -5, -5, cached_input_tokens=-5, prices={"m": CHEAP}) == 0
    assert cost_nanos("openai", "m", 10, 0, cached_input_tokens=99, prices={"m": DEAR}) == 50_000
    assert cost_nanos("openai", "gpt-4o", 10, 0, cached_input_tokens=99) is not None


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), Decimal("-0.1"), True, "3", None])
def test_a_price_that_is_no_number_from_0_up_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="output_per_million"):
        Price(1, wrong)  # type: ignore[arg-type]


def test_looking_a_price_up_opens_no_connection_and_starts_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("a price was looked for on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    before = threading.active_count()
    preload()
    assert cost_nanos("openai", "gpt-4o", 10, 10) is not None
    assert threading.active_count() == before


def test_the_package_is_imported_only_when_it_is_needed() -> None:
    program = """
import sys
from motet.agents.model.providers.prices import Price, cost_nanos
cost_nanos("openai", "m", 1, 1, prices={"m": Price(1, 1)})
assert "genai_prices" not in sys.modules
cost_nanos("openai", "m", 1, 1)
assert "genai_prices" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.decimals(0, 1000, places=6), st.decimals(0, 1000, places=6))
def test_the_cost_is_the_exact_sum_rounded_once(read: int, written: int, dear: Decimal, cheap: Decimal) -> None:
    exact = (dear * read + cheap * written) * 1000
    assert abs(Price(dear, cheap).nanos(read, written) - exact) <= Decimal("0.5")
