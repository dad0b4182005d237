"""The options of votes: what is refused, in which words, and what the catalog lists."""

from typing import Any

import pytest

from motet.aggregate.ranked import RANKED_VOTE
from motet.aggregate.vote import VOTE
from motet.testing import ScriptedAgent
from motet.testing.contracts_aggregator import BOOK


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"method": "most"}, "method"),
        ({"minimum_share": 1.5}, "minimum_share"),
        ({"minimum_share": -0.1}, "minimum_share"),
        ({"ties": "last"}, "ties"),
        ({"ties": "tiebreaker"}, "tiebreaker"),
        ({"tiebreaker": "judge"}, "tiebreaker"),
        ({"tiebreaker_timeout": 3}, "tiebreaker_timeout"),
        ({"ties": "tiebreaker", "tiebreaker": "judge", "tiebreaker_timeout": 0}, "tiebreaker_timeout"),
        ({"ties": "tiebreaker", "tiebreaker": 7}, "tiebreaker"),
        ({"weighted": "yes"}, "weighted"),
        ({"normalise": {"cases": True}}, "normalise.cases"),
        ({"abstain": "unknown"}, "abstain"),
        ({"abstain": ["ok", {1, 2}]}, r"abstain\[1\]"),
        ({"confidence": 0.5}, "confidence"),
        ({"confidence": 1}, "confidence"),
        ({"confidence": 0.9, "method": "majority"}, "confidence"),
        ({"field": "label"}, "field"),
        ({"field": "/a", "expression": "output"}, "field, expression"),
        ({"function": "nobody"}, "function"),
    ],
)
def test_a_wrong_option_of_a_vote_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        VOTE.make(options, BOOK)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"method": "plurality"}, "method"), ({"ties": "tiebreaker"}, "ties"), ({"abstain": []}, "abstain")],
)
def test_a_wrong_option_of_a_ranked_vote_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        RANKED_VOTE.make(options, BOOK)


def test_a_tiebreaker_by_name_is_told_to_the_catalog_and_one_given_as_an_object_is_not() -> None:
    named = VOTE.make({"ties": "tiebreaker", "tiebreaker": "judge"}, BOOK)
    given = VOTE.make({"ties": "tiebreaker", "tiebreaker": ScriptedAgent("judge")}, BOOK)
    assert (list(named.agents), list(given.agents)) == (["judge"], [])
    assert list(VOTE.make({}, BOOK).agents) == []


def test_the_schema_names_every_option() -> None:
    names = set(VOTE.options_schema["properties"])
    assert names == {
        "field",
        "expression",
        "function",
        "method",
        "minimum_share",
        "ties",
        "tiebreaker",
        "tiebreaker_timeout",
        "weighted",
        "normalise",
        "abstain",
        "confidence",
    }
    assert set(VOTE.options_schema["$defs"]["NormaliseOptions"]["properties"]) == {
        "case",
        "whitespace",
        "numbers",
        "json",
    }
    assert "method" in RANKED_VOTE.options_schema["properties"]
