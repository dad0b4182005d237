"""Spans for OpenTelemetry: an observer that turns the events of runs into traces. The library is loaded when one is made."""

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from motet.model.event import Event, RunEnded, RunStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.trace import TracerProvider

    from motet.instrument._spans import RunSpans

MAX_RUNS: Final = 1_000
"""Open runs that have spans at the same moment."""
MAX_SPANS: Final = 10_000
"""Spans of one run: views of traces are read to a few thousand, and collectors hold a trace in memory as a whole."""
MAX_PASSED_OVER: Final = 100_000
"""Open runs without spans that are remembered, so that they are not taken for runs that go on after a crash."""
_log = logging.getLogger("motet.instrument")


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingStatistics:
    """What became of the spans so far."""

    open_runs: int
    """Runs that have spans and have not ended."""
    runs_dropped: int
    """Runs without spans since too many were open."""
    spans_dropped: int
    """Spans that ended runs lack, since they had too many."""
    failures: int
    """Runs whose spans were given up since the library failed."""


class Tracing:
    """An observer that makes spans: `motet.open_engine(catalog, observers=[Tracing()])`.

    `tracer_provider` is the SDK's; None takes the global one. A run stands under the span that its labels `traceparent` and
    `tracestate` (W3C) name, else under the span that was current where it started; `parent` may give another context, or
    None for these. With `capture_content` spans hold what agents answered and the messages of failures; without it neither.
    Answers are then cut at 16,384 characters. What callers sent is not in events, so it is never in spans.

    Never raises when it is called, and never waits, as long as the provider's processors do neither: use one that batches.
    Raises ModuleNotFoundError, with what to install, and ValueError for a wrong bound.
    """

    def __init__(
        self,
        tracer_provider: "TracerProvider | None" = None,
        *,
        capture_content: bool = False,
        parent: "Callable[[RunStarted], Context | None] | None" = None,
        max_runs: int = MAX_RUNS,
        max_spans_per_run: int = MAX_SPANS,
    ) -> None:
        for name, bound in (("max_runs", max_runs), ("max_spans_per_run", max_spans_per_run)):
            if bound < 1:
                raise ValueError(f"{name} is {bound}; give at least 1")
        try:
            from opentelemetry import trace  # noqa: PLC0415 - an extra, and slow to load

            from motet.instrument import _spans  # noqa: PLC0415
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "opentelemetry":
                raise
            raise ModuleNotFoundError(
                "traces need the library that `pip install motet[otel]` installs", name=error.name
            ) from None
        self._make: type[RunSpans] = _spans.RunSpans
        self._tracer = trace.get_tracer("motet", tracer_provider=tracer_provider)
        self._content = capture_content
        self._parent = parent
        self._max_runs = max_runs
        self._max_spans = max_spans_per_run
        self._runs: dict[str, RunSpans] = {}
        self._passed_over: dict[str, None] = {}
        """Ids of open runs without spans, oldest first."""
        self._runs_dropped = self._spans_dropped = self._failures = 0

    def __call__(self, run_id: str, event: Event) -> None:
        """Hear an event."""
        if run_id in self._passed_over:
            if isinstance(event.detail, RunEnded):
                del self._passed_over[run_id]
            return
        try:
            self._hear(run_id, event)
        except Exception:  # noqa: BLE001 - the library, its processors and `parent` are foreign; a run must not notice
            if not self._failures:
                _log.exception("the spans of run %s are given up; further such failures are only counted", run_id)
            self._failures += 1
            run = self._runs.pop(run_id, None)
            with suppress(Exception):
                if run is not None:
                    run.abandon()
            self._pass_over(run_id, event)

    def statistics(self) -> TracingStatistics:
        return TracingStatistics(
            open_runs=len(self._runs),
            runs_dropped=self._runs_dropped,
            spans_dropped=self._spans_dropped,
            failures=self._failures,
        )

    def close(self) -> None:
        """End the spans of runs that are open, with no state. For a program that ends before its engine has closed."""
        while self._runs:
            self._runs.popitem()[1].abandon()

    def _hear(self, run_id: str, event: Event) -> None:
        run = self._runs.get(run_id)
        if run is None:
            if isinstance(event.detail, RunEnded):
                return
            if len(self._runs) >= self._max_runs:
                self._runs_dropped += 1
                self._pass_over(run_id, event)
                return
            run = self._make(
                self._tracer, run_id, event, self._context(event), content=self._content, most=self._max_spans
            )
            if not run.recording:
                self._pass_over(run_id, event)
                return
            self._runs[run_id] = run
            if isinstance(event.detail, RunStarted):
                return
        if run.take(event):
            self._spans_dropped += run.dropped
            del self._runs[run_id]

    def _pass_over(self, run_id: str, event: Event) -> None:
        if isinstance(event.detail, RunEnded):
            return
        if len(self._passed_over) >= MAX_PASSED_OVER:
            del self._passed_over[next(iter(self._passed_over))]
        self._passed_over[run_id] = None

    def _context(self, event: Event) -> "Context":
        from opentelemetry import context, trace  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        if not isinstance(event.detail, RunStarted):
            return context.Context()
        given = self._parent(event.detail) if self._parent is not None else None
        if given is not None:
            return given
        labels = event.detail.labels
        carrier = {name: labels[name] for name in ("traceparent", "tracestate") if name in labels}
        told = TraceContextTextMapPropagator().extract(carrier, context.Context())
        return told if trace.get_current_span(told).get_span_context().is_valid else context.get_current()
