"""Events go together in messages that stay small."""

from motet.model.event import Event, MemberProgress
from motet.model.payload import Payload
from motet_server.services.run import FULL_MESSAGE, in_messages


def reports(count: int, size: int) -> list[Event]:
    return [Event(n + 1, 0.0, MemberProgress(Payload.from_text("x" * size))) for n in range(count)]


def test_small_events_that_wait_go_in_one_message() -> None:
    assert [len(events) for events in in_messages(reports(512, 10))] == [512]


def test_large_events_go_in_several_messages_in_order_and_none_is_lost() -> None:
    messages = list(in_messages(reports(10, FULL_MESSAGE // 4)))
    assert [len(events) for events in messages] == [3, 3, 3, 1]
    assert [event.sequence for events in messages for event in events] == list(range(1, 11))


def test_an_event_above_the_bound_goes_by_itself() -> None:
    batch = [*reports(2, 10), *reports(1, FULL_MESSAGE * 2), *reports(2, 10)]
    assert [len(events) for events in in_messages(batch)] == [2, 1, 2]


def test_no_events_make_no_message() -> None:
    assert list(in_messages([])) == []
