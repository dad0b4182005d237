"""The state of a stream, without a connection: what is new, when to connect again, when to stop."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet_client import Cancelled, Internal, NotFound, Resume, Unavailable
from motet_client._follow import Answers, Follow
from motet_proto.v1 import run_pb2
from motet_proto.v1 import run_service_pb2 as pb

DOWN = Unavailable("down")


def watching(after: int = 0, resume: Resume | None = None) -> Follow:
    return Follow(
        lambda last: pb.WatchRunRequest(run_id="r1", after_sequence=last), after=after, resume=resume, share=lambda: 1.0
    )


def test_events_that_were_seen_are_dropped(make: Any) -> None:
    follow = watching(2)
    assert [event.sequence for event in follow.take(make.watched(1, 2, 3, 4))] == [3, 4]
    assert [event.sequence for event in follow.take(make.watched(3, 4, 5))] == [5]
    assert follow.request() == pb.WatchRunRequest(run_id="r1", after_sequence=5)


def test_what_comes_before_a_gap_is_handed_out_and_the_result_behind_it_is_not_believed(make: Any) -> None:
    follow = watching()
    assert [event.sequence for event in follow.take(make.watched(1, 3, end=True))] == [1]
    assert follow.result is None
    with pytest.raises(Internal) as caught:
        follow.take(make.watched(3))
    assert caught.value.reason == "EVENT_GAP"


def test_an_event_of_an_unknown_kind_is_passed_over_but_counted(make: Any) -> None:
    follow = watching()
    strange = pb.WatchRunResponse(events=[run_pb2.Event(sequence=1), *make.events(2)])
    assert [event.sequence for event in follow.take(strange)] == [2]
    assert follow.last == 2


def test_delays_double_up_to_their_cap_and_begin_anew_after_progress(make: Any) -> None:
    follow = watching(resume=Resume(attempts=6, first_delay=0.1, max_delay=0.5))
    follow.take(make.watched(1))
    assert [follow.broken(DOWN) for _ in range(4)] == pytest.approx([0.1, 0.2, 0.4, 0.5])
    follow.take(make.watched(1, 2))
    assert follow.broken(DOWN) == pytest.approx(0.1)


def test_a_watch_gives_up_after_so_many_connections_that_bring_nothing(make: Any) -> None:
    follow = watching(resume=Resume(attempts=3))
    follow.take(make.watched(1))
    assert follow.broken(DOWN) is not None
    assert follow.broken(DOWN) is not None
    with pytest.raises(Unavailable):
        follow.broken(DOWN)


def test_a_watch_that_never_heard_the_server_gives_up_soon() -> None:
    follow = watching(resume=Resume(attempts=100))
    assert follow.broken(DOWN) is not None
    assert follow.broken(DOWN) is not None
    with pytest.raises(Unavailable):
        follow.broken(DOWN)


def test_the_server_may_ask_for_a_longer_wait(make: Any) -> None:
    follow = watching(resume=Resume())
    follow.take(make.watched(1))
    assert follow.broken(Unavailable("draining", retry_after=7.0)) == 7.0


@pytest.mark.parametrize(
    "error",
    [
        Internal("Received RST_STREAM with error code 2"),
        Internal("the server sent event 3 after event 1", reason="EVENT_GAP"),
        Cancelled("CANCELLED"),
    ],
)
def test_a_broken_connection_has_many_names(error: Any, make: Any) -> None:
    follow = watching(resume=Resume())
    follow.take(make.watched(1))
    assert follow.broken(error) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "error",
    [
        NotFound("no run r1"),
        Internal("a bug"),
        Cancelled("by an operator", reason="RUN_REMOVED"),
        Cancelled("Channel closed!"),
    ],
)
def test_what_is_not_about_the_connection_is_raised(error: Any) -> None:
    with pytest.raises(type(error)) as caught:
        watching(resume=Resume()).broken(error)
    assert caught.value is error


def test_whatever_comes_after_the_result_is_of_no_account(make: Any) -> None:
    follow = watching()
    follow.take(make.watched(1, end=True))
    assert follow.result is not None
    assert follow.broken(DOWN) is None
    assert follow.ended() is None


def test_a_stream_that_ends_without_a_result_was_too_short() -> None:
    with pytest.raises(Unavailable) as caught:
        watching().ended()
    assert caught.value.reason == "STREAM_ENDED"


@given(st.data())
def test_however_often_the_connection_breaks_each_event_comes_once_and_in_order(data: Any) -> None:
    total = data.draw(st.integers(1, 30))
    follow = watching(resume=Resume(attempts=10**6))
    seen: list[int] = []
    while follow.result is None:
        request: Any = follow.request()
        at = data.draw(st.integers(max(0, request.after_sequence - 3), request.after_sequence))
        while True:
            size = data.draw(st.integers(1, 10))
            numbers = range(at + 1, min(at + size, total) + 1)
            events = [
                run_pb2.Event(sequence=n, run_ended=run_pb2.RunEnded(state=run_pb2.STATE_SUCCEEDED)) for n in numbers
            ]
            at = min(at + size, total)
            result = run_pb2.RunResult(state=run_pb2.STATE_SUCCEEDED) if at == total else None
            try:
                seen += [e.sequence for e in follow.take(pb.WatchRunResponse(events=events, result=result))]
            except Internal as gap:
                follow.broken(gap)
                break
            if at == total:
                break
            fate = data.draw(st.sampled_from(["go on", "lose one", "break"]))
            if fate == "break":
                follow.broken(DOWN)
                break
            at = min(at + (fate == "lose one"), total - 1)
    assert seen == list(range(1, total + 1))


def test_a_map_is_complete_when_every_input_has_its_answer() -> None:
    answers = Answers()
    answers.sent, answers.received, answers.closed = 2, 2, True
    answers.ended()
    answers.received = 1
    with pytest.raises(Internal, match="1 of 2"):
        answers.ended()
