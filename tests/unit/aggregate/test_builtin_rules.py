"""The three rules that every catalog knows, against the contract of aggregations."""

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
    assert {name: kind.name for name, kind in BUILTIN.items()} == {
        "combine": "combine",
        "first": "first",
        "majority": "majority",
    }


def test_all_but_combine_decide_early() -> None:
    assert {name for name, kind in BUILTIN.items() if kind.decides_early} == {"first", "majority"}
