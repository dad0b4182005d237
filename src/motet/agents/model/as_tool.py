"""A group, a plan or an agent as a tool. A group runs one level deeper than the model agent that calls it, so that tools
which call each other in a circle end; when it fails, the model reads the results so far."""

import functools
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from motet.agents._card import checked
from motet.agents.model.tool import ArgumentsInvalid, Check, Tool, checked_name, name_from
from motet.agents.model.tool_schema import schema_and_check
from motet.errors import AgentError
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.chat import ToolSpec
from motet.model.outcome import Failure, Outcome
from motet.model.payload import EMPTY, Payload
from motet.model.plan import Aggregation, Group, Member, Parallel, Plan, Sequence
from motet.model.reason import GROUP_FAILED
from motet.model.usage import Usage
from motet.ports import Agent, Call

MAX_PARTIAL_BYTES: Final = 64 * 1024
"""Of the results that a model reads of a group that has no answer."""
_ROOM_EACH: Final = 256
"""Bytes that each result gets at least, as long as there is room at all."""
_ROOM_FOR_MARKS: Final = 512
_MESSAGE_TOLD: Final = 1000
_ONE_CALL: Final = Usage(calls=1)
_INPUT_SCHEMA: Final = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "What it is to work on."}},
    "required": ["input"],
    "additionalProperties": False,
}


def as_tool(
    target: Agent | Plan | str,
    *,
    name: str | None = None,
    description: str = "",
    input_schema: object = None,
    timeout: float | None = None,
    output: Callable[[Outcome], str] | None = None,
    enabled: Callable[[Call], bool | Awaitable[bool]] | None = None,
) -> Tool:
    """Make `target` a tool: a group or plan, the name of a group of the catalog, or any agent, a model agent included.

    Without `input_schema` the model gives `{"input": text}`, and the target's input is that text; an agent whose card has
    an `input_schema` of an object gets the object. With one, a JSON Schema of an object or a pydantic model, the input is
    the JSON object, and its entries are variables of the run too. Groups, plans, model agents and whatever has an
    `input_schema` here run one level deeper, within `max_depth`.

    A group that has no answer tells the model its reason and what its members said so far, at most 64 KiB. `output`
    makes the text that the model reads, of the tool's outcome, instead. `timeout` is in seconds; None means the agent's
    own, or the model agent's `tool_timeout`. Raises ValueError for a wrong name or schema.
    """
    own_name = checked_name(name) if name is not None else name_from(_name_of(target))
    card = target.info if isinstance(target, Agent) else None
    description = description or (card.description if card is not None else "")
    leaf = card if card is not None and not card.composite and input_schema is None else None
    schema: Mapping[str, Any] = _INPUT_SCHEMA
    check: Check = functools.partial(_only_input, own_name)
    if input_schema is not None:
        schema, check = schema_and_check(own_name, input_schema)
    elif leaf is not None and (own := _object_schema(leaf.input_schema)) is not None:
        schema, check = schema_and_check(own_name, own)
    runs = _Target(own_name, target, description, entries=input_schema is not None)
    return Tool(
        spec=ToolSpec(name=own_name, description=description, parameters=schema),
        agent=target if leaf is not None and isinstance(target, Agent) else runs,
        timeout=timeout if timeout is not None or card is None else card.timeout,
        check=check,
        enabled=enabled,
        present=output or (with_partial_results if card is None else None),
        as_input=_text_of if schema is _INPUT_SCHEMA else None,
    )


class _Target:
    """Runs a plan, or an agent in a group of its own, one level deeper."""

    def __init__(self, name: str, target: Agent | Plan | str, description: str, *, entries: bool) -> None:
        self._alone = target if isinstance(target, Agent) else None
        self.target: Plan | str = (
            Group(name, [Member(target)], Aggregation("first")) if isinstance(target, Agent) else target
        )
        self._entries = entries
        self._info = checked(AgentInfo(name=name, kind=AgentKind.GROUP, description=description, composite=True))

    @property
    def info(self) -> AgentInfo:
        return self._info

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return {"target": self.target, "entries": self._entries}

    async def aclose(self) -> None:
        """Release what the agent that it runs holds."""
        close = getattr(self._alone, "aclose", None)
        if close is not None:
            await close()

    async def call(self, call: Call, /) -> Reply:
        variables = {**call.variable_payloads, **call.value} if self._entries else None
        result = await call.run(self.target, variables=variables)
        alone = result.groups[0].outcomes[0] if self._alone is not None and result.groups else None
        if result.succeeded and result.output is not None:
            return Reply(result.output, _ONE_CALL, alone.metadata if alone is not None else None)
        failure = alone.failure if alone is not None and alone.failure is not None else result.failure
        failure = failure or Failure(GROUP_FAILED, f"the run of {self._info.name!r} has no answer")
        raise AgentError(failure.message, reason=failure.reason, details=failure.details)


def with_partial_results(outcome: Outcome) -> str:
    """What a model reads of a group tool: its answer; or why there is none, with what each member said so far.

    `{"error", "message", "results": [{"group", "member", "state", "output" | "error", "message"}]}`, at most
    MAX_PARTIAL_BYTES; longer outputs are cut and say so, members that find no room are counted in `results_left_out`.
    """
    if outcome.failure is None:
        return (outcome.output or EMPTY).text
    members = [(group.name, each) for group in outcome.nested for each in group.outcomes]
    room = MAX_PARTIAL_BYTES - _ROOM_FOR_MARKS - 4 * _MESSAGE_TOLD
    shown: list[dict[str, Any]] = []
    for place, (group, each) in enumerate(members):
        if room < _ROOM_EACH:
            break
        entry = _entry(group, each, max(_ROOM_EACH, room // (len(members) - place)))
        room -= len(json.dumps(entry)) + 2
        shown.append(entry)
    told: dict[str, Any] = {"error": outcome.failure.reason, "message": outcome.failure.message[:_MESSAGE_TOLD]}
    if shown:
        told["results"] = shown
    if len(shown) < len(members):
        told["results_left_out"] = len(members) - len(shown)
    return json.dumps(told)


def _entry(group: str, outcome: Outcome, room: int) -> dict[str, Any]:
    entry: dict[str, Any] = {"group": group, "member": outcome.member, "state": outcome.state.value}
    if outcome.output is not None:
        text = outcome.output.data.decode(errors="replace")
        cut = _fitting(text, room)
        entry["output"] = cut
        if len(cut) < len(text):
            entry["output_cut"] = f"{len(cut)} of {len(text)} characters"
    elif outcome.failure is not None:
        entry["error"] = outcome.failure.reason
        entry["message"] = _fitting(outcome.failure.message, min(room, _MESSAGE_TOLD))
    return entry


def _fitting(text: str, room: int) -> str:
    """The start of the text that takes no more than so many bytes as JSON."""
    text = text[:room]
    while len(json.dumps(text)) > room:
        text = text[: len(text) // 2]
    return text


def _only_input(name: str, arguments: Mapping[str, Any], /) -> Mapping[str, Any]:
    if arguments.keys() != {"input"} or not isinstance(arguments["input"], str):
        raise ArgumentsInvalid(f'the arguments of {name} must be {{"input": "..."}}, a text and nothing else')
    return arguments


def _text_of(arguments: Mapping[str, Any]) -> Payload:
    return Payload.from_text(arguments["input"])


def _object_schema(document: str) -> Mapping[str, Any] | None:
    schema = json.loads(document) if document else None
    return schema if isinstance(schema, dict) and schema.get("type") == "object" else None


def _name_of(target: Agent | Plan | str) -> str:
    if isinstance(target, str):
        return target
    if isinstance(target, Group):
        return target.name
    if isinstance(target, Sequence | Parallel):
        # A value that lacks something, not a value of the wrong type.
        raise ValueError(f"a {type(target).__name__.lower()} has no name; give name=, which the model calls it by")  # noqa: TRY004 - see above
    return target.info.name
