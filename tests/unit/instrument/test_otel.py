"""Spans of real runs, as an exporter in memory gets them."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest
import trio
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import motet
from motet.errors import AgentError
from motet.instrument.otel import Tracing
from motet.model.event import RunStarted

REPLY = {"text": "secret answer", "tool_calls": [{"id": "c1", "name": "search", "arguments": "{}"}], "finish": "stop"}


class Traced:
    """A provider, and the spans that it was given."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span

    def path(self, span: ReadableSpan) -> list[str]:
        by_id = {each.context.span_id: each for each in self.spans}
        names = [span.name]
        while span.parent is not None and span.parent.span_id in by_id:
            span = by_id[span.parent.span_id]
            names.insert(0, span.name)
        return names


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    yield made
    made.provider.shutdown()


def sample() -> motet.Catalog:
    catalog = motet.Catalog()
    calls = {"flaky": 0, "slow": 0}

    @catalog.agent
    async def echo(call: motet.Call) -> str:
        await trio.sleep(1)
        return call.text

    @catalog.agent
    async def flaky(call: motet.Call) -> str:
        calls["flaky"] += 1
        await trio.sleep(1)
        if calls["flaky"] < 3:
            raise AgentError("the secret is out", reason="BUSY", retryable=True)
        return "at last"

    @catalog.agent(replay_safe=True)
    async def slow(call: motet.Call) -> str:
        calls["slow"] += 1
        await trio.sleep(30 if calls["slow"] == 1 else 1)
        return "slow"

    @catalog.agent
    async def request(call: motet.Call) -> motet.Reply:
        await trio.sleep(2)
        return motet.Reply(
            motet.Payload.of(REPLY),
            usage=motet.Usage(calls=1, input_tokens=12, output_tokens=3, unpriced_calls=1),
            metadata={
                "system": "openai",
                "model": "small-1",
                "requested_model": "small",
                "finish": "stop",
                "response_id": "r1",
            },
        )

    @catalog.agent
    async def model(call: motet.Call) -> str:
        await call.ask(motet.Group("turn_1", [motet.Member("request", name="lab:small")]))
        call.report({"tool": "unknown", "call_id": "c0", "status": "tool_not_found"})
        tools = [motet.Member("echo", name="search"), motet.Member("echo", name="search_2")]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.ask, motet.Group("tools_1", tools, motet.Aggregation("combine", early_stop=False)))
            await trio.sleep(0.5)
            call.report({"tool": "search", "call_id": "c1", "status": "executed"})
            call.report({"tool": "search", "call_id": "c2", "status": "executed"})
        return "done"

    return catalog


async def run(
    traced: Traced, plan: motet.Plan, catalog: motet.Catalog | None = None, **options: Any
) -> motet.RunResult:
    labels = options.pop("labels", {})
    tracing = Tracing(traced.provider, **options)
    async with motet.open_engine(catalog or sample(), observers=[tracing]) as engine:
        result = await engine.run(plan, "the secret question", labels=labels)
    assert tracing.statistics().open_runs == 0
    assert tracing.statistics().failures == 0
    return result


async def test_spans_stand_under_each_other_as_the_calls_did(traced: Traced, autojump_clock: object) -> None:
    await run(traced, motet.Group("work", ["model"]))
    assert traced.path(traced.one("chat small")) == [
        "motet.run",
        "group work",
        "invoke_agent model",
        "group turn_1",
        "chat small",
    ]
    assert len(traced.named("execute_tool search")) == 2
    assert len({span.context.trace_id for span in traced.spans}) == 1


async def test_times_are_those_of_the_events(traced: Traced, autojump_clock: object) -> None:
    result = await run(traced, motet.Group("work", ["echo", "model"], max_parallel=1))
    root, chat = traced.one("motet.run"), traced.one("chat small")
    assert root.start_time == round(result.started_at.timestamp() * 1e6) * 1000
    assert chat.start_time - root.start_time == pytest.approx(1e9, abs=1e6)
    assert chat.end_time - chat.start_time == pytest.approx(2e9, abs=1e6)
    assert root.end_time - root.start_time == pytest.approx(result.elapsed * 1e9, abs=1e6)
    assert traced.one("invoke_agent model").attributes["motet.queued"] == pytest.approx(1.0)


async def test_a_request_to_a_model_has_the_attributes_of_the_conventions(
    traced: Traced, autojump_clock: object
) -> None:
    await run(traced, motet.Group("work", ["model"]))
    chat = traced.one("chat small")
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "small",
        "gen_ai.response.model": "small-1",
        "gen_ai.response.id": "r1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "motet.usage.unpriced_calls": 1,
    }
    assert {name: chat.attributes.get(name) for name in expected} == expected
    assert "motet.usage.cost_nanos" not in chat.attributes
    assert chat.kind is trace.SpanKind.CLIENT


async def test_tools_have_the_ids_of_their_calls_and_refused_ones_are_events(
    traced: Traced, autojump_clock: object
) -> None:
    await run(traced, motet.Group("work", ["model"]))
    tools = traced.named("execute_tool search")
    assert [tool.attributes["gen_ai.tool.call.id"] for tool in tools] == ["c1", "c2"]
    assert all(tool.end_time - tool.start_time == pytest.approx(1e9, abs=1e6) for tool in tools)
    [refused] = traced.one("invoke_agent model").events
    assert refused.attributes["motet.tool.status"] == "tool_not_found"


async def test_attempts_have_spans_of_their_own_linked_to_those_before(traced: Traced, autojump_clock: object) -> None:
    retry = motet.RetryPolicy(max_attempts=3, initial_backoff=1, jitter=0)
    await run(traced, motet.Group("work", ["flaky"], retry=retry))
    first, second, third = (traced.one(f"attempt {number}") for number in (1, 2, 3))
    assert first.status.status_code is trace.StatusCode.ERROR
    assert (first.attributes["error.type"], third.attributes["motet.state"]) == ("BUSY", "SUCCEEDED")
    assert [link.context.span_id for link in third.links] == [second.context.span_id]
    assert traced.path(third)[-2:] == ["invoke_agent flaky", "attempt 3"]
    assert traced.one("invoke_agent flaky").attributes["motet.attempts"] == 3


async def test_a_hedge_runs_beside_the_attempt_that_it_is_linked_to(traced: Traced, autojump_clock: object) -> None:
    await run(traced, motet.Group("work", ["slow"], hedge=motet.HedgePolicy(delay=2)))
    first, hedge = traced.one("attempt 1"), traced.one("attempt 2")
    assert [link.attributes["motet.link"] for link in hedge.links] == ["HEDGE"]
    assert first.start_time < hedge.start_time < hedge.end_time <= first.end_time
    assert (first.attributes["motet.state"], first.attributes["motet.stop.kind"]) == ("CANCELLED", "STOPPED")
    assert first.status.status_code is trace.StatusCode.UNSET


@pytest.mark.parametrize("content", [False, True])
async def test_what_was_said_is_in_spans_only_when_asked_for(
    traced: Traced, content: bool, autojump_clock: object
) -> None:
    await run(traced, motet.Group("work", ["model", "flaky"]), capture_content=content)
    said = "".join(span.to_json() for span in traced.spans)
    assert ("secret answer" in said, "the secret is out" in said) == (content, content)
    if content:
        assert '"role": "assistant"' in str(traced.one("chat small").attributes["gen_ai.output.messages"])


async def test_a_run_continues_the_trace_that_its_labels_name(traced: Traced, autojump_clock: object) -> None:
    labels = {"traceparent": f"00-{7:032x}-{9:016x}-01", "team": "a"}
    await run(traced, motet.Group("work", ["echo"]), labels=labels)
    root = traced.one("motet.run")
    assert (root.context.trace_id, root.parent.span_id) == (7, 9)
    assert root.attributes["motet.label.team"] == "a"
    assert "motet.label.traceparent" not in root.attributes


async def test_a_run_stands_under_the_span_that_was_current_where_it_started(
    traced: Traced, autojump_clock: object
) -> None:
    tracer = trace.get_tracer("program", tracer_provider=traced.provider)
    with tracer.start_as_current_span("outer"):
        await run(traced, motet.Group("work", ["echo"]), labels={"traceparent": "nonsense"})
    assert traced.path(traced.one("motet.run")) == ["outer", "motet.run"]


async def test_so_does_a_run_that_goes_on_in_the_background_or_is_streamed(
    traced: Traced, autojump_clock: object
) -> None:
    tracer = trace.get_tracer("program", tracer_provider=traced.provider)
    group = motet.Group("work", ["echo"])
    async with motet.open_engine(sample(), observers=[Tracing(traced.provider)]) as engine:
        with tracer.start_as_current_span("outer"):
            await engine.start(group, "x")
            async with engine.stream(group, "x") as events:
                assert [event async for event in events]
        await trio.sleep(5)
    assert [traced.path(root) for root in traced.named("motet.run")] == [["outer", "motet.run"]] * 2


async def test_a_program_may_say_which_span_a_run_stands_under(traced: Traced, autojump_clock: object) -> None:
    own = trace.get_tracer("program", tracer_provider=traced.provider).start_span("own")

    def parent(started: RunStarted) -> Context | None:
        return trace.set_span_in_context(own) if started.labels.get("mine") else None

    await run(traced, motet.Group("work", ["echo"]), labels={"mine": "yes"}, parent=parent)
    own.end()
    assert traced.path(traced.one("motet.run")) == ["own", "motet.run"]


async def test_spans_beyond_the_bound_are_counted_and_what_began_is_ended(
    traced: Traced, autojump_clock: object
) -> None:
    plan = motet.Group("work", [motet.Member("echo", replicas=20)])
    await run(traced, plan, max_spans_per_run=5)
    assert len(traced.spans) == 6
    assert traced.one("motet.run").attributes["motet.spans_dropped"] == 16


async def test_runs_beyond_the_bound_have_no_spans_and_are_counted(traced: Traced, autojump_clock: object) -> None:
    tracing = Tracing(traced.provider, max_runs=2)
    async with motet.open_engine(sample(), observers=[tracing]) as engine, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(engine.run, motet.Group("work", ["echo"]), "x")
    assert len(traced.named("motet.run")) == 2
    assert tracing.statistics().runs_dropped == 3
    assert not tracing._passed_over


async def test_a_run_that_is_sampled_away_costs_no_spans(autojump_clock: object) -> None:
    tracing = Tracing(TracerProvider(sampler=ALWAYS_OFF))
    async with motet.open_engine(sample(), observers=[tracing]) as engine:
        started = await engine.start(motet.Group("work", ["echo"]), "x")
        await trio.sleep(0.5)
        assert tracing.statistics().open_runs == 0
        async with engine.watch(started.run_id) as events:
            assert [event async for event in events]
    assert not tracing._passed_over


async def test_a_processor_that_fails_harms_neither_the_run_nor_the_next_one(
    caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    class Broken(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise RuntimeError("no disk")

    provider = TracerProvider()
    provider.add_span_processor(Broken())
    tracing = Tracing(provider)
    async with motet.open_engine(sample(), observers=[tracing]) as engine:
        for _ in range(2):
            assert (await engine.run(motet.Group("work", ["echo"]), "x")).succeeded
    assert tracing.statistics().failures == 2
    assert len([each for each in caplog.records if each.name == "motet.instrument"]) == 1


async def test_closing_ends_the_spans_of_runs_that_are_open(traced: Traced, autojump_clock: object) -> None:
    tracing = Tracing(traced.provider)
    async with motet.open_engine(sample(), observers=[tracing]) as engine:
        await engine.start(motet.Group("work", ["echo"]), "x")
        await trio.sleep(0.5)
        tracing.close()
        assert {span.name for span in traced.spans} == {"motet.run", "group work", "invoke_agent echo"}


async def test_a_run_that_goes_on_after_a_crash_has_a_trace_for_its_second_part(
    traced: Traced, autojump_clock: object
) -> None:
    events: list[motet.Event] = []
    async with motet.open_engine(sample(), observers=[lambda _, event: events.append(event)]) as engine:
        retry = motet.RetryPolicy(max_attempts=3, initial_backoff=1, jitter=0)
        result = await engine.run(motet.Group("work", ["flaky", "model"], retry=retry), "x")
    for number in range(1, len(events)):
        tracing = Tracing(traced.provider)
        for event in events[number:]:
            tracing(result.run_id, event)
        assert tracing.statistics().open_runs == 0
        assert tracing.statistics().failures == 0
    roots = traced.named("motet.run")
    assert roots
    assert all(root.attributes["motet.run.resumed"] for root in roots)


@pytest.mark.parametrize("bound", ["max_runs", "max_spans_per_run"])
def test_a_wrong_bound_is_refused_by_name(bound: str) -> None:
    with pytest.raises(ValueError, match=bound):
        Tracing(**cast("Any", {bound: 0}))


def test_without_the_library_the_error_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from motet.instrument.otel import Tracing\n"
        "try: Tracing()\n"
        "except ModuleNotFoundError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install motet[otel]" in done.stdout
