"""The body of a response, read to its end and handed on as it comes: events of a stream, or one document. Knows no format."""

import json
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from motet.agents.model.providers._errors import Failures
from motet.agents.model.providers._sse import EventReader, ServerEvent
from motet.model.chat import ChatReply

if TYPE_CHECKING:
    import httpx2

MOST_BYTES: Final = 64 * 2**20
"""Of one answer: far above what a model writes, far below what would hurt."""
_DRAIN_SECONDS: Final = 0.1
"""What follows the end of a stream is read for so long, so that the connection serves again."""


class Answer(Protocol):
    """Puts an answer together from its pieces. Raises AgentError."""

    def event(self, name: str, data: Any) -> bool:
        """Take one event of a stream; True once the answer is whole."""
        ...

    def whole(self, body: Any) -> None:
        """Take the answer in one piece."""
        ...

    @property
    def complete(self) -> bool:
        """Why the model stopped is known: what comes after it are figures at most."""
        ...

    def reply(self) -> ChatReply:
        """Raises AgentError when the answer is not complete."""
        ...


class Reading:
    """The body of a response as it comes: events for an Answer, or all of it for one document."""

    def __init__(self, answer: Answer, failures: Failures, *, streamed: bool) -> None:
        self._answer = answer
        self._failures = failures
        self._events = EventReader()
        self._body = bytearray()
        self._size = 0
        self._streamed = streamed

    def take(self, piece: bytes) -> bool:
        """True once nothing more is needed."""
        self._size += len(piece)
        if self._size > MOST_BYTES:
            raise self._failures.invalid(f"answered with more than {MOST_BYTES} bytes")
        if not self._streamed:
            self._body += piece
            return False
        try:
            events = self._events.feed(piece)
        except UnicodeDecodeError:
            raise self._failures.invalid("answered with a stream that is not UTF-8") from None
        return self._hand_on(events)

    @property
    def complete(self) -> bool:
        return self._streamed and self._answer.complete

    def end(self) -> None:
        """Take what there is as all that comes."""
        if not self._streamed:
            self._answer.whole(self._document(bytes(self._body)))
            return
        try:
            events = self._events.flush()
            for event in events:
                json.loads("null" if event.data.startswith("[DONE]") else event.data)
        except ValueError:
            return  # half an event: the answer knows whether it is whole without it
        self._hand_on(events)

    def _hand_on(self, events: list[ServerEvent]) -> bool:
        for event in events:
            if event.data.startswith("[DONE]"):
                return True
            if self._answer.event(event.name, self._document(event.data)):
                return True
        return False

    def _document(self, text: str | bytes) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise self._failures.invalid("answered with what is not JSON") from None


async def receive(response: "httpx2.Response", reading: Reading) -> None:
    """Read to the end. Left early by a cancellation alone: httpx2's inner generators end only by what comes from within."""
    failure: Exception | None = None
    whole = False
    with trio.CancelScope() as cut:  # noqa: ASYNC912 - a body that is there whole need not wait
        try:
            async for piece in response.aiter_bytes():
                if whole or failure is not None:
                    continue
                try:
                    whole = reading.take(piece)
                except Exception as error:  # noqa: BLE001 - it is raised below, once the generators have ended
                    failure = error
                    cut.cancel()
                if whole:
                    cut.deadline = trio.current_time() + _DRAIN_SECONDS
        except Exception as error:  # noqa: BLE001 - as above; that a connection breaks once all is said spoils nothing
            failure = failure or (None if reading.complete else error)
    if failure is not None:
        raise failure
    if not whole:
        reading.end()
