"""What to do with a stream of events, decided without input or output: what is new, when to connect again, when to stop."""

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from motet_client._errors import Cancelled, Internal, MotetClientError, Unavailable
from motet_client._event import Event
from motet_client._info import RunInfo
from motet_client._requests import naming
from motet_client._wire_results import from_event, from_result, from_run
from motet_proto.v1 import run_service_pb2 as pb

if TYPE_CHECKING:
    from motet_client._result import RunResult

Request: TypeAlias = pb.StreamRunRequest | pb.WatchRunRequest
Response: TypeAlias = pb.StreamRunResponse | pb.WatchRunResponse

BROKEN: Final = ("RST_STREAM", "Stream removed", "Connection reset", "Socket closed", "GOAWAY")
"""How grpc words a connection that broke, under codes that also mean other things."""
FIRST_TRIES: Final = 3
"""Connections before a watch that has never heard the server gives up: the address may be wrong, so that is soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """How a watch comes back after a broken connection."""

    attempts: int = 10
    """Connections in a row that bring nothing new before the watch gives up; with the delays below, half a minute."""
    first_delay: float = 0.1
    """Seconds before the first new connection; doubled for each that brings nothing."""
    max_delay: float = 5.0
    """Longest wait, in seconds."""


class Follow:
    """The state of one stream: the cursor, and the result once it is known. A door feeds it and obeys.

    Each event comes out once and in order: what was seen is dropped, and what is missing breaks the connection, so that
    a new one asks for it.
    """

    def __init__(
        self,
        ask: Callable[[int], Request],
        *,
        run_id: str = "",
        after: int = 0,
        resume: Resume | None = None,
        share: Callable[[], float] = random.random,
    ) -> None:
        self._ask = ask
        self._resume = resume
        self._share = share
        self._heard = False
        self._fruitless = 0
        self.run_id = run_id
        self.last = after
        """Number of the last event taken."""
        self.result: RunResult | None = None
        """Set by the last message; with it the stream is complete."""

    @classmethod
    def watch(cls, run_id: str, after: int, resume: bool | Resume) -> "Follow":
        """The state of a watch. Raises InvalidArgument."""
        with naming("after_sequence"):
            first = pb.WatchRunRequest(run_id=run_id, after_sequence=after)
        policy = (Resume() if resume else None) if isinstance(resume, bool) else resume
        return cls(
            lambda last: pb.WatchRunRequest(run_id=run_id, after_sequence=last),
            run_id=run_id,
            after=first.after_sequence,
            resume=policy,
        )

    def request(self) -> Request:
        """What to open the stream with, now."""
        return self._ask(self.last)

    def take(self, response: Response) -> list[Event]:
        """The events that are new. Raises Internal, reason EVENT_GAP, when the next is missing: then it is `broken`."""
        self._heard = True
        self.run_id = response.run_id or self.run_id
        new: list[Event] = []
        for message in response.events:
            if message.sequence <= self.last:
                continue
            if message.sequence > self.last + 1:
                if new:
                    # What came whole is handed out first; the gap shows again with the next message or the end.
                    return new
                raise Internal(f"the server sent event {message.sequence} after event {self.last}", reason="EVENT_GAP")
            self.last = message.sequence
            self._fruitless = 0
            event = from_event(message)
            if event is not None:
                new.append(event)
        if response.HasField("result"):
            self.result = from_result(response.result)
        return new

    def broken(self, error: MotetClientError) -> float | None:
        """Seconds to wait before connecting again, or None when there is nothing more to hear. Raises `error` when it
        is not about the connection, or when connecting again has helped too rarely."""
        if self.result is not None:
            return None
        self._fruitless += 1
        if self._resume is None or not _is_connection(error):
            raise error
        if self._fruitless >= (self._resume.attempts if self._heard else min(self._resume.attempts, FIRST_TRIES)):
            raise error
        delay: float = min(self._resume.max_delay, self._resume.first_delay * 2 ** (self._fruitless - 1))
        # Spread over half of the delay, so that the watchers of a server that restarts do not all come back at once.
        return max(delay * (1 + self._share()) / 2, error.retry_after or 0.0)

    def ended(self) -> float | None:
        """The server closed the stream in good order: as `broken`, since without a result it was too early."""
        return self.broken(Unavailable("the server ended the stream before the run's result", reason="STREAM_ENDED"))


def _is_connection(error: MotetClientError) -> bool:
    if isinstance(error, Unavailable):
        return True
    if isinstance(error, Cancelled):
        # No one cancelled this stream, and the server gave no reason of its own: it was stopped.
        return error.reason == error.code and "Channel closed" not in error.message
    return error.reason == "EVENT_GAP" or any(words in error.message for words in BROKEN)


class Answers:
    """The answers to a map's inputs: each input has exactly one, or the server ended too early."""

    def __init__(self) -> None:
        self.sent = 0
        self.closed = False
        """All inputs were sent."""
        self.received = 0

    def ended(self) -> None:
        """The server closed the stream in good order. Raises Internal when answers are missing."""
        if not self.closed or self.received < self.sent:
            raise Internal(
                f"the server ended the stream after {self.received} of {self.sent} answers", reason="STREAM_ENDED"
            )


class Pages:
    """A list that comes in pages: which to ask for next, and what of the last is still to be handed out."""

    def __init__(self, request: pb.ListRunsRequest) -> None:
        self.request = request
        """The next page's."""
        self._waiting: deque[RunInfo] = deque()
        self._more = True

    def next(self) -> RunInfo | None:
        """The next run, or None when a page must be fetched first, or when all were seen and `over` says so."""
        return self._waiting.popleft() if self._waiting else None

    @property
    def over(self) -> bool:
        return not self._more and not self._waiting

    def take(self, page: pb.ListRunsResponse) -> None:
        self._waiting.extend(map(from_run, page.runs))
        self._more = bool(page.next_page_token)
        self.request.page_token = page.next_page_token
