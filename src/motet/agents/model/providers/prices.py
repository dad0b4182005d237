"""What a model's tokens cost: a table of one's own first, then the prices that the genai-prices package brings along.
Reads no network and no file but that package; a price that nobody knows is None, never 0."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from importlib import import_module
from math import floor
from typing import Any, Final

_NANOS_PER_DOLLAR: Final = 1_000_000_000
_PER: Final = 1_000_000
"""Tokens that prices are told for."""


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in US dollars for a million tokens. Raises ValueError for what is no finite number from 0 up."""

    input_per_million: float | Decimal
    """Tokens that it reads."""
    output_per_million: float | Decimal
    """Tokens that it writes."""
    cached_input_per_million: float | Decimal | None = None
    """Tokens that it reads and the service still had; None means as much as those it had not."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value is None and name == "cached_input_per_million":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
                raise ValueError(f"{name} is {value!r}; give a number of US dollars for a million tokens")  # noqa: TRY004 - wrong input is one kind of error
            if not Decimal(value).is_finite() or value < 0:
                raise ValueError(f"{name} is {value}; give a finite number from 0 up")

    def nanos(self, input_tokens: int, output_tokens: int, *, cached_input_tokens: int = 0) -> int:
        """Billionths of a US dollar, half a one rounded up. The cached tokens are among the input tokens."""
        cached_price = self.cached_input_per_million
        fresh = _exact(self.input_per_million) * (input_tokens - cached_input_tokens)
        cached = _exact(self.input_per_million if cached_price is None else cached_price) * cached_input_tokens
        return _nanos((fresh + cached + _exact(self.output_per_million) * output_tokens) / _PER)


def cost_nanos(
    system: str,
    model: str,
    input_tokens: int,
    output_tokens: int,
    *,
    cached_input_tokens: int = 0,
    prices: Mapping[str, Price] | None = None,
    local: bool = False,
) -> int | None:
    """Billionths of a US dollar for one answer, None when the price is not known.

    prices: of one's own, which go first, by the model's exact name, else by the longest name of the table that ends in
        `*` and whose rest begins the model's.
    local: the service is one's own, so that only `prices` can know what it costs.

    Counts below 0 are taken as 0, and no more tokens as cached than were read: services are not always right. The first
    call that has to look beyond `prices` imports the package, about 0.2 s; see `preload`.
    """
    read, written = max(0, input_tokens), max(0, output_tokens)
    cached = min(max(0, cached_input_tokens), read)
    own = find_price(prices or {}, model)
    if own is not None:
        return own.nanos(read, written, cached_input_tokens=cached)
    return None if local else _public_nanos(system, model, read, written, cached)


def find_price(prices: Mapping[str, Price], model: str) -> Price | None:
    """The table's price for a model: by its exact name, else by the longest fitting one that ends in `*`."""
    if model in prices:
        return prices[model]
    fitting = [name for name in prices if name.endswith("*") and model.startswith(name[:-1])]
    return prices[max(fitting, key=len)] if fitting else None


def preload() -> None:
    """Import the public prices now: from a thread, where an import must not hold up the program's other tasks."""
    _package()


def _package() -> Any:
    # Only its bundled data are used. Downloads are the business of its `UpdatePrices`, which nothing here starts.
    try:
        return import_module("genai_prices")
    except ImportError:
        return None


def _public_nanos(system: str, model: str, read: int, written: int, cached: int) -> int | None:
    package = _package()
    if package is None or not model:
        return None
    usage = package.Usage(input_tokens=read, output_tokens=written, cache_read_tokens=cached)
    try:
        found = package.calc_price(usage, model, provider_id=system)
    except LookupError:
        return None
    rates = found.model_price
    if rates.input_mtok is None or rates.output_mtok is None:
        return None  # the model is known, what its text costs is not
    return _nanos(Fraction(found.total_price))


def _exact(dollars: float | Decimal) -> Fraction:
    # By its shortest decimal form: somebody who writes 0.1 means a tenth, not the binary number nearest to it.
    return Fraction(str(dollars))


def _nanos(dollars: Fraction) -> int:
    return floor(dollars * _NANOS_PER_DOLLAR + Fraction(1, 2))
