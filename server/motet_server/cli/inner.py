"""The groups that a model agent makes of its turns, tools and guardrails: which they are, and what of them is worth a line.
Knows events by their names, as the engine's and the client's are different classes."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_INNER: Final = re.compile(r"(turn)_\d+(?:_fallback_\d+)?|(tools)_\d+|(guardrail)_(?:input|output)_\d+")
_NEVER_STARTED: Final = frozenset({"tool_not_found", "validation_error"})
"""Tool calls that have no member, so that only the agent tells of them."""


def sort(parent: str, group: str) -> str:
    """`turn`, `tools` or `guardrail` for such a group; empty for others."""
    found = _INNER.fullmatch(group) if parent else None
    return next(filter(None, found.groups()), "") if found is not None else ""


def delta(report: Any) -> str | None:
    """The piece of a model's answer that a report is; None for other reports."""
    said = _object(report)
    text = said.get("delta")
    return text if isinstance(text, str) and len(said) == 1 else None


def told(report: Any) -> str | None:
    """A model agent's report of a tool or a handoff as a phrase, empty when it needs no line; None for other reports."""
    said = _object(report)
    if "call_id" not in said:
        return None
    if isinstance(said.get("handoff"), str):
        return f"hands over to {said['handoff']}"
    if isinstance(said.get("tool"), str) and isinstance(said.get("status"), str):
        return f"tool {said['tool']}: {said['status']}" if said["status"] in _NEVER_STARTED else ""
    return None


def hidden(event: Any) -> bool:
    """Whether an event says nothing that another line does not say better. A turn is told by its end, unless it fails or is
    tried again; tools and guardrails are told by theirs; the text comes with the answer."""
    kind = type(event.detail).__name__
    if kind == "MemberProgress":
        return delta(event.detail.report) is not None or told(event.detail.report) == ""
    group = sort(event.parent, event.group)
    if kind in ("GroupStarted", "MemberStarted"):
        return bool(group)
    if kind == "MemberEnded":
        return group == "turn" and str(event.detail.outcome.state) == "SUCCEEDED"
    return kind == "GroupEnded" and group in ("tools", "guardrail")


def owner(parent: str) -> tuple[str, str, str]:
    """Whose group it is: parent, group and member of the path that a nested group has."""
    rest, _, member = parent.rpartition("/")
    above, _, group = rest.rpartition("/")
    return above, group, member.partition("#")[0]


def _object(report: Any) -> Mapping[str, Any]:
    if getattr(report, "kind", "") != "json":
        return {}
    try:
        value = json.loads(report.content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
