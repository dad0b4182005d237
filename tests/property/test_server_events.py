"""Server-sent events mean the same however the network cuts them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from motet.agents.model.providers._sse import EventReader, ServerEvent

STREAM = (
    b"\xef\xbb\xbfdata: first\n\n: a comment\r\n\r\nevent: named\rdata:one\rdata:  two\r\r"
    b"id: 7\nretry: 3\n\ndata\n\nevent: alone\n\ndata: gr\xc3\xbc\xc3\x9fe\r\n\r\ndata: last"
)
EVENTS = [
    ServerEvent("", "first"),
    ServerEvent("named", "one\n two"),
    ServerEvent("", ""),
    ServerEvent("", "gr\u00fc\u00dfe"),
    ServerEvent("", "last"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_any_cuts_give_the_same_events(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    reader = EventReader()
    events = [event for begin, end in pairwise(edges) for event in reader.feed(STREAM[begin:end])]
    assert events + reader.flush() == EVENTS
    assert reader.flush() == []


def test_a_long_line_in_many_pieces_costs_no_more_than_its_length() -> None:
    reader = EventReader()
    reader.feed(b"data: ")
    for _ in range(20_000):
        assert reader.feed(b"x" * 50) == []
    (event,) = reader.feed(b"\n\n")
    assert len(event.data) == 1_000_000
