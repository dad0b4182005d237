"""Escaping and cutting of untrusted text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.model.payload import Payload
from motet.model.result import GroupResult, Saved
from motet.model.state import State
from motet_server.cli.text import cut, early, many_lines, one_line, payload_text, seconds, usd


@given(st.text())
def test_nothing_that_steers_a_terminal_gets_through(text: str) -> None:
    for shown in (one_line(text), many_lines(text).replace("\n", "").replace("\t", ""), cut(text, 20)):
        assert not any(ord(char) < 32 or 127 <= ord(char) < 160 or 0xD800 <= ord(char) < 0xE000 for char in shown)


@given(st.text(), st.integers(4, 80))
def test_a_cut_line_is_never_longer_than_asked(text: str, width: int) -> None:
    assert len(cut(text, width)) <= width


def test_an_escape_sequence_is_written_out() -> None:
    assert one_line("a\x1b[31mb\r\n") == "a\\x1b[31mb\\r\\n"
    assert one_line("\u202eabc\u2028") == "\\u202eabc\\u2028"


def test_an_answer_keeps_its_lines_and_tabs() -> None:
    assert many_lines("a\r\n\tb\nc\x07") == "a\n\tb\nc\\x07"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 ms"), (0.0124, "12 ms"), (0.9996, "1.00 s"), (1.5, "1.50 s"), (59.9, "59.90 s"), (119.9, "2 min 00 s")],
)
def test_durations_read_in_the_unit_that_fits(value: float, text: str) -> None:
    assert seconds(value) == text


def test_bytes_that_are_no_text_are_described() -> None:
    assert payload_text(Payload.from_bytes(b"\xff\xfe", "image/png")) == "(2 bytes of image/png)"
    assert payload_text(Payload.from_bytes(b"plain")) == "plain"
    assert payload_text(None) == ""


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0.00 USD"),
        (2_100_000, "0.0021 USD"),
        (1, "0.000000001 USD"),
        (1_500_000_000, "1.50 USD"),
        (10**15, "1,000,000.00 USD"),
    ],
)
def test_money_is_written_exactly(nanos: int, text: str) -> None:
    assert usd(nanos) == text


@pytest.mark.parametrize(
    ("saved", "text"),
    [
        (
            Saved(members=3, calls=2, cost_nanos=2_100_000, unpriced_calls=1),
            "decided early: 3 members spared, 2 calls never made, 0.0021 USD saved (1 unpriced)",
        ),
        (Saved(members=1), "decided early: 1 member spared"),
        (Saved(members=1, calls=1, unpriced_calls=1), "decided early: 1 member spared, 1 call never made (1 unpriced)"),
        (None, "decided early"),
    ],
)
def test_an_early_decision_says_what_it_spared(saved: Saved | None, text: str) -> None:
    assert early(GroupResult(name="g", state=State.SUCCEEDED, decided_early=True, saved=saved)) == text
    assert early(GroupResult(name="g", state=State.SUCCEEDED)) == ""
