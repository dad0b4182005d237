"""The spans of one run, from its events as they come. Imports OpenTelemetry's API; knows no exporter and no engine."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer

from motet.instrument import _attributes as attributes
from motet.instrument.tree import TOOLS, TURN, ToolUse, owner_of, tool_use
from motet.model.event import (
    AttemptEnded,
    AttemptStarted,
    Event,
    GroupEnded,
    GroupStarted,
    MemberEnded,
    MemberProgress,
    MemberStarted,
    RunEnded,
    RunStarted,
)
from motet.model.outcome import Outcome
from motet.model.state import State

NANOS: Final = 10**9


@dataclass(slots=True, eq=False)
class _Seat:
    """A member that runs."""

    span: Span
    start: int
    """Nanoseconds since the epoch."""
    role: str = ""
    """Its part in a model agent: `request`, `tool` or none."""
    heard: bool = False
    """A request has reported the first piece of its answer."""
    attempts: dict[int, Span] = field(default_factory=dict)
    """By number; empty while there is one attempt only."""
    running: dict[int, Span] = field(default_factory=dict)
    """Those of them that have not ended."""
    is_model: bool = False
    """It is a model agent: it has run a turn."""
    told: list[ToolUse] = field(default_factory=list)
    """Of a model agent: calls of tools whose members have not ended yet. Their report comes just before."""

    @property
    def context(self) -> Context:
        """What it runs stands under the one attempt that runs, if that can be told, else under itself."""
        running = list(self.running.values())
        return trace.set_span_in_context(running[0] if len(running) == 1 else self.span, Context())


class RunSpans:
    """The spans of one run. Feed it every event; the first makes the run's own span."""

    def __init__(
        self, tracer: Tracer, run_id: str, first: Event, context: Context, *, content: bool, most: int
    ) -> None:
        """`context` holds the span that the run's own stands under; `most` bounds the spans."""
        self._tracer = tracer
        self._content = content
        self._left = most
        self.dropped = 0
        """Spans that were not made since there were too many."""
        detail = first.detail
        # A run that goes on after a crash has told its beginning to another process. Its events count from that all the same.
        self._resumed = not isinstance(detail, RunStarted)
        if isinstance(detail, RunStarted):
            self._zero = round(detail.started_at.timestamp() * 1e6) * 1000
            made = attributes.of_run(detail)
        else:
            self._zero = time.time_ns() - round(first.elapsed * NANOS)
            made = {"motet.run.id": run_id, "motet.run.resumed": True}
        self._root = tracer.start_span("motet.run", context, attributes=made, start_time=self._at(first))
        self._groups: dict[tuple[str, str], tuple[Span, str]] = {}
        """By parent and name: the span, and the group's part in a model agent."""
        self._seats: dict[tuple[str, str, str], _Seat] = {}

    @property
    def recording(self) -> bool:
        """Somebody wants the spans: they are not sampled away, and there is an SDK."""
        return self._root.is_recording()

    def take(self, event: Event) -> bool:
        """The next event. Returns whether it was the last."""
        match event.detail:
            case GroupStarted():
                self._group_started(event, event.detail)
            case GroupEnded(result):
                span, _ = self._groups.pop((event.parent, event.group), (None, ""))
                self._end(span, event, attributes.of_group(result, content=self._content), result.state)
            case MemberStarted():
                self._member_started(event, event.detail)
            case AttemptStarted():
                self._attempt_started(event, event.detail)
            case AttemptEnded():
                self._attempt_ended(event, event.detail)
            case MemberProgress():
                self._progress(event, event.detail)
            case MemberEnded(outcome):
                self._member_ended(event, outcome)
            case RunEnded():
                self._run_ended(event, event.detail)
                return True
        return False

    def abandon(self) -> None:
        """End what is open, with the state unknown."""
        for span in self._open():
            span.end()
        self._root.end()

    def _open(self) -> Iterator[Span]:
        """All but the run's own, what runs innermost first."""
        for seat in reversed(self._seats.values()):
            yield from seat.running.values()
            yield seat.span
        for span, _ in reversed(self._groups.values()):
            yield span

    def _at(self, event: Event) -> int:
        return self._zero + round(event.elapsed * NANOS)

    def _start(
        self,
        name: str,
        context: Context,
        start: int,
        made: attributes.Attributes,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: Sequence[Link] = (),
    ) -> Span | None:
        if self._left <= 0:
            self.dropped += 1
            return None
        self._left -= 1
        return self._tracer.start_span(name, context, kind=kind, attributes=made, links=links, start_time=start)

    def _end(self, span: Span | None, event: Event, made: attributes.Attributes, state: State) -> None:
        if span is not None:
            self._mark(span, made, state)
            span.end(self._at(event))

    def _mark(self, span: Span, made: attributes.Attributes, state: State) -> None:
        span.set_attributes(made)
        if state in attributes.ERRORS:
            why = [str(made[name]) for name in ("error.type", "motet.message") if name in made]
            span.set_status(Status(StatusCode.ERROR, ": ".join(why)))

    # ---------------------------------------------------------------------------------------------------------- groups

    def _group_started(self, event: Event, detail: GroupStarted) -> None:
        if (event.parent, event.group) in self._groups:  # made for a member of it, in a run that goes on
            return
        context, role = trace.set_span_in_context(self._root, Context()), ""
        made: attributes.Attributes = {"motet.group.name": event.group, "motet.group.members": detail.members}
        parent, group, member = owner_of(event.parent)
        if member and (seat := self._seats.get((parent, group, member))) is not None:
            context = seat.context
            seat.told.clear()
            seat.is_model = seat.is_model or (event.group == "turn_1" and detail.members == 1)
            if seat.is_model:
                role = "turn" if TURN.fullmatch(event.group) else "tools" if TOOLS.fullmatch(event.group) else ""
        elif event.parent and not member and (asking := self._groups.get((parent, group))) is not None:
            context = trace.set_span_in_context(asking[0], Context())
        if event.parent:
            made["motet.group.parent"] = event.parent
        span = self._start(f"group {event.group}", context, self._at(event), made)
        if span is not None:
            self._groups[event.parent, event.group] = (span, role)

    # --------------------------------------------------------------------------------------------------------- members

    def _member_started(self, event: Event, detail: MemberStarted) -> None:
        span, role = self._groups.get((event.parent, event.group), (self._root, ""))
        made = attributes.of_member(event.group, event.member, detail)
        name, kind, part = f"invoke_agent {detail.agent}", SpanKind.INTERNAL, ""
        if role == "turn":
            model = detail.agent.partition(":")[2] or detail.agent
            name, kind, part = f"chat {model}", SpanKind.CLIENT, "request"
            made |= {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
        elif role == "tools":
            name, part = f"execute_tool {event.member}", "tool"
            made |= {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": event.member}
        else:
            made |= {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": detail.agent}
        start = self._at(event)
        own = self._start(name, trace.set_span_in_context(span, Context()), start, made, kind=kind)
        if own is not None:
            self._seats[event.parent, event.group, event.member] = _Seat(own, start, role=part)

    def _member_ended(self, event: Event, outcome: Outcome) -> None:
        seat = self._seats.pop((event.parent, event.group, event.member), None)
        if seat is None and outcome.cached:
            # It never started; that it was asked, and answered at once, is a part of what the run did.
            self._member_started(event, MemberStarted(outcome.agent, outcome.queued))
            seat = self._seats.pop((event.parent, event.group, event.member), None)
        if seat is None:
            return
        made = attributes.of_outcome(outcome, content=self._content)
        if attributes.is_chat(outcome.metadata):
            seat.span.update_name(f"chat {attributes.requested_model(outcome.metadata)}")
            made |= attributes.of_chat(outcome, content=self._content)
            made.pop("motet.output", None)
        if seat.role == "tool":
            self._name_tool(event, seat.span)
        for span in seat.running.values():
            span.end(self._at(event))
        self._end(seat.span, event, made, outcome.state)

    def _progress(self, event: Event, detail: MemberProgress) -> None:
        seat = self._seats.get((event.parent, event.group, event.member))
        if seat is None:
            return
        if seat.role == "request" and not seat.heard:
            seat.heard = True
            if not seat.attempts:
                seat.span.set_attribute("gen_ai.response.time_to_first_chunk", (self._at(event) - seat.start) / NANOS)
        use = tool_use(detail.report) if seat.is_model else None
        if use is None:
            return
        if use.status in {"tool_not_found", "validation_error"}:
            # It never ran, so no span can tell of it.
            seat.span.add_event("tool call", attributes.of_tool(use.tool, use.call_id, use.status), self._at(event))
        else:
            seat.told.append(use)

    def _name_tool(self, event: Event, span: Span) -> None:
        """A tool's member has ended: which call of its name that was, is what has been told first of those not taken yet."""
        parent, group, member = owner_of(event.parent)
        owner = self._seats.get((parent, group, member))
        for use in owner.told if owner is not None else ():
            number = event.member.removeprefix(f"{use.tool}_")
            if event.member == use.tool or (number != event.member and number.isdecimal()):
                span.set_attributes(attributes.of_tool(use.tool, use.call_id, use.status))
                span.update_name(f"execute_tool {use.tool}")
                if owner is not None:
                    owner.told.remove(use)
                return

    # -------------------------------------------------------------------------------------------------------- attempts

    def _attempt_started(self, event: Event, detail: AttemptStarted) -> None:
        seat = self._seat(event)
        if seat is None:
            return
        if not seat.attempts and not self._resumed:
            self._attempt(seat, 1, "FIRST", seat.start)
        self._attempt(seat, detail.number, str(detail.kind), self._at(event))

    def _attempt_ended(self, event: Event, detail: AttemptEnded) -> None:
        seat, attempt = self._seat(event), detail.attempt
        if seat is None:
            return
        if attempt.number not in seat.attempts:
            self._attempt(seat, attempt.number, str(attempt.kind), self._at(event) - round(attempt.ran * NANOS))
        made = attributes.of_attempt(attempt, content=self._content)
        if detail.retry_in is not None:
            made["motet.retry_in"] = detail.retry_in
        self._end(seat.running.pop(attempt.number, None), event, made, attempt.state)

    def _attempt(self, seat: _Seat, number: int, kind: str, start: int) -> None:
        """A span for an attempt, with a link to the one that it follows or runs beside."""
        earlier = [each for each in seat.attempts if each < number]
        made: attributes.Attributes = {"motet.attempt.number": number, "motet.attempt.kind": kind}
        links = [Link(seat.attempts[max(earlier)].get_span_context(), {"motet.link": kind})] if earlier else []
        context = trace.set_span_in_context(seat.span, Context())
        span = self._start(f"attempt {number}", context, start, made, links=links)
        if span is not None:
            seat.attempts[number] = seat.running[number] = span

    def _seat(self, event: Event) -> _Seat | None:
        """The member of the event. In a run that goes on it may have started in another process."""
        key = (event.parent, event.group, event.member)
        if key not in self._seats and self._resumed:
            if key[:2] not in self._groups:
                self._group_started(event, GroupStarted(0, ()))
            self._member_started(event, MemberStarted(event.member, 0.0))
        return self._seats.get(key)

    def _run_ended(self, event: Event, detail: RunEnded) -> None:
        made = attributes.of_end(detail.state, detail.failure, content=self._content)
        made |= attributes.of_usage(detail.usage)
        made |= attributes.of_stats("motet.run", detail.stats)
        if self.dropped:
            made["motet.spans_dropped"] = self.dropped
        for span in self._open():
            span.end(self._at(event))
        self._end(self._root, event, made, detail.state)
