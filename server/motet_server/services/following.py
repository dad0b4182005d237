"""How events go to those who follow a run: each written once, however many watch it, and put together in messages of
bounded size. Knows that StreamRunResponse and WatchRunResponse have the same fields."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from motet.model.event import Event, RunEnded
from motet_proto.v1 import run_service_pb2 as pb
from motet_server import wire_results
from motet_server.rpc import Send
from motet_server.services.intake import write_result

if TYPE_CHECKING:
    from motet.engine.stream import RunStream

FULL_MESSAGE: Final = 256 * 1024
"""Bytes of events that go in one message: the outputs of many members together would pass any limit on messages."""
KEPT: Final = 4 * 1024 * 1024
"""Bytes of written events that are kept for other watchers, about: those who follow live are seldom further apart."""
_ENTRY: Final = 200
"""Bytes that a kept event takes beside its own, about."""


async def follow(
    stream: "RunStream", response: Callable[..., Message], send: Send, write: Callable[[Event], bytes] | None = None
) -> None:
    """Send what waits, as few messages, until the run has ended; the last has the last events and the result."""
    written = write or event_bytes
    # Encoded messages put one after the other are the encoding of one message that has the fields of all of them.
    name = response(run_id=stream.run_id).SerializeToString()
    held = b""
    async for batch in stream.batches():
        for events in in_messages(batch, written):
            if held:
                await send(held + name)
            held = events
        if not isinstance(batch[-1].detail, RunEnded):
            await send(held + name)
            held = b""
    if stream.result is None:
        raise RuntimeError(f"the stream of run {stream.run_id} ended without a result")
    end = await write_result(stream.result, response)
    await send(held + end.SerializeToString() + name)


def event_bytes(event: Event) -> bytes:
    """A response that has this event and no more, encoded."""
    fields: Any = wire_results.event_fields(event)
    return pb.WatchRunResponse(events=(fields,)).SerializeToString()


def in_messages(batch: Iterable[Event], write: Callable[[Event], bytes] = event_bytes) -> Iterator[bytes]:
    """The events as messages take them: together while they are small, a large one by itself."""
    parts: list[bytes] = []
    size = 0
    for event in batch:
        part = write(event)
        if parts and size + len(part) > FULL_MESSAGE:
            yield b"".join(parts)
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    if parts:
        yield b"".join(parts)


class Written:
    """The events that were written last, for others who watch the same runs. What is recorded never changes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._size = 0

    def writer(self, run_id: str) -> Callable[[Event], bytes]:
        """`event_bytes` for the events of one run."""

        def write(event: Event) -> bytes:
            key = (run_id, event.sequence)
            data = self._kept.get(key)
            if data is None:
                data = self._kept[key] = event_bytes(event)
                self._size += len(data) + _ENTRY
                while self._size > KEPT:
                    self._size -= len(self._kept.popitem(last=False)[1]) + _ENTRY
            return data

        return write
