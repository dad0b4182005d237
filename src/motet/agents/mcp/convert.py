"""What goes to a tool of an MCP server and what comes back, as this project says it. Pure; must not import `mcp`, which is
slow to import: results are given as plain values."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from motet.agents.model.reasons import TOOL_FAILED, TOOL_SERVER_LOST
from motet.agents.model.tool import ArgumentsInvalid, Check
from motet.errors import AgentError
from motet.model.payload import EMPTY, Payload
from motet.model.reason import INPUT_INVALID

TOOL_SERVER_INVALID: Final = "TOOL_SERVER_INVALID"
"""What the server of tools says of its tools cannot be used."""
OUTPUT_TOO_LARGE: Final = "OUTPUT_TOO_LARGE"
"""The result is larger than RESULT_MOST and was not read."""

RESULT_MOST: Final = 16 * 2**20
"""Bytes of one message of a server."""
TOO_LARGE: Final = f"the result has more than {RESULT_MOST} bytes"
TOOL_NAME_MOST: Final = 64
"""Characters of a tool's name, as providers of models have it."""
_MESSAGE_TOLD: Final = 4000
_NOT_ALLOWED: Final = re.compile(r"[^A-Za-z0-9_-]")
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why there is no session, as calls are told."""

    text: str
    reason: str = TOOL_SERVER_LOST
    retryable: bool = True


class Trouble:
    """Why a session ended: the first cause that anybody told."""

    def __init__(self) -> None:
        self.cause = ""
        self.hint = ""
        """What went wrong last: it may be why, and it may not."""

    def say(self, cause: str) -> None:
        self.cause = self.cause or cause

    def words(self, otherwise: str) -> str:
        """The cause, `otherwise` if nobody told one."""
        return self.cause or (f"{otherwise} ({self.hint})" if self.hint else otherwise)


def model_name(prefix: str, name: str) -> str:
    """The name under which a model sees a tool: what providers do not allow becomes `_`, what is too long is cut and ends
    in a digest of the whole."""
    allowed = _NOT_ALLOWED.sub("_", prefix + name)
    if len(allowed) <= TOOL_NAME_MOST:
        return allowed
    digest = hashlib.sha256((prefix + name).encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{allowed[: TOOL_NAME_MOST - 9]}_{digest}"


def replay_safe(*, read_only: bool | None, idempotent: bool | None) -> bool | None:
    """What a tool's annotations say: True when it only reads or may be repeated, None when they say nothing."""
    if read_only or idempotent:
        return True
    return None if read_only is None and idempotent is None else False


def arguments_of(name: str, given: Payload, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call: the JSON object that is given, or text for the tool's only string parameter. Raises
    AgentError INPUT_INVALID."""
    if given.kind == "json":
        value = given.json()
        if isinstance(value, dict):
            return value
        raise AgentError(f"tool '{name}' takes a JSON object of arguments, not other JSON", reason=INPUT_INVALID)
    if given.kind == "data":
        raise AgentError(f"tool '{name}' takes a JSON object of arguments, not bytes", reason=INPUT_INVALID)
    properties = schema.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    strings = [one for one, form in properties.items() if isinstance(form, dict) and form.get("type") == "string"]
    required = schema.get("required")
    others = set(required if isinstance(required, list) else ()) - set(strings)
    if len(strings) == 1 and not others:
        return {strings[0]: given.text}
    if given == EMPTY and not others and not strings:
        return {}
    raise AgentError(
        f"tool '{name}' takes a JSON object of arguments ({', '.join(properties) or 'none known'}); text will do only for "
        "a tool with one string parameter and no other that is required",
        reason=INPUT_INVALID,
    )


def check_of(schema: Mapping[str, Any]) -> Check:
    """Looks at a tool's arguments before it is called: names and types of the first level.

    What lies deeper the server looks at. A whole JSON Schema from a stranger may take for ever to apply.
    """
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    required = schema.get("required")
    needed = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    closed = schema.get("additionalProperties") is False

    def check(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        wrong = [f"{name}: is required" for name in needed if name not in arguments]
        for name, value in arguments.items():
            form = known.get(name)
            if closed and name not in known:
                wrong.append(f"{name}: is not a parameter; there are {', '.join(known) or 'none'}")
            elif isinstance(form, dict) and not _is_of(value, form.get("type")):
                wrong.append(f"{name}: must be of type {form['type']}")
        if wrong:
            raise ArgumentsInvalid("; ".join(wrong))
        return arguments

    return check


def _is_of(value: object, wanted: object) -> bool:
    names = wanted if isinstance(wanted, list) else [wanted]
    types = [_TYPES.get(name) if isinstance(name, str) else None for name in names]
    if None in types:
        return True  # none said, or one that this does not know
    if isinstance(value, bool):
        return "boolean" in names
    if isinstance(value, float) and value.is_integer() and "integer" in names:
        return True
    return any(isinstance(value, type_) for type_ in types if type_ is not None)


def reply_payload(blocks: Sequence[Mapping[str, Any]], structured: object) -> Payload:
    """What a tool answered: its structured content as JSON; else its one text as text; else its one block, or the list of
    its blocks, as JSON: `{"type": "image", "mimeType": ..., "data": base64}` and the like."""
    if structured is not None:
        return Payload.from_json(structured)
    if not blocks:
        return EMPTY
    if len(blocks) > 1:
        return Payload.from_json(list(blocks))
    if blocks[0].get("type") == "text":
        return Payload.from_text(str(blocks[0].get("text", "")))
    return Payload.from_json(blocks[0])


def failure_of(name: str, blocks: Sequence[Mapping[str, Any]], structured: object) -> AgentError:
    """The failure of a tool that says that it failed: its own words, which are what a model can learn from."""
    texts = [str(block.get("text", "")) for block in blocks if block.get("type") == "text"]
    said = "\n".join(text for text in texts if text)
    if not said and structured is not None:
        said = json.dumps(structured)
    return AgentError(said[:_MESSAGE_TOLD] or f"tool '{name}' failed and did not say why", reason=TOOL_FAILED)
