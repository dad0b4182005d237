"""Server-sent events, from bytes as they come: the event stream format of the HTML standard (9.2.6). Pure.

The SDKs' own readers end by leaving generators suspended, which trio warns of; this one has none to leave.
"""

import re
from dataclasses import dataclass
from typing import Final

_LINE_END: Final = re.compile(rb"\r\n|\n|\r(?!\Z)")
"""A carriage return at the end of what came may be half of a line's end."""
_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event with data."""

    name: str
    """Empty when the server told none."""
    data: str


class EventReader:
    """Takes bytes in pieces of any size, gives events. An event that the stream ends within is not given, as the standard
    has it; `flush` tells of one whose last line alone is missing its end."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._name = ""
        self._data: list[str] = []
        self._begun = False

    def feed(self, piece: bytes) -> list[ServerEvent]:
        """The events that this piece completes. Raises UnicodeDecodeError for what is not UTF-8."""
        searched = max(0, len(self._rest) - 1)  # what came before holds no line end but, perhaps, a last \r
        self._rest += piece
        events: list[ServerEvent] = []
        begin = 0
        for end in _LINE_END.finditer(self._rest, searched):
            self._line(bytes(self._rest[begin : end.start()]), events)
            begin = end.end()
        del self._rest[:begin]
        return events

    def flush(self) -> list[ServerEvent]:
        """The event that was under way when the stream ended, for servers that leave out the last empty line."""
        events: list[ServerEvent] = []
        self._line(bytes(self._rest.rstrip(b"\r")), events)
        self._rest.clear()
        self._line(b"", events)
        return events

    def _line(self, line: bytes, events: list[ServerEvent]) -> None:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_MARK)
        if not line:
            if self._data:
                events.append(ServerEvent(self._name, "\n".join(self._data)))
            self._name, self._data = "", []
            return
        name, _, value = line.decode().partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value
