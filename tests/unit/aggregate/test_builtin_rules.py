"""The rules without options, against the contract of aggregations, and the list of all rules."""

from motet.aggregate import BUILTIN
from motet.ports import AggregatorType
from motet.testing.contracts_aggregator import AggregatorContract


class TestCombineKeepsTheContract(AggregatorContract):
    def make_type(self) -> AggregatorType:
        return BUILTIN["combine"]


class TestFirstKeepsTheContract(AggregatorContract):
    def make_type(self) -> AggregatorType:
        return BUILTIN["first"]


class TestMajorityKeepsTheContract(AggregatorContract):
    def make_type(self) -> AggregatorType:
        return BUILTIN["majority"]


def test_the_builtin_rules_are_known_by_their_own_names() -> None:
    assert all(name == kind.name for name, kind in BUILTIN.items())
    assert sorted(BUILTIN) == [
        "best",
        "chain",
        "combine",
        "custom",
        "ensemble",
        "first",
        "majority",
        "merge",
        "rank",
        "ranked_vote",
        "summarize",
        "vote",
    ]


def test_the_rules_that_may_decide_early_say_so() -> None:
    early = {name for name, kind in BUILTIN.items() if kind.decides_early}
    assert early == {"best", "chain", "custom", "first", "majority", "vote"}
