"""When a vote is settled: who leads, whether the members still out can change that, and the statistical stop. Pure
arithmetic over whole numbers; constant cost for each vote."""

from dataclasses import dataclass
from fractions import Fraction
from math import exp, inf, lgamma, log
from typing import Final

from motet.aggregate._normalise import Canonical

MAX_TERMS: Final = 100_000
"""Of a continued fraction that needs about the square root of the votes."""


class Candidate:
    """One answer and the votes for it."""

    __slots__ = ("first", "form", "score", "votes")

    def __init__(self, first: int, form: Canonical) -> None:
        self.first = first
        """Place in declared order of the first member that voted for it."""
        self.form = form
        """The answer as that member gave it."""
        self.score = 0
        self.votes = 0


class Race:
    """The two candidates ahead, the one whose first vote was declared earlier before the other when they are level.

    A candidate's rank only ever improves, so two places are enough to know both without looking at the others.
    """

    __slots__ = ("leader", "runner")

    def __init__(self) -> None:
        self.leader: Candidate | None = None
        self.runner: Candidate | None = None

    def improved(self, candidate: Candidate) -> None:
        """Take note of a candidate that got another vote."""
        if candidate is self.leader:
            return
        if self.leader is None or _before(candidate, self.leader):
            self.leader, self.runner = candidate, self.leader
        elif self.runner is None or _before(candidate, self.runner):
            self.runner = candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What it takes to win."""

    majority: bool = False
    """More than half of the weight that could have voted, instead of more than any other."""
    minimum_share: Fraction = Fraction(0)
    """Of the cast weight."""
    ties_first: bool = True
    """Level candidates are told apart by declared order; otherwise a tie is no answer yet."""
    keeps_form: bool = True
    """Whoever voted for an answer gave it in the same form."""


@dataclass(slots=True)
class Weights:
    """Where the weight of a group's members is; those of weight 0 are nowhere."""

    out: int
    """Of members that have not ended."""
    base: int
    """Of all members that have not abstained, whether they voted or not."""
    cast: int = 0
    """Of votes."""


def settled(terms: Terms, race: Race, weights: Weights, next_out: float) -> bool:
    """Whether who wins, or that nobody does, can no longer change, whatever the members still out do.

    `next_out` is the first place in declared order of a member with weight that has not ended.
    """
    if weights.out == 0 or _out_of_reach(terms, race, weights):
        return True
    leader = race.leader
    if leader is None:
        return False
    if terms.majority:
        ahead = 2 * leader.score > weights.base
    else:
        ahead = _unbeatable(leader, race.runner, weights.out, next_out, ties_first=terms.ties_first)
    share = terms.minimum_share
    return (
        ahead
        and leader.score * share.denominator >= share.numerator * (weights.cast + weights.out)
        # A member declared before the leader's first vote may yet give the same answer in another form.
        and (terms.keeps_form or leader.first < next_out)
    )


def _out_of_reach(terms: Terms, race: Race, weights: Weights) -> bool:
    """No answer can do what the terms ask, not even one that all members still out vote for."""
    most = weights.out + (race.leader.score if race.leader else 0)
    if terms.majority and 2 * most <= weights.base:
        return True
    share = terms.minimum_share
    return most * share.denominator < share.numerator * (weights.cast + weights.out)


def _unbeatable(leader: Candidate, runner: Candidate | None, out: int, next_out: float, *, ties_first: bool) -> bool:
    """No other answer can catch up with the leader, not even one that all members still out vote for."""
    challenge = out + (runner.score if runner else 0)
    if challenge != leader.score:
        return challenge < leader.score
    # Level, if all of them vote for the challenger: its first vote is then the earliest of theirs and its own.
    earliest = min(next_out, runner.first if runner else inf)
    return ties_first and leader.first < earliest


def _before(one: Candidate, other: Candidate) -> bool:
    return (one.score, -one.first) > (other.score, -other.first)


# ------------------------------------------------------------------------------------------------- statistical stop


class Sampler:
    """Decides that the leader is right with a given confidence, from the votes so far.

    Members are taken as independent draws, and the leader against the runner-up as a coin with a uniform prior: after a
    and b votes the leader is the likelier answer with probability P(Beta(a + 1, b + 1) > 1/2). This is the Beta stopping
    criterion of Aggarwal, Madaan, Yang and Mausam, "Let's Sample Step by Step: Adaptive-Consistency for Efficient
    Reasoning and Coding with LLMs", EMNLP 2023. Weights count as fractions of the average vote.

    Looked at only when the lead is longer than ever before: with more votes and the same lead the probability falls.
    So n votes cost O(n) in all.
    """

    __slots__ = ("_average", "_confidence", "_longest", "reached")

    def __init__(self, confidence: float, average: Fraction) -> None:
        """`average` is the mean weight of the members that count."""
        self._confidence = confidence
        self._average = average
        self._longest = 0
        self.reached: float | None = None
        """The probability with which it stopped; None while it has not."""

    def sure(self, race: Race) -> bool:
        """Whether the leader is right with the confidence asked for."""
        leader = race.leader
        if self.reached is not None or leader is None:
            return self.reached is not None
        behind = race.runner.score if race.runner else 0
        if leader.score - behind > self._longest:
            self._longest = leader.score - behind
            probability = leader_is_right(float(leader.score / self._average), float(behind / self._average))
            if probability >= self._confidence:
                self.reached = probability
        return self.reached is not None


def leader_is_right(ahead: float, behind: float) -> float:
    """P(Beta(ahead + 1, behind + 1) > 1/2), for `ahead` no less than `behind`.

    By the continued fraction of the incomplete beta function (DLMF 8.17.22), which converges fast on this side.
    """
    a, b = ahead + 1, behind + 1
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) - (a + b) * log(2)) / a
    # Evaluated forward by the recurrence of its convergents, scaled by the denominator: h is the value so far.
    numerator, denominator, step, m = 1.0, 0.0, 1.0, 0
    value = step
    while (abs(step - 1) > 1e-12 or m < 2) and m < MAX_TERMS:
        m += 1
        half = m // 2
        if m % 2:
            term = -(a + half) * (a + b + half) / (2 * (a + m - 1) * (a + m))
        else:
            term = half * (b - half) / (2 * (a + m - 1) * (a + m))
        denominator = 1 / (1 + term * denominator)
        numerator = 1 + term / numerator
        step = numerator * denominator
        value *= step
    return 1 - front / value
