"""A scripted provider's rules from a TOML file. Every mistake is a ValueError that names the file, the entry and the key."""

import re
import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from motet.agents.model import reasons
from motet.agents.model.providers._script import Rule, Say
from motet.errors import AgentError
from motet.model.chat import ChatRequest, Finish

_RETRYABLE: Final = frozenset(
    {reasons.RATE_LIMITED, reasons.PROVIDER_UNAVAILABLE, reasons.PROVIDER_INVALID, reasons.TOOL_SERVER_LOST}
)
_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_CONDITIONS: Final = ("when_instructions", "when_user", "when_model", "when_result")


def read_script(path: Path) -> tuple[Rule, ...]:
    """The rules of a file, in its order."""
    try:
        document = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ValueError(f"{path}: the script cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: the script is no TOML: {error}") from None
    try:
        return _rules(document)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _rules(document: Mapping[str, Any]) -> tuple[Rule, ...]:
    _only(document, {"reply"}, "")
    entries = _typed(document.get("reply", []), list, "reply", "[[reply]] tables")
    if not entries:
        raise ValueError("the script has no answers; add a [[reply]] table")
    rules: list[Rule] = []
    for number, entry in enumerate(entries, 1):
        place = f"reply {number}"
        if rules and rules[-1].unconditional:
            raise ValueError(f"{place} is never given: reply {number - 1} has no condition and answers everything")
        rules.append(_rule(_typed(entry, dict, place, "a table"), place))
    return tuple(rules)


def _rule(entry: Mapping[str, Any], place: str) -> Rule:
    _only(entry, {*_CONDITIONS, "times", *_ANSWER}, place)
    conditions = {
        name: _typed(entry[name], str, f"{place}: {name}", "a regular expression")
        for name in _CONDITIONS
        if name in entry
    }
    times = _typed(entry["times"], int, f"{place}: times", "a whole number") if "times" in entry else None
    if not entry.keys() & {"text", "tool", "tools", "error"}:
        raise ValueError(f"{place} says nothing; give text, tool, tools or error")
    try:
        return Rule(reply=_answer(entry, place), times=times, **conditions)
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(place) else f"{place}: {error}") from None


_ANSWER: Final = frozenset({"text", "tool", "arguments", "tools", "delay", "pieces", "error", "finish"})


def _answer(entry: Mapping[str, Any], place: str) -> Say | Callable[[ChatRequest], Say]:
    calls = [_call(entry, place, "tool")] if "tool" in entry else []
    if "arguments" in entry and not calls:
        raise ValueError(f"{place}: arguments without a tool; name the tool")
    for number, table in enumerate(_typed(entry.get("tools", []), list, f"{place}: tools", "a list of tables"), 1):
        own = f"{place}: tools {number}"
        _only(_typed(table, dict, own, "a table"), {"name", "arguments"}, own)
        calls.append(_call(table, own, "name"))
    finish = entry.get("finish")
    if finish is not None and finish not in list(Finish):
        raise ValueError(f"{place}: finish is {finish!r}; give one of {', '.join(Finish)}")
    say = partial(
        Say,
        _typed(entry.get("text", ""), str, f"{place}: text", "text"),
        tool_calls=tuple(calls),
        delay=_typed(entry.get("delay", 0.0), (int, float), f"{place}: delay", "seconds"),
        pieces=_typed(entry.get("pieces", 1), int, f"{place}: pieces", "a whole number"),
        finish=None if finish is None else Finish(finish),
    )
    if "error" not in entry:
        return say()
    error = _error(entry["error"], f"{place}: error")
    say(error=error())  # what is wrong is wrong now, not when it is asked for
    return lambda _request: say(error=error())


def _call(table: Mapping[str, Any], place: str, key: str) -> tuple[str, Mapping[str, Any]]:
    name = _typed(table.get(key), str, f"{place}: {key}", "a tool's name")
    return name, _typed(table.get("arguments", {}), dict, f"{place}: arguments", "a table")


def _error(error: object, place: str) -> "partial[AgentError]":
    table = {"reason": error} if isinstance(error, str) else _typed(error, dict, place, "a reason, or a table")
    _only(table, {"reason", "message", "retryable", "retry_after"}, place)
    reason = _typed(table.get("reason"), str, f"{place}: reason", "a reason such as RATE_LIMITED")
    if not _REASON.fullmatch(reason):
        raise ValueError(f"{place}: reason is {reason!r}; give upper-case letters, digits and _")
    wait = table.get("retry_after")
    return partial(
        AgentError,
        _typed(table.get("message", "the script says so"), str, f"{place}: message", "text"),
        reason=reason,
        retryable=_typed(table.get("retryable", reason in _RETRYABLE), bool, f"{place}: retryable", "true or false"),
        retry_after=None if wait is None else _typed(wait, (int, float), f"{place}: retry_after", "seconds"),
    )


def _typed(value: Any, kinds: type | tuple[type, ...], place: str, what: str) -> Any:
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise ValueError(
            f"{place} is {value!r}; give {what}" if value is not None else f"{place} is missing; give {what}"
        )
    return value


def _only(table: Mapping[str, Any], known: "set[str] | frozenset[str]", place: str) -> None:
    if unknown := sorted(table.keys() - known):
        where = f"{place}: " if place else ""
        raise ValueError(f"{where}{unknown[0]} is no key of it; known are {', '.join(sorted(known))}")
