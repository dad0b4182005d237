"""Events go together in messages that stay small."""

import pytest

from motet.model.event import Event, MemberProgress
from motet.model.payload import Payload
from motet_proto.v1 import run_pb2
from motet_proto.v1 import run_service_pb2 as pb
from motet_server import wire_results
from motet_server.services import following
from motet_server.services.following import FULL_MESSAGE, Written, event_bytes, in_messages


def read(message: bytes) -> list[run_pb2.Event]:
    streamed, watched = pb.StreamRunResponse.FromString(message), pb.WatchRunResponse.FromString(message)
    assert streamed.events == watched.events
    return list(streamed.events)


def reports(count: int, size: int) -> list[Event]:
    return [Event(n + 1, 0.0, MemberProgress(Payload.from_text("x" * size))) for n in range(count)]


def test_small_events_that_wait_go_in_one_message() -> None:
    assert [len(read(message)) for message in in_messages(reports(512, 10))] == [512]


def test_large_events_go_in_several_messages_in_order_and_none_is_lost() -> None:
    messages = list(in_messages(reports(10, FULL_MESSAGE // 4)))
    assert [len(read(message)) for message in messages] == [3, 3, 3, 1]
    assert [event.sequence for message in messages for event in read(message)] == list(range(1, 11))


def test_an_event_above_the_bound_goes_by_itself() -> None:
    batch = [*reports(2, 10), *reports(1, FULL_MESSAGE * 2), *reports(2, 10)]
    assert [len(read(message)) for message in in_messages(batch)] == [2, 1, 2]


def test_no_events_make_no_message() -> None:
    assert list(in_messages([])) == []


def test_events_are_written_as_the_messages_that_they_are() -> None:
    batch = reports(3, 10)
    (message,) = in_messages(batch)
    assert read(message) == [wire_results.event_to_pb(event) for event in batch]


def test_encoded_events_take_other_fields_after_them() -> None:
    message = pb.WatchRunResponse.FromString(
        event_bytes(reports(1, 1)[0]) + pb.WatchRunResponse(run_id="r").SerializeToString()
    )
    assert (message.run_id, len(message.events)) == ("r", 1)


def test_an_event_is_written_once_for_all_who_watch_its_run() -> None:
    written = Written()
    (event,) = reports(1, 10)
    first = written.writer("r")(event)
    assert written.writer("r")(event) is first
    assert written.writer("other")(event) is not first


def test_what_is_kept_for_other_watchers_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "KEPT", 3000)
    write = Written().writer("r")
    batch = reports(5, 1000)
    first, *_, last = [write(event) for event in batch]
    assert write(batch[4]) is last
    again = write(batch[0])
    assert (again, again is first) == (first, False)


def test_an_event_larger_than_all_that_may_be_kept_is_written_all_the_same() -> None:
    write = Written().writer("r")
    (event,) = reports(1, following.KEPT + 1)
    assert len(read(write(event))[0].member_progress.report.text) == following.KEPT + 1
