"""What the examples with models share: who answers, a real model or the script beside the demo, and how a run is shown while
it goes on. Knows no example."""

import math
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

import motet
from motet.agents.model.defaults import KEY_VARIABLE, MODEL_VARIABLE, URL_VARIABLE
from motet.instrument.tree import TOOLS, TURN, Tree, owner_of
from motet_server.cli import timeline
from motet_server.cli.exits import UsageError
from motet_server.cli.failures import guarded
from motet_server.cli.text import count, cut, many_lines, one_line, payload_text, reason, receipt, seconds, usd

REAL = bool(os.environ.get(KEY_VARIABLE) or os.environ.get(URL_VARIABLE))
"""Real models answer; else the script does."""
PRICES = {"premium": motet.Price(2.5, 10), "*": motet.Price(0.15, 0.6)}
"""Of the script's models, as those of real ones are."""
QUICKER = 20
"""Times that the script is quicker than a model, and so are the deadlines."""
_unanswered: list[str] = []
"""Runs that were shown and have no answer."""


def patience(of_a_model: float) -> float:
    """Seconds that are as much for the one who answers as these are for a model."""
    return of_a_model if REAL else of_a_model / QUICKER


def model(part: str) -> str:
    """The model for a part: with real ones what MOTET_MODEL_<PART> names; empty, the default, where it names none."""
    return os.environ.get(f"{MODEL_VARIABLE}_{part.upper()}", "") if REAL else part


def run(main: Callable[[], Awaitable[object]], demo: str) -> int:
    """Run a demo as a program. `demo` is its file, which has the script beside it. Returns the exit code: 1 when a run that
    was shown has no answer."""
    if not REAL:
        script = Path(demo).resolve().with_name("script.toml")
        motet.set_default_model(motet.ScriptedProvider.load(script, model_prices=PRICES), "standard")
    elif not os.environ.get(MODEL_VARIABLE):
        raise UsageError(f"set {MODEL_VARIABLE} to the model that is to answer")
    trio.run(main)
    return 1 if _unanswered else 0


def play(main: Callable[[], Awaitable[object]], demo: str) -> None:
    """As `run`, and end the process: what a user can put right is a sentence on standard error."""
    sys.exit(guarded(partial(run, main, demo)))


def answer(result: motet.RunResult) -> str:
    """What a run answers, or why it does not."""
    return reason(result.failure) if result.output is None else payload_text(result.output)


async def show(
    engine: motet.Engine,
    plan: motet.Plan,
    input: str,
    *,
    say: Callable[[motet.RunResult], str] = answer,
    times: bool = True,
    **options: Any,
) -> motet.RunResult:
    """Run a plan and print who does what while it goes on; then what `say` makes of the result and, with `times`, the tree
    of calls."""
    print(f"\n> {cut(input, 200)}\n")
    tree, teller = Tree(), Teller()
    async with engine.stream(plan, input, **options) as stream:
        async for event in stream:
            tree.apply(event)
            for line in teller.lines(event):
                print(line, flush=True)
    result = stream.result
    if result is None:
        raise RuntimeError("a stream that was read to its end has a result")
    if result.output is None:
        _unanswered.append(result.run_id)
    print(f"\n{many_lines(say(result))}\n")
    if times:
        width = max(100, shutil.get_terminal_size((120, 24)).columns)
        for drawn in timeline.lines(tree.snapshot(), now=tree.elapsed, width=width):
            print(drawn.plain)
    print(total(result))
    return result


class Teller:
    """Tells events as lines: members and tools, indented by who called them. Of a model's turns it tells what went wrong."""

    def __init__(self) -> None:
        self._failed: dict[tuple[str, str, str], motet.Failure] = {}
        """Of the turn that a model agent took last, by whose it is."""

    def lines(self, event: motet.Event) -> list[str]:
        turn = TURN.fullmatch(event.group) is not None
        match event.detail:
            case motet.MemberStarted() if not turn:
                return [_line(event, "is called" if TOOLS.fullmatch(event.group) else "starts")]
            case motet.MemberEnded(outcome) if not turn:
                return [_line(event, _ended(outcome))]
            case motet.MemberEnded(outcome) if outcome.failure is not None:
                self._failed[owner_of(event.parent)] = outcome.failure
            case motet.AttemptEnded(attempt, wait) if wait is not None:
                return [
                    _line(event, f"asks again in {seconds(wait)}: {cut(reason(attempt.failure), 90)}", own=not turn)
                ]
            case motet.GroupStarted() if turn and "fallback" in event.group:
                why = cut(reason(self._failed.get(owner_of(event.parent))), 90)
                return [_line(event, f"asks another model: {why}", own=False)]
            case motet.MemberProgress(report) if not turn and (said := _reported(report)):
                return [_line(event, said)]
        return []


def _line(event: motet.Event, text: str, *, own: bool = True) -> str:
    """`own`: it is about the member; else about the one that its group belongs to."""
    depth = event.parent.count("/") // 2 + (1 if event.parent else 0)
    name = event.member if own else owner_of(event.parent)[2]
    return f"{event.elapsed:7.2f} s  {'  ' * (depth if own else depth - 1)}{one_line(name)} {text}"


def _ended(outcome: motet.Outcome) -> str:
    notes = [seconds(outcome.ran), *filter(None, (used(outcome.usage), receipt(outcome.stop)))]
    if outcome.failure is not None:
        return f"{outcome.state}: {cut(reason(outcome.failure), 90)} ({', '.join(notes)})"
    by = outcome.metadata.get("agent", outcome.agent)
    verb = "says" if by == outcome.agent else f"lets {one_line(by)} say"
    return f"{verb}: {cut(payload_text(outcome.output), 90)} ({', '.join(notes)})"


def _reported(report: motet.Payload) -> str:
    value = report.value
    match value:
        case {"handoff": str(name)}:
            return f"hands over to {one_line(name)}"
        case {"tool": str(name), "status": "tool_not_found" | "validation_error" as status}:
            return f"calls {one_line(name)}: {status}"
    return ""


def used(usage: motet.Usage) -> str:
    """Tokens and money; a price that nobody knows is said to be unknown."""
    if not usage.input_tokens and not usage.output_tokens:
        return ""
    tokens = f"{usage.input_tokens:,}+{usage.output_tokens:,} tokens"
    return ", ".join(filter(None, (tokens, cost(usage))))


def cost(usage: motet.Usage) -> str:
    """To a millionth of a dollar, upwards."""
    known = usd(math.ceil(usage.cost_nanos / 1000) * 1000) if usage.cost_nanos else ""
    unknown = count(usage.unpriced_calls, "unpriced call") if usage.unpriced_calls else ""
    return " + ".join(filter(None, (known, unknown)))


def total(result: motet.RunResult) -> str:
    """One line: how the run ended, what it took and what it used."""
    parts = [f"{result.state} in {seconds(result.elapsed)}", count(result.usage.calls, "call"), used(result.usage)]
    return ", ".join(filter(None, parts))
