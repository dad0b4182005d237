"""Depth: runs nested too deep are refused, all others admitted."""

from motet.guards.depth import Depth
from motet.model import reason
from motet.ports import ADMIT, Guard, Refuse
from motet.testing.contracts_guard import GuardContract, make_run


class TestDepthKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return Depth()


def test_a_run_as_deep_as_the_limit_is_admitted() -> None:
    assert Depth().may_run(make_run(depth=3, max_depth=3), 0.0) == ADMIT


def test_a_run_deeper_than_the_limit_is_refused_with_both_figures() -> None:
    verdict = Depth().may_run(make_run(depth=4, max_depth=3), 0.0)
    assert isinstance(verdict, Refuse)
    assert verdict.failure.reason == reason.DEPTH_EXCEEDED
    assert verdict.failure.message == "runs are nested 4 deep, the limit is 3; break the recursion"
    assert verdict.failure.details == {"depth": 4, "max_depth": 3}
