"""What the built-in rules share: a rule without options, JSON text of payloads, the failure when nobody succeeded.
Knows outcomes and payloads, nothing of when or how members run."""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from motet.model import reason
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import Aggregator, Roster, RuleBook, Tally

MAX_LISTED: Final = 100
"""Members or values listed in a failure's details: enough to see what went wrong, and a bound on its size."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Rule:
    """An aggregation that takes no options, so that the kind and the rule made from it are one value."""

    name: str
    description: str
    decides_early: bool
    tally: Callable[[Roster], Tally]
    """Makes one group's tally."""

    @property
    def options_schema(self) -> Mapping[str, Any]:
        return {}

    @property
    def agents(self) -> Sequence[str]:
        return ()

    def make(self, options: Mapping[str, Any], _book: RuleBook, /) -> Aggregator:
        if options:
            names = ", ".join(sorted(map(str, options)))
            raise ValueError(f"{self.name} takes no options; remove {names}")
        return self

    def begin(self, roster: Roster) -> Tally:
        return self.tally(roster)


def json_text(payload: Payload) -> str:
    """The payload as JSON text: documents to the letter, text as a string, bytes as a base64 string.

    Lone surrogates, which UTF-8 cannot carry, become escapes, which it can.
    """
    document = payload.fragment
    return document if document.isascii() else _SURROGATE.sub(_escape, document)


def json_value(payload: Payload) -> Any:
    """The payload as a JSON value; a document that Python cannot hold as one stays text, bytes are base64."""
    if payload.kind == "data":
        return _base64(payload)
    if payload.kind == "text":
        return payload.text
    try:
        value = payload.value
        # 1e999 is JSON and parses to infinity, which is not.
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return payload.text
    return value


def no_success(outcomes: Sequence[Outcome]) -> Failure:
    """The failure of a group in which no member succeeded."""
    members = {
        outcome.member: {
            "state": outcome.state.value,
            "reason": outcome.failure.reason if outcome.failure else "",
            "message": outcome.failure.message if outcome.failure else "",
        }
        for outcome in outcomes[:MAX_LISTED]
    }
    return Failure(
        reason.NO_SUCCESSFUL_RESULTS,
        f"none of the {len(outcomes)} members succeeded",
        {"members": members, "members_total": len(outcomes)},
    )


def outputs(outcomes: Sequence[Outcome]) -> list[Payload]:
    """What the members that succeeded said, in declared order."""
    return [outcome.output for outcome in outcomes if outcome.succeeded and outcome.output is not None]


def _base64(payload: Payload) -> str:
    return base64.b64encode(payload.data).decode("ascii")


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"
