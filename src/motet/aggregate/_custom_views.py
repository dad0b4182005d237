"""What custom aggregations see of a group: rows and variables for expressions and agents, and who says that an answer is
decided. Pure; knows nothing of how the answer is made."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from motet.aggregate._cel import CelError, compile_cel
from motet.aggregate._common import json_value
from motet.model.outcome import Outcome
from motet.model.payload import Payload, parse_json
from motet.ports import Roster

VARIABLES: Final = ("outcomes", "outputs", "total", "succeeded", "failed")
"""What expressions may use."""

Ended: TypeAlias = Callable[[int, Outcome], bool]
"""Takes the outcome of the member with this place; True when the answer is decided."""


def outcome_rows(roster: Roster, outcomes: Iterable[Outcome | None]) -> list[dict[str, Any]]:
    """The outcomes that there are, in declared order, as JSON values."""
    return [
        _row(outcome, weight, _plain(outcome.output))
        for outcome, weight in zip(outcomes, roster.weights, strict=False)
        if outcome is not None
    ]


def _row(outcome: Outcome, weight: float, output: Any) -> dict[str, Any]:
    return {
        "member": outcome.member,
        "agent": outcome.agent,
        "state": outcome.state.value,
        "succeeded": outcome.succeeded,
        "output": output,
        "weight": weight,
        "reason": outcome.failure.reason if outcome.failure is not None else "",
    }


def _plain(output: Payload | None) -> Any:
    return None if output is None else json_value(output)


def _parsed(output: Payload | None) -> Any:
    """As selectors read it: text that is JSON is its value."""
    if output is not None and output.kind == "text":
        try:
            return parse_json(output.text)
        except ValueError:
            return output.text
    return _plain(output)


class Expression:
    """A CEL expression over outcomes. Raises ValueError, naming the option, when it does not compile."""

    __slots__ = ("_evaluate", "_outcomes", "_outputs", "text")

    def __init__(self, text: str, option: str) -> None:
        try:
            self._evaluate = compile_cel(text, VARIABLES)
        except ValueError as error:
            raise ValueError(f"{option}: {error}") from None
        self.text = text
        # What is not mentioned is not made: a `decided` that only counts has a constant cost.
        self._outcomes = re.search(r"\boutcomes\b", text) is not None
        self._outputs = re.search(r"\boutputs\b", text) is not None

    def value(self, roster: Roster, outcomes: Sequence[Outcome | None], succeeded: int, failed: int) -> Any:
        """Its value; None in `outcomes` is a member that has not ended. Raises CelError."""
        values: dict[str, Any] = {"total": len(roster.names), "succeeded": succeeded, "failed": failed}
        values["outcomes"] = values["outputs"] = []
        if self._outcomes:
            values["outcomes"] = [
                _row(outcome, weight, _parsed(outcome.output))
                for outcome, weight in zip(outcomes, roster.weights, strict=False)
                if outcome is not None
            ]
        if self._outputs:
            values["outputs"] = [_parsed(o.output) for o in outcomes if o is not None and o.succeeded]
        return self._evaluate(values)

    def over(self, roster: Roster, outcomes: Sequence[Outcome]) -> Any:
        """Its value when all have ended. Raises CelError."""
        succeeded = sum(outcome.succeeded for outcome in outcomes)
        return self.value(roster, outcomes, succeeded, len(outcomes) - succeeded)


def decided_by_function(decided: Callable[[Sequence[Outcome | None]], object]) -> Callable[[Roster], Ended]:
    """Asks a function of the outcomes so far, None for members that have not ended. It sees the rule's own list."""

    def begin(roster: Roster) -> Ended:
        seen: list[Outcome | None] = [None] * len(roster.names)

        def ended(index: int, outcome: Outcome) -> bool:
            seen[index] = outcome
            return bool(decided(seen))

        return ended

    return begin


def decided_by_expression(expression: Expression) -> Callable[[Roster], Ended]:
    """Asks an expression; one that has no value yet, such as `outputs[0] > 5` before any output, says no."""

    def begin(roster: Roster) -> Ended:
        seen: list[Outcome | None] = [None] * len(roster.names)
        counts = [0, 0]

        def ended(index: int, outcome: Outcome) -> bool:
            seen[index] = outcome
            counts[0 if outcome.succeeded else 1] += 1
            try:
                value = expression.value(roster, seen, *counts)
            except CelError:
                return False
            if not isinstance(value, bool):
                raise TypeError(f"decided: must be true or false, and is {type(value).__name__}")
            return value

        return ended

    return begin
