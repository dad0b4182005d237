"""What the example's agents share that is no agent: the firm's books as tools, the form of advice, and the group's rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import motet


@dataclass
class Advice:
    """What a specialist says."""

    can_help: bool
    answer: str


def invoice(number: str) -> dict[str, Any]:
    """An invoice, with the day of every charge for it."""
    return {"number": number, "amount": 49.0, "charges": ["2025-11-19", "2025-11-19"]}


def open_ticket(summary: str) -> dict[str, str]:
    """Open a ticket that a person answers within the hour."""
    return {"ticket": "T-2041", "summary": summary}


def helpful(outcomes: Sequence[motet.Outcome]) -> dict[str, Any]:
    """What those say who can help, and who could not be heard. Asked also when nobody answered."""
    said = {outcome.member: outcome.output.json() for outcome in outcomes if outcome.output}
    answers = {name: advice["answer"] for name, advice in said.items() if advice["can_help"]}
    unheard = {outcome.member: str(outcome.failure) for outcome in outcomes if outcome.failure}
    return {"escalation_needed": not answers, "answers": answers, "unheard": unheard}
