"""What people may write for a length of time."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet._duration import MAX_SECONDS, parse_duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0.0),
        (90, 90.0),
        (0.25, 0.25),
        ("90", 90.0),
        ("0.5", 0.5),
        ("500ms", 0.5),
        ("2s", 2.0),
        ("1m30s", 90.0),
        ("1h", 3600.0),
        ("1.5h", 5400.0),
        ("1d2h3m4s5ms", 93784.005),
        (" 2s ", 2.0),
        ("0s", 0.0),
    ],
)
def test_numbers_are_seconds_and_units_add_up(written: object, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "s",
        "1x",
        "1s1m",
        "1s1s",
        "-1s",
        "+1s",
        "1 s",
        "1e3s",
        "1m 30s",
        "inf",
        "nan",
        ".5s",
        "1.s",
        "\u0661s",
        "1m30",
    ],
)
def test_other_text_is_refused_with_what_is_allowed(written: str) -> None:
    with pytest.raises(ValueError, match="give seconds, or text such as"):
        parse_duration(written)


@pytest.mark.parametrize("written", [None, True, [], {}, b"1s", 1j])
def test_other_types_are_refused(written: object) -> None:
    with pytest.raises(ValueError, match="is not a length of time"):
        parse_duration(written)


@pytest.mark.parametrize("written", [-1, -0.001, math.nan, -math.inf])
def test_a_time_before_now_is_refused(written: float) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        parse_duration(written)


@pytest.mark.parametrize("written", [math.inf, 10**400, MAX_SECONDS * 2, "9" * 400 + "s", "9" * 400])
def test_what_the_contract_cannot_hold_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="longer than"):
        parse_duration(written)


def test_a_negative_zero_becomes_zero() -> None:
    assert math.copysign(1, parse_duration(-0.0)) == 1


@given(
    st.one_of(
        st.text(max_size=20), st.integers(), st.floats(), st.from_regex(r"[0-9.]{1,4}(d|h|m|s|ms)", fullmatch=True)
    )
)
def test_anything_is_a_bounded_length_or_a_value_error(written: object) -> None:
    try:
        seconds = parse_duration(written)
    except ValueError:
        return
    assert 0 <= seconds <= MAX_SECONDS
