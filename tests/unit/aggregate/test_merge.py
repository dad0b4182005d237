"""merge: texts joined in declared order, attributed, and cut fairly to a length."""

from typing import Any

import pytest

from motet.aggregate.merge import MERGE
from motet.model.outcome import Failure
from motet.model.payload import Payload
from motet.ports import AggregatorType
from motet.testing.contracts_aggregator import BOOK, AggregatorContract, Book, decide, failed, succeeded


class TestMergeKeepsTheContract(AggregatorContract):
    def make_type(self) -> AggregatorType:
        return MERGE


class TestMergeWithBoundsKeepsTheContract(AggregatorContract):
    options = {"max_length": 8, "max_total_length": 20}  # noqa: RUF012 - a ClassVar of the contract

    def make_type(self) -> AggregatorType:
        return MERGE


def answer(outputs: dict[str, object], book: Book = BOOK, **options: Any) -> Any:
    outcomes = [failed(name) if out is None else succeeded(name, out) for name, out in outputs.items()]
    said, _ = decide(MERGE.make(options, book), outcomes, range(len(outcomes)), early_stop=True)
    return said.value if isinstance(said, Payload) else said


def test_texts_are_joined_in_declared_order_and_attributed() -> None:
    assert answer({"a": "one", "b": None, "c": "two"}) == {
        "merged_text": "[a] one\n\n[c] two",
        "source_count": 2,
        "total_length": 16,
        "cut": [],
    }


def test_attribution_and_separator_may_be_changed() -> None:
    assert answer({"a": "one", "c": "two"}, attribution=False, separator="|")["merged_text"] == "one|two"


def test_json_is_its_document_to_the_letter_a_json_string_its_text_and_bytes_are_base64() -> None:
    outputs: dict[str, object] = {
        "a": Payload("json", '{"n": 1.00000000000000000001}'),
        "b": Payload("json", '"quoted"'),
        "c": b"\x00\xff",
    }
    merged = answer(outputs, attribution=False, separator=" ")["merged_text"]
    assert merged == '{"n": 1.00000000000000000001} quoted AP8='


def test_a_member_s_text_is_cut_to_its_own_bound_with_the_mark_counted() -> None:
    said = answer({"a": "0123456789", "b": "short"}, attribution=False, separator="|", max_length=8)
    assert said["merged_text"] == "01 [...]|short"
    assert said["cut"] == ["a"]


def test_under_a_total_bound_short_texts_stay_whole_and_long_ones_share_what_is_left() -> None:
    said = answer({"a": "x" * 100, "b": "tiny", "c": "y" * 100}, attribution=False, separator="", max_total_length=44)
    assert said["merged_text"] == "x" * 14 + " [...]" + "tiny" + "y" * 14 + " [...]"
    assert said["total_length"] == 44
    assert said["cut"] == ["a", "c"]


def test_names_and_separators_count_under_the_total_bound() -> None:
    said = answer({"a": "x" * 100, "b": "y" * 100}, max_total_length=40)
    assert said["merged_text"] == "[a] xxxxxxxxx [...]\n\n[b] yyyyyyyyy [...]"
    assert said["total_length"] == 40


def test_a_bound_that_does_not_even_hold_the_names_is_kept_and_everything_counts_as_cut() -> None:
    said = answer({"a": "one", "b": "two"}, max_total_length=7)
    assert said["merged_text"] == "[ [...]"
    assert said["cut"] == ["a", "b"]


def test_a_field_is_selected_and_an_output_without_it_is_left_out_and_said_so() -> None:
    said = answer({"a": {"text": "one"}, "b": {"other": 1}, "c": '{"text": [1, "\u00e9"]}'}, field="/text")
    assert said["merged_text"] == '[a] one\n\n[c] [1,"\u00e9"]'
    assert said["left_out"] == [{"member": "b", "problem": "has nothing at /text"}]


def test_outputs_that_all_lack_the_field_give_a_failure_that_names_each() -> None:
    said = answer({"a": {"x": 1}, "b": "text"}, field="/text")
    assert isinstance(said, Failure)
    assert said.reason == "NO_TEXTS"
    assert [one["member"] for one in said.details["left_out"]] == ["a", "b"]


def test_a_function_s_value_without_a_text_form_is_left_out() -> None:
    book = Book(functions={"odd": lambda value: {1, 2} if value == "set" else value})
    said = answer({"a": "set", "b": "fine"}, book, function="odd")
    assert said["merged_text"] == "[b] fine"
    assert said["left_out"][0]["member"] == "a"


def test_lone_surrogates_do_not_keep_the_answer_from_being_sent() -> None:
    outcomes = [succeeded("a", Payload("text", "\ud800"))]
    said, _ = decide(MERGE.make({}, BOOK), outcomes, [0], early_stop=True)
    assert isinstance(said, Payload)
    assert said.data.decode() == said.text


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_length": 0}, "max_length"),
        ({"max_total_length": "9"}, "max_total_length"),
        ({"separator": 1}, "separator"),
        ({"attribution": "yes"}, "attribution"),
        ({"field": "text"}, "field"),
        ({"field": "/a", "expression": "output"}, "field, expression"),
        ({"function": "nobody"}, "nobody"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        MERGE.make(options, BOOK)
