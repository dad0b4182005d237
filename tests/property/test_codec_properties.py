"""Any noun that a store keeps comes back as it was, to the last bit; and no text makes reading it fail in another way than
with ValueError."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motet.model.event import (
    AttemptEnded,
    AttemptStarted,
    Event,
    GroupEnded,
    GroupStarted,
    MemberEnded,
    MemberProgress,
    MemberStarted,
    RunEnded,
    RunStarted,
)
from motet.model.outcome import Attempt, AttemptKind, Failure, Outcome, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.plan import (
    Aggregation,
    Group,
    HedgePolicy,
    Idempotency,
    Limits,
    Member,
    OnBreach,
    OnFailure,
    Parallel,
    ReplicaOverride,
    RetryPolicy,
    Sequence,
)
from motet.model.result import GroupResult, RunResult, Saved, Stats
from motet.model.run import RunRecord, RunRequest
from motet.model.session import SessionEntry
from motet.model.state import State
from motet.model.usage import Usage
from motet.store import codec

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

# Lone surrogates included. Which zero it is is the one thing that defaults hide.
TEXT = st.text(st.characters(exclude_categories=()), max_size=6)
NUMBERS = st.integers().filter(bool) | st.floats().map(lambda number: number + 0.0)
COUNTS = st.integers(-3, 3) | st.integers()
MAYBE = st.none() | COUNTS
SECONDS = st.none() | NUMBERS
TIMES = st.timedeltas(timedelta(), timedelta(365 * 9000)).map(lambda time: datetime(1, 1, 1, tzinfo=UTC) + time)
STATES = st.sampled_from(State)
BOOLEANS = st.booleans()


def json_values(floats: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | BOOLEANS | st.integers() | floats | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=6,
    )


VALUES = json_values(st.floats())
DOCUMENTS = json_values(st.floats(allow_nan=False, allow_infinity=False)).map(lambda value: f" {json.dumps(value)}")
MAPS = st.dictionaries(TEXT, VALUES, max_size=2)
LABELS = st.dictionaries(TEXT, TEXT, max_size=2)


def some(strategy: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=most).map(tuple)


PAYLOADS = (
    st.builds(Payload.from_text, TEXT, TEXT)
    | st.builds(Payload.from_bytes, st.binary(max_size=9), TEXT)
    | st.builds(Payload.from_json_text, DOCUMENTS | st.sampled_from(["1.10", "123456789012345678901.0"]), TEXT)
)
FAILURES = st.builds(Failure, TEXT, TEXT, MAPS)
USAGES = st.builds(Usage, **dict.fromkeys(("calls", "input_tokens", "output_tokens", "cost_nanos"), COUNTS))
STOPS = st.builds(StopReceipt, st.sampled_from(StopKind), NUMBERS, TEXT)
STATS = st.builds(Stats, members=COUNTS, failed=COUNTS, detached=COUNTS, ran=NUMBERS, progress_dropped=COUNTS)
ATTEMPTS = st.builds(
    Attempt,
    number=COUNTS,
    kind=st.sampled_from(AttemptKind),
    state=STATES,
    failure=st.none() | FAILURES,
    started=NUMBERS,
    usage=USAGES,
    stop=st.none() | STOPS,
)


def outcomes(nested: st.SearchStrategy[tuple[GroupResult, ...]]) -> st.SearchStrategy[Outcome]:
    return st.builds(
        Outcome,
        member=TEXT,
        agent=TEXT,
        state=STATES,
        output=st.none() | PAYLOADS,
        failure=st.none() | FAILURES,
        attempts=COUNTS,
        queued=NUMBERS,
        usage=USAGES,
        cached=BOOLEANS,
        stop=st.none() | STOPS,
        metadata=MAPS,
        nested=nested,
        attempt_log=some(ATTEMPTS),
    )


def results(inner: st.SearchStrategy[GroupResult]) -> st.SearchStrategy[GroupResult]:
    return st.builds(
        GroupResult,
        name=TEXT,
        state=STATES,
        aggregate=st.none() | PAYLOADS,
        failure=st.none() | FAILURES,
        outcomes=some(outcomes(some(inner, 1))),
        decided_early=BOOLEANS,
        stats=STATS,
        metadata=MAPS,
        parent=TEXT,
        asked=some(inner, 1),
        saved=st.none() | st.builds(Saved, members=COUNTS, unpriced_calls=COUNTS),
    )


GROUP_RESULTS = st.recursive(st.builds(GroupResult, name=TEXT, state=STATES), results, max_leaves=3)
OUTCOMES = outcomes(some(GROUP_RESULTS, 1))
RESULTS = st.builds(
    RunResult,
    run_id=TEXT,
    state=STATES,
    output=st.none() | PAYLOADS,
    groups=some(GROUP_RESULTS),
    usage=USAGES,
    failure=st.none() | FAILURES,
    started_at=TIMES,
    elapsed=NUMBERS,
    stats=STATS,
)
RECORDS = st.builds(
    RunRecord,
    run_id=TEXT,
    state=STATES,
    target=TEXT,
    started_at=TIMES,
    labels=LABELS,
    request_id=TEXT,
    tenant=TEXT,
    attached=BOOLEANS,
    ended_at=st.none() | TIMES,
    last_sequence=COUNTS,
    result=st.none() | RESULTS,
)
DETAILS = st.one_of(
    st.builds(RunStarted, TEXT, TIMES, COUNTS, LABELS),
    st.builds(GroupStarted, COUNTS, some(st.tuples(TEXT, TEXT), 3), TEXT),
    st.builds(MemberStarted, TEXT, NUMBERS, COUNTS),
    st.builds(AttemptStarted, COUNTS, st.sampled_from(AttemptKind)),
    st.builds(AttemptEnded, ATTEMPTS, SECONDS),
    st.builds(MemberProgress, PAYLOADS),
    st.builds(MemberEnded, OUTCOMES),
    st.builds(GroupEnded, GROUP_RESULTS),
    st.builds(RunEnded, STATES, st.none() | FAILURES, USAGES, STATS),
)
EVENTS = st.builds(Event, COUNTS, NUMBERS, DETAILS, TEXT, TEXT, TEXT)
ENTRIES = st.builds(SessionEntry, role=TEXT, member=TEXT, run_id=TEXT, payload=PAYLOADS, at=TIMES)

RETRIES = st.builds(RetryPolicy, max_attempts=COUNTS, jitter=NUMBERS, reasons=some(TEXT))
IDEMPOTENCY = st.builds(Idempotency, key=TEXT, ttl=NUMBERS)
LIMITS = st.builds(
    Limits,
    max_cost_nanos=MAYBE,
    max_duration=SECONDS,
    min_successes=MAYBE,
    max_depth=MAYBE,
    on_breach=st.none() | st.sampled_from(OnBreach),
    skip_infeasible=st.none() | BOOLEANS,
)
VARIABLES = st.dictionaries(TEXT, PAYLOADS, max_size=2)
OVERRIDES = st.builds(
    ReplicaOverride, replica=COUNTS, input=st.none() | PAYLOADS, variables=VARIABLES, weight=SECONDS, timeout=SECONDS
)
MEMBERS = st.builds(
    Member,
    TEXT,
    TEXT,
    st.none() | PAYLOADS,
    VARIABLES,
    NUMBERS,
    SECONDS,
    MAYBE,
    some(OVERRIDES),
    st.none() | RETRIES,
    st.none() | IDEMPOTENCY,
)
GROUPS = st.builds(
    Group,
    TEXT,
    some(TEXT | MEMBERS),
    TEXT | st.builds(Aggregation, TEXT, MAPS, BOOLEANS),
    timeout=SECONDS,
    max_parallel=MAYBE,
    limits=st.none() | LIMITS,
    retry=st.none() | RETRIES,
    hedge=st.none() | st.builds(HedgePolicy, delay=SECONDS, max_attempts=COUNTS),
    idempotency=st.none() | IDEMPOTENCY,
    metadata=MAPS,
    preserve_session=BOOLEANS,
)
PLANS: st.SearchStrategy[Any] = st.recursive(
    GROUPS,
    lambda inner: (
        st.builds(Sequence, some(inner), BOOLEANS, st.none() | st.sampled_from(OnFailure), SECONDS)
        | st.builds(Parallel, some(inner), SECONDS)
    ),
    max_leaves=3,
)
REQUESTS = st.builds(
    RunRequest,
    target=TEXT | PLANS,
    input=PAYLOADS,
    tenant=TEXT,
    variables=VARIABLES,
    limits=st.none() | LIMITS,
    timeout=SECONDS,
    labels=LABELS,
    depth=COUNTS,
)

Encode = Callable[[Any], str | None]
Decode = Callable[[str], Any]
FORMS: dict[str, tuple[Encode, Decode, st.SearchStrategy[Any]]] = {
    "event": (codec.encode_event, codec.decode_event, EVENTS),
    "record": (codec.encode_record, codec.decode_record, RECORDS),
    "result": (codec.encode_result, codec.decode_result, RESULTS),
    "outcome": (codec.encode_outcome, codec.decode_outcome, OUTCOMES),
    "request": (codec.encode_request, codec.decode_request, REQUESTS),
    "entry": (codec.encode_entry, codec.decode_entry, ENTRIES),
}
NOUNS = sorted(FORMS)


@pytest.mark.parametrize("noun", NOUNS)
@QUICK
@given(data=st.data())
def test_every_noun_comes_back_as_it_was(noun: str, data: st.DataObject) -> None:
    encode, decode, nouns = FORMS[noun]
    value = data.draw(nouns)
    row = encode(value)
    assert row is not None
    assert row.encode(), "rows are Unicode"
    # The text of a noun shows kinds of numbers and of enums too, and NaN, which equals nothing.
    assert repr(decode(row)) == repr(value)


def read_if_right(decode: Decode, row: str) -> Any:
    """What the row holds; None when it is refused."""
    try:
        return decode(row)
    except ValueError:
        return None


@pytest.mark.parametrize("noun", NOUNS)
@QUICK
@given(data=st.data())
def test_text_that_is_no_row_is_a_value_error_and_nothing_else(noun: str, data: st.DataObject) -> None:
    encode, decode, nouns = FORMS[noun]
    if data.draw(BOOLEANS):
        row = json.dumps(data.draw(VALUES))
    else:
        row = encode(data.draw(nouns)) or ""
        place = data.draw(st.integers(0, len(row)))
        row = row[:place] + data.draw(st.sampled_from(["", "0", "null", "[", "}", '"', "{}"])) + row[place + 1 :]
    value = read_if_right(decode, row)
    assert value is None or decode(encode(value) or "") is not None


def changed(draw: st.DrawFn, value: Any) -> Any:
    """The value with one place in it, at random, put in another's place."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: changed(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], changed(draw, value[place]), *value[place + 1 :]]
    return draw(VALUES)


@pytest.mark.parametrize("noun", NOUNS)
@QUICK
@given(data=st.data())
def test_a_row_with_a_wrong_value_in_it_is_a_value_error_and_nothing_else(noun: str, data: st.DataObject) -> None:
    encode, decode, nouns = FORMS[noun]
    right = json.loads(encode(data.draw(nouns)) or "")
    wrong = json.dumps(data.draw(st.composite(changed)(right)))
    value = read_if_right(decode, wrong)
    assert value is None or decode(encode(value) or "") is not None
