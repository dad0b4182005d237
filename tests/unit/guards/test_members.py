"""MaxMembers: runs that are too big are refused, all others admitted."""

from motet.guards.members import MaxMembers
from motet.model import reason
from motet.ports import ADMIT, Guard, Refuse
from motet.testing.contracts_guard import GuardContract, make_run


class TestMaxMembersKeepsTheContract(GuardContract):
    def make_guard(self) -> Guard:
        return MaxMembers()


def test_a_run_with_as_many_members_as_the_limit_is_admitted() -> None:
    assert MaxMembers().may_run(make_run(members=5, max_members=5), 0.0) == ADMIT


def test_a_run_with_more_members_than_the_limit_is_refused_with_both_figures() -> None:
    verdict = MaxMembers().may_run(make_run(members=6, max_members=5), 0.0)
    assert isinstance(verdict, Refuse)
    assert verdict.failure.reason == reason.MEMBERS_EXCEEDED
    assert verdict.failure.message == "the run would have 6 members, the limit is 5"
    assert verdict.failure.details == {"members": 6, "max_members": 5}
