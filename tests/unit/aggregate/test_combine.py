"""combine: the answer's text, to the letter."""

from collections.abc import Sequence

from motet.aggregate import BUILTIN
from motet.aggregate._common import MAX_LISTED
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.testing.contracts_aggregator import BOOK, decide, failed, succeeded

COMBINE = BUILTIN["combine"].make({}, BOOK)


def combined(outcomes: Sequence[Outcome]) -> Payload:
    answer, _ = decide(COMBINE, outcomes, range(len(outcomes)), early_stop=True)
    assert isinstance(answer, Payload)
    return answer


def test_successes_stand_in_declared_order_whatever_the_order_of_completion() -> None:
    outcomes = [succeeded("a", "x"), failed("b"), succeeded("c", "y")]
    answer, _ = decide(COMBINE, outcomes, [2, 1, 0], early_stop=True)
    assert isinstance(answer, Payload)
    assert answer == Payload("json", '{"combined_results":["x","y"],"result_count":2}')


def test_json_documents_keep_numbers_that_a_float_cannot_hold() -> None:
    document = '{"n": 0.1000000000000000000001, "big": 123456789012345678901234567890}'
    answer = combined([succeeded("a", Payload.from_json_text(document))])
    assert document in answer.text


def test_text_is_a_string_and_bytes_are_base64() -> None:
    answer = combined([succeeded("a", 'say "hi"\n'), succeeded("b", b"\x00\xff"), succeeded("c", [1])])
    assert answer.value == {"combined_results": ['say "hi"\n', "AP8=", [1]], "result_count": 3}


def test_text_that_looks_like_json_stays_a_string() -> None:
    assert combined([succeeded("a", '{"x": 1}')]).value["combined_results"] == ['{"x": 1}']


def test_lone_surrogates_become_escapes_so_that_the_answer_has_bytes() -> None:
    answer = combined([succeeded("a", "\ud800!"), succeeded("b", Payload("json", '["\udfff"]'))])
    assert answer.data == b'{"combined_results":["\\ud800!",["\\udfff"]],"result_count":2}'
    assert answer.value["combined_results"] == ["\ud800!", ["\udfff"]]


def test_text_beyond_ascii_is_kept_as_it_is() -> None:
    assert "Grüße 🎵" in combined([succeeded("a", "Grüße 🎵")]).text


def test_a_document_that_python_cannot_decode_is_embedded_all_the_same() -> None:
    deep = "[" * 100_000 + "]" * 100_000
    answer = combined([succeeded("a", Payload("json", deep))])
    assert answer.text == f'{{"combined_results":[{deep}],"result_count":1}}'


def test_a_failure_lists_the_first_members_and_counts_all() -> None:
    outcomes = [failed(f"m{n}") for n in range(MAX_LISTED + 50)]
    answer, _ = decide(COMBINE, outcomes, range(len(outcomes)), early_stop=True)
    assert isinstance(answer, Failure)
    assert len(answer.details["members"]) == MAX_LISTED
    assert answer.details["members_total"] == MAX_LISTED + 50
    assert answer.details["members"]["m0"] == {"state": "FAILED", "reason": "AGENT_FAILED", "message": "m0 failed"}
