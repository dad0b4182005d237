"""Nouns as JSON text: the format that rows are in, and what reading forgives and refuses."""

import json
import math
import typing
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest

from motet.model import event as event_module
from motet.model.event import AttemptEnded, Event, GroupStarted, MemberEnded, MemberProgress, RunStarted
from motet.model.outcome import Attempt, AttemptKind, Failure, Outcome, StopKind, StopReceipt
from motet.model.payload import Payload
from motet.model.plan import Aggregation, Group, Idempotency, Limits, Member, OnBreach, Parallel, RetryPolicy, Sequence
from motet.model.result import GroupResult, RunResult
from motet.model.run import RunRecord, RunRequest
from motet.model.session import SessionEntry
from motet.model.state import State
from motet.model.usage import Usage
from motet.store import codec
from motet.testing import ScriptedAgent

AT = datetime(2024, 1, 2, 3, 4, 5, 678901, UTC)
FAILED = Failure("R", "m", {"n": 1})
OUTCOME = Outcome(
    member="m",
    agent="a",
    state=State.TIMED_OUT,
    failure=FAILED,
    ran=1.5,
    usage=Usage(calls=1),
    stop=StopReceipt(StopKind.DETACHED, 0.5),
)
RESULT = RunResult(
    run_id="r",
    state=State.SUCCEEDED,
    output=Payload.from_json_text("[1.10]"),
    groups=(GroupResult(name="g", state=State.SUCCEEDED, aggregate=Payload.of("x"), outcomes=(OUTCOME,)),),
    started_at=AT,
)
RECORD = RunRecord(run_id="r", state=State.RUNNING, target="g", started_at=AT, labels={"a": "b"}, attached=True)
REQUEST = RunRequest(
    target=Sequence((Group("g", ("a", Member("b", timeout=0.0))), Parallel((Group("h", ("c",), "vote"),)))),
    input=Payload.of(b"\x00\xff"),
    limits=Limits(max_calls=3, on_breach=OnBreach.CANCEL),
    timeout=2,
)
ENTRY = SessionEntry(role="user", payload=Payload.from_text("ä", "text/markdown"), at=AT)
ATTEMPT = Attempt(number=1, kind=AttemptKind.FIRST, state=State.FAILED, failure=FAILED)

ROWS: list[tuple[Callable[[Any], str | None], Callable[[str], object], object, str]] = [
    (
        codec.encode_event,
        codec.decode_event,
        Event(2, 0.25, GroupStarted(2, (("m", "a"), ("n", "b"))), "g"),
        '{"sequence":2,"elapsed":0.25,"detail":{"group_started":{"members":2,"seats":[["m","a"],["n","b"]]}},"group":"g"}',
    ),
    (
        codec.encode_event,
        codec.decode_event,
        Event(3, 1, AttemptEnded(ATTEMPT, math.inf), "g", "m", "p/q"),
        (
            '{"sequence":3,"elapsed":1,"detail":{"attempt_ended":{"attempt":{"number":1,"kind":"FIRST","state":"FAILED",'
            '"failure":{"reason":"R","message":"m","details":{"n":1}}},"retry_in":Infinity}},"group":"g","member":"m",'
            '"parent":"p/q"}'
        ),
    ),
    (
        codec.encode_outcome,
        codec.decode_outcome,
        OUTCOME,
        (
            '{"member":"m","agent":"a","state":"TIMED_OUT","failure":{"reason":"R","message":"m","details":{"n":1}},'
            '"ran":1.5,"usage":{"calls":1},"stop":{"kind":"DETACHED","took":0.5}}'
        ),
    ),
    (
        codec.encode_result,
        codec.decode_result,
        replace(RESULT, groups=()),
        '{"run_id":"r","state":"SUCCEEDED","output":{"json":"[1.10]"},"started_at":"2024-01-02T03:04:05.678901+00:00"}',
    ),
    (
        codec.encode_record,
        codec.decode_record,
        RECORD,
        (
            '{"run_id":"r","state":"RUNNING","target":"g","started_at":"2024-01-02T03:04:05.678901+00:00",'
            '"labels":{"a":"b"},"attached":true}'
        ),
    ),
    (
        codec.encode_request,
        codec.decode_request,
        REQUEST,
        (
            '{"target":{"sequence":{"steps":[{"group":{"name":"g","members":["a",{"agent":"b","timeout":0.0}]}},'
            '{"parallel":{"branches":[{"group":{"name":"h","members":["c"],"aggregation":"vote"}}]}}]}},'
            '"input":{"data":"AP8="},"limits":{"max_calls":3,"on_breach":"CANCEL"},"timeout":2}'
        ),
    ),
    (
        codec.encode_request,
        codec.decode_request,
        RunRequest(target="named"),
        '{"target":"named"}',
    ),
    (
        codec.encode_entry,
        codec.decode_entry,
        ENTRY,
        '{"role":"user","payload":{"text":"ä","media_type":"text/markdown"},"at":"2024-01-02T03:04:05.678901+00:00"}',
    ),
]


@pytest.mark.parametrize(("encode", "decode", "noun", "row"), ROWS)
def test_rows_are_written_and_read_in_the_format_that_stores_have(
    encode: Callable[[Any], str | None], decode: Callable[[str], object], noun: object, row: str
) -> None:
    assert encode(noun) == row
    assert decode(row) == noun


def test_a_record_is_kept_with_its_result() -> None:
    record = replace(RECORD, state=State.SUCCEEDED, result=RESULT, ended_at=AT, tenant="t", last_sequence=9)
    assert codec.decode_record(codec.encode_record(record)) == record


def test_every_kind_of_event_detail_has_a_tag() -> None:
    details = typing.get_args(event_module.Detail)
    tags = {codec._TAGS[detail] for detail in details}
    assert len(tags) == len(details)


def test_what_a_newer_version_added_is_ignored() -> None:
    row = json.loads(codec.encode_outcome(OUTCOME))
    row |= {"colour": "red", "usage": {"calls": 1, "joules": 3}}
    assert codec.decode_outcome(json.dumps(row)) == OUTCOME


def test_a_kind_of_event_that_is_unknown_is_refused_in_a_sentence() -> None:
    row = '{"sequence":1,"elapsed":0,"detail":{"member_danced":{}}}'
    with pytest.raises(ValueError, match=r"Event\.detail: 'member_danced' is none of run_started, .* newer version"):
        codec.decode_event(row)


WRONG = [
    ("{", "Expecting"),
    ("[]", "not an object"),
    ('"e30"', "padding"),
    ('"e30="', "is missing"),
    ('"/w=="', "decode"),
    ('{"member":"m"}', "agent, state is missing"),
    ('{"member":"m","agent":"a","state":"DANCING"}', "Outcome.state: 'DANCING' is none of QUEUED"),
    ('{"member":"m","agent":"a","state":[]}', "Outcome.state"),
    ('{"member":1,"agent":"a","state":"FAILED"}', "Outcome.member: 1 is no str"),
    ('{"member":"m","agent":"a","state":"FAILED","ran":true}', "Outcome.ran: True is no float"),
    ('{"member":"m","agent":"a","state":"FAILED","cached":1}', "Outcome.cached: 1 is no bool"),
    ('{"member":"m","agent":"a","state":"FAILED","nested":{}}', "Outcome.nested"),
    ('{"member":"m","agent":"a","state":"FAILED","metadata":[]}', "Outcome.metadata"),
    ('{"member":"m","agent":"a","state":"FAILED","output":{}}', "none of text, json, data"),
    ('{"member":"m","agent":"a","state":"FAILED","output":"x"}', "Outcome.output"),
    ('{"member":"m","agent":"a","state":"FAILED","output":{"data":"!"}}', "Outcome.output"),
    ('{"member":"m","agent":"a","state":"FAILED","output":{"text":"","media_type":1}}', "Outcome.output"),
    ('{"member":"m","agent":"a","state":"FAILED","nested":[{"name":"g"}]}', "nested: GroupResult: state is missing"),
    ("[" * 100_000, "too deep"),
    ("1" * 5000, "4300"),
]


@pytest.mark.parametrize(("row", "message"), WRONG)
def test_a_row_that_is_no_outcome_is_refused_with_the_place(row: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        codec.decode_outcome(row)


@pytest.mark.parametrize(
    "detail",
    ['{"group_started":{"members":1,"seats":[["a"]]}}', '{"group_started":{},"run_ended":{}}', "{}", "[]", '"x"'],
)
def test_an_event_with_a_wrong_detail_is_refused(detail: str) -> None:
    with pytest.raises(ValueError, match=r"Event\.detail"):
        codec.decode_event(f'{{"sequence":1,"elapsed":0,"detail":{detail}}}')


@pytest.mark.parametrize("at", ['"yesterday"', '"2024-01-02T03:04:05"', "5", '"0001-01-01T00:00:00+23:00"'])
def test_a_time_that_is_none_is_refused(at: str) -> None:
    with pytest.raises(ValueError, match=r"SessionEntry\.at"):
        codec.decode_entry(f'{{"role":"r","payload":{{"text":""}},"at":{at}}}')


def test_times_are_kept_in_utc_and_need_a_zone() -> None:
    east = replace(ENTRY, at=AT.astimezone(timezone(timedelta(hours=5))))
    row = codec.encode_entry(east)
    assert row == codec.encode_entry(ENTRY)
    read = codec.decode_entry(row)
    assert read == ENTRY
    assert read.at.tzinfo is UTC
    with pytest.raises(ValueError, match="time zone"):
        codec.encode_entry(replace(ENTRY, at=AT.replace(tzinfo=None)))


@pytest.mark.parametrize("text", ["\ud800", "\ud83d\ude00", "\ud83d" + "\ude00", "\udfff😀\x00\u2028"])
def test_text_that_is_not_unicode_comes_back_and_its_row_is_unicode(text: str) -> None:
    event = Event(1, 0.0, MemberProgress(Payload.of(text)), text)
    row = codec.encode_event(event)
    assert row.encode()
    assert codec.decode_event(row) == event


def test_numbers_keep_their_value_and_their_kind() -> None:
    usage = Usage(calls=10**100, cost_nanos=2**63)
    metadata = {"nan": math.nan, "inf": -math.inf, "big": 10**400, "small": 5e-324, "one": 1.0, "true": True}
    outcome = Outcome(member="m", agent="a", state=State.FAILED, usage=usage, metadata=metadata, ran=7)
    assert repr(codec.decode_outcome(codec.encode_outcome(outcome))) == repr(outcome)


def test_what_agents_add_and_json_cannot_hold_is_kept_as_text() -> None:
    details: dict[Any, Any] = {"at": AT, "set": {1}, 1: (2, [3]), "map": MappingProxyType({"a": b"b"})}
    outcome = replace(OUTCOME, failure=Failure("R", "m", details), metadata=MappingProxyType({"a": 1}))
    read = codec.decode_outcome(codec.encode_outcome(outcome))
    assert read.metadata == {"a": 1}
    assert read.failure is not None
    assert read.failure.details == {"at": str(AT), "set": "{1}", "1": [2, [3]], "map": {"a": "b'b'"}}


def test_a_noun_that_cannot_be_kept_is_refused_in_a_sentence() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="Outcome is nested too deep"):
        codec.encode_outcome(replace(OUTCOME, metadata={"a": endless}))
    mistake: dict[Any, Any] = {(1, 2): 3}
    with pytest.raises(ValueError, match="Outcome holds what JSON cannot"):
        codec.encode_outcome(replace(OUTCOME, metadata=mistake))


@pytest.mark.parametrize(
    "group",
    [
        Group("g", (ScriptedAgent("a"),)),
        Group("g", (Member(ScriptedAgent("a")),)),
        Group("g", ("a",), Aggregation("x", {"f": len})),
        Group("g", ("a",), Aggregation("x", {"map": {1: 2}})),
        Group("g", ("a",), metadata={"at": AT}),
    ],
)
def test_a_request_that_json_cannot_hold_has_no_form(group: Group) -> None:
    assert codec.encode_request(RunRequest(target=group)) is None
    assert codec.encode_request(RunRequest(target=Sequence((Group("h", ("a",)), group)))) is None


def test_a_request_comes_back_with_tuples_and_plain_maps() -> None:
    policies: dict[str, Any] = {"retry": RetryPolicy(reasons=("A",)), "idempotency": Idempotency(key="k", ttl=1.0)}
    given = Group("g", ["a", Member("b", **policies)], Aggregation("x", MappingProxyType({"o": (1, [2])})), **policies)
    read = codec.decode_request(codec.encode_request(RunRequest(target=given)) or "")
    assert read.target == replace(given, members=tuple(given.members), aggregation=Aggregation("x", {"o": [1, [2]]}))


def test_each_row_is_read_into_maps_of_its_own() -> None:
    row = codec.encode_event(Event(1, 0.0, RunStarted("r", AT, 1)))
    first, second = codec.decode_event(row), codec.decode_event(row)
    assert isinstance(first.detail, RunStarted)
    assert isinstance(second.detail, RunStarted)
    assert first.detail.labels is not second.detail.labels


def test_an_outcome_in_an_event_is_the_outcome_alone() -> None:
    event = Event(4, 2.0, MemberEnded(OUTCOME), "g", "m")
    assert json.loads(codec.encode_event(event))["detail"]["member_ended"]["outcome"] == json.loads(
        codec.encode_outcome(OUTCOME)
    )
