"""Borda and instant runoff over ballots of candidates. Pure arithmetic; knows no members and no outcomes."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, nsmallest
from typing import Final

MAX_ROUNDS: Final = 100
"""Rounds of an instant runoff that are reported: the first ones, and the last."""
MAX_SCORES: Final = 100
"""Candidates whose scores a round reports, the leading ones."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """One member's order of candidates."""

    weight: int
    """More than 0."""
    ranking: Sequence[int]
    """Candidates, best first, none twice; a candidate's number is its place in the order in which ties are settled."""


@dataclass(frozen=True, slots=True)
class Round:
    """One count of an instant runoff."""

    scores: Sequence[tuple[int, int]]
    """Candidate and weight of the ballots that it leads, best first."""
    eliminated: Sequence[int]
    """Struck out after this count; empty in the last round."""


@dataclass(slots=True)
class Standings:
    """What an election came to."""

    ranking: list[int]
    """All candidates, best first."""
    tie: bool = False
    """Level candidates were told apart by their order, and another order might have had another winner."""
    scores: list[int] = field(default_factory=list)
    """Borda: twice the points of each candidate, by its number."""
    rounds: list[Round] = field(default_factory=list)
    """Instant runoff: the first counts, and the last."""
    rounds_total: int = 0


def borda(ballots: Sequence[Ballot], candidates: int) -> Standings:
    """Of n candidates a ballot gives its first n - 1 points, the next n - 2, and so on; those that it leaves out share
    what is left equally, so that every ballot gives the same sum. Points are doubled, since a share may be a half."""
    scores = [0] * candidates
    everybody = 0
    for ballot in ballots:
        left_out = (candidates - len(ballot.ranking) - 1) * ballot.weight
        # Given to all and taken back from those that are ranked: linear in the ballot, not in the candidates.
        everybody += left_out
        for place, candidate in enumerate(ballot.ranking):
            scores[candidate] += 2 * (candidates - 1 - place) * ballot.weight - left_out
    scores = [score + everybody for score in scores]
    ranking = sorted(range(candidates), key=lambda candidate: (-scores[candidate], candidate))
    return Standings(ranking, tie=candidates > 1 and scores[ranking[0]] == scores[ranking[1]], scores=scores)


def instant_runoff(ballots: Sequence[Ballot], candidates: int) -> Standings:
    """Each ballot counts for the best candidate that is left; the last is struck out, until one has more than half of
    the ballots that still count. Ballots whose candidates are all struck out count no more. See `_Runoff.strike`."""
    return _Runoff(ballots, candidates).elect()


class _Runoff:
    """Every ballot is moved on at most once for each candidate that it names, so the cost is that of reading them."""

    def __init__(self, ballots: Sequence[Ballot], candidates: int) -> None:
        self._left = [True] * candidates
        self._scores = [0] * candidates
        self._piles: list[list[tuple[Ballot, int]]] = [[] for _ in range(candidates)]
        self._counting = 0
        for ballot in ballots:
            self._place(ballot, 0)
        self._lowest = [(score, -candidate) for candidate, score in enumerate(self._scores)]
        """The last in front; entries whose score has grown since are passed over."""
        heapify(self._lowest)
        self._level = Counter(self._scores)
        """How many of those that are left have each score."""
        self._levels = sorted(self._level)
        """The scores themselves, the least in front; those that nobody has any more are passed over."""
        self._struck: list[int] = []
        self._tie = False

    def elect(self) -> Standings:
        rounds: list[Round] = []
        total = 0
        top = max(self._scores)
        remaining = len(self._left)
        while remaining:
            total += 1
            report = total <= MAX_ROUNDS
            counted = self._standing(MAX_SCORES) if report else ()
            if 2 * top > self._counting or remaining == 1:
                rounds.append(Round(counted or self._standing(MAX_SCORES), ()))
                break
            struck = self._strike()
            remaining -= len(struck)
            if report:
                rounds.append(Round(counted, struck))
            for candidate in struck:
                for ballot, place in self._piles[candidate]:
                    self._counting -= ballot.weight
                    top = max(top, self._move(ballot, place + 1))
                self._piles[candidate] = []
        ranking = [candidate for candidate, _ in self._standing(len(self._left))] + self._struck[::-1]
        return Standings(ranking, tie=self._tie, rounds=rounds, rounds_total=total)

    def _move(self, ballot: Ballot, start: int) -> int:
        """Count the ballot for the next candidate that is left. The score that one has now, 0 when there is none."""
        reached = self._place(ballot, start)
        if reached is None:
            return 0
        score = self._scores[reached]
        self._level[score - ballot.weight] -= 1
        self._level[score] += 1
        heappush(self._lowest, (score, -reached))
        heappush(self._levels, score)
        return score

    def _place(self, ballot: Ballot, start: int) -> int | None:
        """Put the ballot on the pile of the best candidate that is left."""
        for place in range(start, len(ballot.ranking)):
            candidate = ballot.ranking[place]
            if self._left[candidate]:
                self._piles[candidate].append((ballot, place))
                self._scores[candidate] += ballot.weight
                self._counting += ballot.weight
                return candidate
        return None

    def _strike(self) -> list[int]:
        """Strike out the last: all that lead no ballot at once, else the one with the least weight.

        Of several that are level, all go when even together they are behind everybody else, since then their order
        makes no difference; otherwise the one that comes last in the order of candidates, which is a tie.
        """
        score = self._next_level()
        level = self._level.pop(score)
        following = self._next_level() if self._level.total() else None
        safe = following is not None and score * level < following
        self._tie = self._tie or (level > 1 and not safe)
        struck = [self._pop() for _ in range(level if safe else 1)]
        if level > len(struck):
            self._level[score] = level - len(struck)
            heappush(self._levels, score)
        for candidate in struck:
            self._left[candidate] = False
        self._struck += struck
        return struck

    def _next_level(self) -> int:
        """The least score of anybody that is left."""
        while not self._level.get(self._levels[0]):
            heappop(self._levels)
        return self._levels[0]

    def _pop(self) -> int:
        """The last in the order of candidates of those with the least score."""
        while True:
            score, negative = heappop(self._lowest)
            if self._left[-negative] and self._scores[-negative] == score:
                return -negative

    def _standing(self, most: int) -> list[tuple[int, int]]:
        """Those that are left with their scores, best first."""
        left = ((-self._scores[candidate], candidate) for candidate, is_left in enumerate(self._left) if is_left)
        return [(candidate, -score) for score, candidate in nsmallest(most, left)]
