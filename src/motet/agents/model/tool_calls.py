"""From what a model wrote to the input of a tool's agent, and from an outcome to what the model reads. Also which tools
are offered in a call. Knows neither turns nor providers."""

import difflib
import inspect
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import trio

from motet.agents.model import reasons
from motet.agents.model.tool import ArgumentsInvalid, Tool, ToolSource, ToolStatus, checked_name
from motet.errors import AgentError
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.model.reason import DEADLINE_EXCEEDED
from motet.model.state import State
from motet.ports import Call

MAX_ARGUMENTS_BYTES: Final = 2**20
MAX_ARGUMENTS_DEPTH: Final = 64
"""Levels of lists and objects. Nothing that a tool asks for is near; what checks and encodes them recurses."""
MAX_RESULT_CHARS: Final = 100_000
"""Of what a model reads of one tool call."""
_NAMES_TOLD: Final = 50
_MESSAGE_TOLD: Final = 4000
_NAME_TOLD: Final = 80


def prepare(tool: Tool, arguments: str) -> Payload:
    """The input of the tool's agent, from the arguments as the model wrote them; empty text is `{}`.

    JSON is kept to the letter where the tool takes it as it is. Raises ArgumentsInvalid, and nothing else: its message
    tells the model what is wrong.
    """
    name = tool.spec.name
    document = arguments.strip() or "{}"
    given = _parsed(name, document)
    try:
        checked = tool.check(given) if tool.check is not None else given
        if tool.as_input is not None:
            return tool.as_input(checked)
        return Payload("json", document) if checked is given else Payload.from_json(dict(checked))
    except ArgumentsInvalid:
        raise
    except Exception as error:
        raise ArgumentsInvalid(
            f"the arguments of {name} could not be checked ({type(error).__name__}: {str(error)[:_MESSAGE_TOLD]}); "
            "give others"
        ) from error


def told(tool: Tool, outcome: Outcome, *, max_result_chars: int = MAX_RESULT_CHARS) -> tuple[ToolStatus, str]:
    """What became of a call and what the model reads of it: the output as text or JSON; of a failure
    `{"error": reason, "message": ...}`. Longer text is cut, with a mark that says so. Never raises."""
    status = _status(outcome)
    text: object = None
    if tool.present is not None:
        try:
            text = tool.present(outcome)
        except Exception:  # noqa: BLE001 - a result is not lost because it could not be made pretty
            text = None
    if not isinstance(text, str):
        text = _plain_text(outcome)
    return status, _bounded(text.encode(errors="replace").decode(), max_result_chars)


def unknown(name: str, tools: Iterable[Tool | str]) -> str:
    """What the model reads when there is no tool of this name."""
    names = [each if isinstance(each, str) else each.spec.name for each in tools]
    near = difflib.get_close_matches(name[:_NAME_TOLD], names, n=3, cutoff=0.5)
    asked = json.dumps(name[:_NAME_TOLD])
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    elif names:
        more = f" and {len(names) - _NAMES_TOLD} more" if len(names) > _NAMES_TOLD else ""
        hint = f"the tools are {', '.join(names[:_NAMES_TOLD])}{more}"
    else:
        hint = "no tools are offered; answer without"
    return _error("TOOL_NOT_FOUND", f"there is no tool {asked}; {hint}")


def invalid(error: ArgumentsInvalid) -> str:
    """What the model reads when the arguments of a call are wrong."""
    return _error("VALIDATION_ERROR", str(error))


async def offered(tools: Sequence[Tool | ToolSource], call: Call) -> list[Tool]:
    """The tools of this call, in order, each source's where it stands; sources and `enabled` are asked together.

    A tool whose `enabled` raises is left out, and a report of the call says so. Raises AgentError as a source does, and
    TOOL_FAILED when two tools have one name.
    """
    found: list[Sequence[Tool]] = [() for _ in tools]
    errors: dict[int, AgentError] = {}

    async def look(place: int, one: Tool | ToolSource) -> None:
        try:
            listed = [one] if isinstance(one, Tool) else await _listed(one, call)
            found[place] = [tool for tool in listed if await _is_enabled(tool, call)]
        except AgentError as error:
            errors[place] = error
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for place, each in enumerate(tools):
            nursery.start_soon(look, place, each)
    if errors:
        raise errors[min(errors)]
    together = [tool for listed in found for tool in listed]
    _no_twins(together)
    return together


async def _listed(source: ToolSource, call: Call) -> Sequence[Tool]:
    try:
        listed = await source.tools(call)
        for tool in listed:
            checked_name(tool.spec.name)
    except AgentError:
        raise
    except Exception as error:
        message = f"a source of tools failed ({type(error).__name__}: {error})"
        raise AgentError(message, reason=reasons.TOOL_FAILED) from error
    return listed


async def _is_enabled(tool: Tool, call: Call) -> bool:
    if tool.enabled is None:
        return True
    try:
        answer = tool.enabled(call)
        return bool(await answer if inspect.isawaitable(answer) else answer)
    except Exception as error:  # noqa: BLE001 - the author's function; without its word the tool is not offered
        said = f"{type(error).__name__}: {error}"[:_MESSAGE_TOLD].encode(errors="replace").decode()
        call.report({"tool": tool.spec.name, "disabled": said})
        return False


def _no_twins(tools: Sequence[Tool]) -> None:
    seen: dict[str, Tool] = {}
    for tool in tools:
        other = seen.setdefault(tool.spec.name, tool)
        if other is not tool:
            message = (
                f"two tools are named {tool.spec.name!r}, of agents {other.agent.info.name!r} and "
                f"{tool.agent.info.name!r}; give one another name, or the tools of a server a prefix"
            )
            raise AgentError(message, reason=reasons.TOOL_FAILED, details={"tool": tool.spec.name})


def _parsed(name: str, document: str) -> dict[str, Any]:
    def wrong(rule: str) -> ArgumentsInvalid:
        return ArgumentsInvalid(f"the arguments of {name} {rule}. Put them right and call the tool again.")

    try:
        size = len(document.encode())
        if size > MAX_ARGUMENTS_BYTES:
            raise wrong(f"have {size} bytes; the most is {MAX_ARGUMENTS_BYTES}")
        given = _DECODER.decode(document)
        if isinstance(given, dict) and _too_deep(document, given):
            raise wrong(f"are nested deeper than {MAX_ARGUMENTS_DEPTH} levels")
        if "\\u" in document:
            json.dumps(given, ensure_ascii=False).encode()
    except UnicodeError:
        raise wrong("hold characters that are not Unicode text") from None
    except ArgumentsInvalid:
        raise
    except RecursionError:
        raise wrong(f"are nested deeper than {MAX_ARGUMENTS_DEPTH} levels") from None
    except ValueError as error:
        raise wrong(f"are not JSON ({str(error)[:200]})") from error
    if not isinstance(given, dict):
        raise wrong(f"must be a JSON object, not {type(given).__name__}")
    return given


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values of one name, readers take the one or the other: what was checked might not be what is used."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"the name {names.most_common(1)[0][0][:_NAME_TOLD]!a} stands twice in one object")
    return made


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_once)


def _too_deep(document: str, value: Any) -> bool:
    if document.count("[") + document.count("{") <= MAX_ARGUMENTS_DEPTH:
        return False
    level = [value]
    for _ in range(MAX_ARGUMENTS_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _status(outcome: Outcome) -> ToolStatus:
    if outcome.state is State.SUCCEEDED:
        return ToolStatus.EXECUTED
    late = outcome.failure is not None and outcome.failure.reason == DEADLINE_EXCEEDED
    return ToolStatus.TIMED_OUT if late or outcome.state is State.TIMED_OUT else ToolStatus.FAILED


def _plain_text(outcome: Outcome) -> str:
    if outcome.output is None:
        failure = outcome.failure
        if failure is None:
            return _error("TOOL_FAILED", "the tool has no result")
        return _error(failure.reason, failure.message[:_MESSAGE_TOLD])
    try:
        return outcome.output.text
    except UnicodeDecodeError:
        kind = outcome.output.effective_media_type
        return json.dumps({"media_type": kind, "bytes": outcome.output.size, "note": "binary content, not shown"})


def _error(reason: str, message: str) -> str:
    return json.dumps({"error": reason, "message": message}, ensure_ascii=False)


def _bounded(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    mark = f"\n[cut: the result has {len(text)} characters, this is its start]"
    return text[: max(0, most - len(mark))] + mark
