"""Reserving and settling: what is left of some bounds while calls run whose true use is not known yet. Arithmetic on
integers; knows no agents, no clock and no waiting."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias


class Need(Enum):
    """What a call asks for where no number is known."""

    REST = "rest"
    """It may use any amount: all that is left is reserved, so that it runs alone."""
    OPEN = "open"
    """It never tells how much: nothing is reserved, it goes while something is left."""


Estimate: TypeAlias = int | Need


class Figure:
    """One bound and what is in use of it. Whole numbers, at least 0; time is in nanoseconds."""

    __slots__ = ("certain", "limit", "reserved", "spent", "users", "what", "window")

    def __init__(self, what: str, limit: int, window: str = "") -> None:
        self.what = what
        """calls, tokens, cost_nanos or seconds; of the last the numbers are nanoseconds."""
        self.limit = limit
        self.window = window
        """After which it counts anew; empty for one that does not."""
        self.spent = 0
        """True use of what has settled."""
        self.reserved = 0
        """Set aside for what runs."""
        self.certain = 0
        """Of `reserved`: what will not come back."""
        self.users = 0
        """How many that run may still use some of it."""


@dataclass(frozen=True, slots=True)
class Short:
    """What does not fit."""

    figure: Figure
    need: Estimate
    ever: bool
    """It may fit once what runs has settled for less than was reserved."""

    @property
    def fits_anew(self) -> bool:
        """It would fit beside what runs if nothing had been spent."""
        return self.figure.reserved + _least(self.need) <= self.figure.limit


class _Held:
    __slots__ = ("amounts", "certain", "using")

    def __init__(self, amounts: list[int], using: list[bool]) -> None:
        self.amounts = amounts
        self.certain = [0] * len(amounts)
        self.using = using


CERTAIN: Final = "calls"
"""What a call that has started uses whatever becomes of it: a pause gives it back to nobody."""


class Ledger:
    """Figures that are reserved together and settled together, in constant time for each call.

    `reserved + spent` stays within each limit but for what settled calls used beyond what they held, so nothing that is
    asked to wait waits for what nobody holds.
    """

    def __init__(self, figures: Sequence[Figure]) -> None:
        self.figures = tuple(figures)
        self._held: dict[Hashable, _Held] = {}

    @property
    def busy(self) -> bool:
        """Something has started and is not settled."""
        return bool(self._held)

    def short(self, needs: Sequence[Estimate]) -> Short | None:
        """What does not fit, in the order of `figures` what never will before what has to wait; None when all fits.
        `needs` has one estimate for each figure."""
        waits: Short | None = None
        for figure, need in zip(self.figures, needs, strict=True):
            least = _least(need)
            if figure.spent + figure.certain + least > figure.limit:
                return Short(figure, need, ever=False)
            waiting = need not in (0, Need.OPEN) and figure.spent + figure.reserved + least > figure.limit
            if waiting and waits is None:
                waits = Short(figure, need, ever=True)
        return waits

    def reserve(self, holder: Hashable, needs: Sequence[Estimate]) -> None:
        """Set aside what a call needs; all that is left for REST."""
        amounts: list[int] = []
        using: list[bool] = []
        for figure, need in zip(self.figures, needs, strict=True):
            amount = need if isinstance(need, int) else 0
            if need is Need.REST:
                amount = max(0, figure.limit - figure.spent - figure.reserved)
            figure.reserved += amount
            figure.users += need != 0
            amounts.append(amount)
            using.append(need != 0)
        self._held[holder] = _Held(amounts, using)

    def pause(self, holder: Hashable) -> bool:
        """Give back what is held, but for the call itself, which has been made; whether something changed."""
        held = self._take(holder)
        self._held[holder] = held
        changed = False
        for index, figure in enumerate(self.figures):
            amount = held.amounts[index]
            changed = changed or amount > 0
            held.amounts[index] = 0
            if figure.what != CERTAIN:
                figure.reserved -= amount
                continue
            figure.certain += amount
            held.certain[index] += amount
            figure.users -= held.using[index]
            held.using[index] = False
        return changed

    def settle(self, holder: Hashable, truth: Sequence[int]) -> bool:
        """Give back what is still held and add what was really used; whether something changed."""
        held = self._take(holder)
        changed = False
        for index, figure in enumerate(self.figures):
            amount, certain = held.amounts[index], held.certain[index]
            figure.reserved -= amount + certain
            figure.certain -= certain
            figure.users -= held.using[index]
            figure.spent += truth[index]
            changed = changed or amount > 0 or certain > 0 or truth[index] > 0
        return changed

    def renew(self, window: str) -> None:
        """Count the figures of this window anew; what runs keeps what it holds."""
        for figure in self.figures:
            if figure.window == window:
                figure.spent = 0

    def overspent(self) -> Figure | None:
        """The first figure of which more was used than its limit."""
        return next((figure for figure in self.figures if figure.spent > figure.limit), None)

    def used_up(self) -> Figure | None:
        """The first figure of which nothing is left although what runs may still use some."""
        return next((figure for figure in self.figures if figure.users and figure.spent >= figure.limit), None)

    def _take(self, holder: Hashable) -> _Held:
        held = self._held.pop(holder, None)
        if held is None:
            raise RuntimeError("a call was settled or paused that had not started, or was settled before")
        return held


def _least(need: Estimate) -> int:
    """What must be left for it."""
    return need if isinstance(need, int) else 1
