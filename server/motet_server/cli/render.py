"""The interface of the three ways to show a run, two of which need no terminal: plain lines and JSON lines."""

from collections import Counter
from typing import Any, Protocol

from motet_server.cli import attempts, inner, jsonform, summary
from motet_server.cli.output import Output, say
from motet_server.cli.text import count, cut, early, one_line, payload_text, reason, receipt, seconds


class Renderer(Protocol):
    """Shows one run. None of its methods waits."""

    output: Output
    whole: bool
    """Print the answer and the outcomes at the end. False leaves the end to the caller."""

    def event(self, event: Any) -> None:
        """The next event."""
        ...

    def tick(self) -> None:
        """Called a few times a second."""
        ...

    def note(self, text: str) -> None:
        """Say something about the run that is not in its events."""
        ...

    def close(self) -> None:
        """No more events come. Gives the terminal back; called whatever happened."""
        ...

    def result(self, result: Any) -> None:
        """How the run ended."""
        ...


class _Still:
    """What shows nothing between events and holds nothing; its notes go to standard error."""

    def tick(self) -> None:
        """Nothing moves."""

    def note(self, text: str) -> None:
        say(one_line(text))

    def close(self) -> None:
        """Nothing is held."""


class JsonLines(_Still):
    """For programs: one object a line, `{"event": ...}` for each event, then `{"result": ...}`."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.whole = True

    def event(self, event: Any) -> None:
        self.output.write(jsonform.line({"event": jsonform.event(event)}))

    def result(self, result: Any) -> None:
        self.output.write(jsonform.line({"result": result}))


class Plain(_Still):
    """For pipes and logs: one line for each event, then the whole answer and the outcomes."""

    def __init__(self, output: Output, *, whole: bool = True) -> None:
        self.output = output
        self.whole = whole
        self._lines = Lines()

    def event(self, event: Any) -> None:
        line = self._lines.line(event)
        if line:
            self.output.write(line + "\n")

    def result(self, result: Any) -> None:
        if self.whole:
            self.output.write(summary.whole(result, terminal=False))


class Lines:
    """Events as lines. Feed it every event in order: the end of a group says which limits stopped its members."""

    def __init__(self) -> None:
        self._stopped: dict[tuple[str, str], Counter[str]] = {}

    def line(self, event: Any) -> str:
        """An event as one line of plain text: seconds since the run's start, the seat, what happened. Empty for what is not
        worth a line: pieces of a model's answer, and most of what a model agent's turns consist of."""
        group = (event.parent, event.group)
        limits = ""
        match type(event.detail).__name__:
            case "MemberEnded":
                limit = attempts.limit_of(event.detail.outcome)
                if limit:
                    self._stopped.setdefault(group, Counter())[limit] += 1
            case "GroupEnded":
                limits = attempts.stopped_by(self._stopped.pop(group, Counter()))
        return "" if inner.hidden(event) else line(event, limits)


def line(event: Any, limits: str = "") -> str:
    """An event as one line, by itself; `limits` says which ones stopped members of a group that has ended."""
    seat = "/".join(part for part in (event.parent, event.group, event.member) if part)
    return f"{event.elapsed:8.3f}  {one_line(' '.join(filter(None, (seat, _what(event.detail, limits)))))}"


def _what(detail: Any, limits: str) -> str:  # noqa: PLR0911  # one for each kind of event
    match type(detail).__name__:
        case "RunStarted":
            return f"run {detail.run_id} started: {count(detail.members, 'member')}"
        case "GroupStarted":
            return f"started: {count(detail.members, 'member')}"
        case "MemberStarted":
            again = f", attempt {detail.attempt}" if detail.attempt > 1 else ""
            return f"started after {seconds(detail.queued)} in the queue{again}"
        case "AttemptStarted":
            return attempts.started(detail)
        case "AttemptEnded":
            return attempts.ended(detail)
        case "MemberProgress":
            return inner.told(detail.report) or f"reports: {cut(payload_text(detail.report), 200)}"
        case "MemberEnded":
            return ended(detail.outcome)
        case "GroupEnded":
            notes = "".join(f", {note}" for note in (early(detail.result), limits) if note)
            return f"{detail.result.state!s} in {seconds(detail.result.elapsed)}{notes}{_why(detail.result.failure)}"
        case "RunEnded":
            return f"run {detail.state!s}{_why(detail.failure)}"
        case name:
            return name


def ended(outcome: Any) -> str:
    """How a member ended, on one line."""
    if outcome.attempts == 0:
        return f"{outcome.state!s}{' (cached)' if outcome.cached else ''}{_why(outcome.failure)}"
    stop = f"; {receipt(outcome.stop)}" if outcome.stop is not None else ""
    tries = f" and {outcome.attempts} attempts" if outcome.attempts > 1 else ""
    return f"{outcome.state!s} after {seconds(outcome.ran)}{tries}{_why(outcome.failure)}{stop}"


def _why(failure: Any) -> str:
    return f": {reason(failure)}" if failure is not None else ""
