"""HTTP services and commands as tools: where the arguments that a model gives go in a URL, a body, an argv or standard
input. A value never becomes more than the place that is written for it: no path segment, no option, no shell."""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

from motet.agents import _argv
from motet.agents.command import CommandAgent
from motet.agents.http import HttpAgent
from motet.agents.model.tool import ArgumentsInvalid, Check, Tool, checked_name
from motet.agents.model.tool_schema import schema_and_check
from motet.errors import AgentError
from motet.model.chat import ToolSpec
from motet.model.outcome import Outcome
from motet.model.payload import EMPTY, Payload
from motet.model.reason import INPUT_INVALID
from motet.ports import Call

Enabled: TypeAlias = Callable[[Call], bool | Awaitable[bool]] | None
Present: TypeAlias = Callable[[Outcome], str] | None
Arguments: TypeAlias = Mapping[str, Any]

_PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NO_SEGMENT: Final = re.compile(r"[/\\\x00-\x1f\x7f]")
_BODYLESS: Final = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})


def http_tool(
    name: str,
    url: str,
    *,
    description: str,
    parameters: object,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    send: Literal["json", "query"] | None = None,
    timeout: float | None = None,
    enabled: Enabled = None,
    present: Present = None,
    **options: Any,
) -> Tool:
    """Make an HTTP service a tool. `parameters` is a JSON Schema of an object, a pydantic model or a dataclass.

    `{parameter}` in the URL's path is replaced by that argument, percent-encoded; one that is empty, `.` or `..`, or has a
    slash is refused, so that it stays one segment. The other arguments are the JSON body, with `send="query"` the query
    (lists repeat their name, null is left out); None means the query for GET, HEAD, DELETE and OPTIONS. Host, method and
    headers are the author's alone. `timeout` is in seconds; `options` are those of HttpAgent. Raises ValueError, which
    names the parameter, when one is wrong.
    """
    checked_name(name)
    schema, check = schema_and_check(name, parameters)
    places = _PLACE.findall(urlsplit(url).path)
    if len(places) != url.count("{") or len(places) != url.count("}"):
        raise ValueError("url: placeholders such as {city} may stand in the path only; percent-encode other braces")
    _known(places, schema, "url")
    for place in places:
        if place not in schema.get("required", ()):
            raise ValueError(f"url: {{{place}}} must be required in parameters; a path cannot do without it")
    agent = _HttpTool(
        name, url, tuple(places), send or ("query" if method.upper() in _BODYLESS else "json"),
        method=method, headers=headers, description=description, timeout=timeout, **options,
    )  # fmt: skip
    spec = ToolSpec(name=name, description=description, parameters=schema)
    tried = _with(name, check, agent.target)
    return Tool(spec=spec, agent=agent, timeout=timeout, check=tried, enabled=enabled, present=present or _explained)


def command_tool(
    name: str,
    argv: Sequence[str],
    *,
    description: str,
    parameters: object,
    stdin: bool = False,
    timeout: float | None = None,
    enabled: Enabled = None,
    present: Present = None,
    **options: Any,
) -> Tool:
    """Make a program a tool. `parameters` is a JSON Schema of an object, a pydantic model or a dataclass.

    `{parameter}` in an element of `argv` after the first is replaced by that argument; there is never a shell. An element
    whose argument is not given is left out; one that is nothing but the placeholder of a list becomes an element for
    each item. A value that a program could take for an option is refused unless `--` stands before it. With `stdin` the
    arguments that `argv` does not name are its standard input, as a JSON object. `timeout` is in seconds; `options` are
    those of CommandAgent. Raises ValueError, which names the parameter, when one is wrong.
    """
    checked_name(name)
    schema, check = schema_and_check(name, parameters)
    elements = _argv.parse(argv)
    named = [place for element in elements for place in element.names]
    _known(named, schema, "argv")
    _no_dangling_options(argv, elements, schema)
    if stdin and _argv.INPUT in named:
        raise ValueError("argv: {input} cannot be used beside stdin; give the parameter another name")
    feeds: Literal["stdin", "argument", "none"] = "stdin" if stdin else "argument" if _argv.INPUT in named else "none"
    unused = [key for key in schema.get("properties", {}) if key not in named]
    if unused and not stdin:
        raise ValueError(f"argv: {', '.join(unused)} would be asked for and not used; name them in argv, or set stdin")
    agent = _CommandTool(name, argv, input=feeds, description=description, timeout=timeout, **options)
    spec = ToolSpec(name=name, description=description, parameters=schema)
    tried = _with(name, check, agent.filled)
    return Tool(spec=spec, agent=agent, timeout=timeout, check=tried, enabled=enabled, present=present or _explained)


class _HttpTool(HttpAgent):
    """An HTTP service whose requests are made of arguments."""

    def __init__(self, name: str, url: str, places: tuple[str, ...], sends: str, **options: Any) -> None:
        super().__init__(name, url, send="body", **options)
        self._places = places
        self._sends = sends

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return {**super().settings, "send": self._sends}

    def target(self, arguments: Arguments) -> str:
        """The URL of a call. Raises AgentError INPUT_INVALID."""
        place, question, query = self._url.partition("?")
        place = _PLACE.sub(lambda found: _segment(found[1], arguments.get(found[1])), place)
        if self._sends == "query":
            try:
                asked = urlencode([pair for key in self._others(arguments) for pair in _pairs(key, arguments[key])])
            except UnicodeError:
                raise AgentError("an argument is not Unicode text", reason=INPUT_INVALID) from None
            query = "&".join(filter(None, (query, asked)))
            question = "?" if query else ""
        return f"{place}{question}{query}"

    def _others(self, arguments: Arguments) -> list[str]:
        return [key for key in arguments if key not in self._places]

    def _request(self, call: Call) -> tuple[str, dict[str, str], bytes | None]:
        arguments = _object(call, self.info.name)
        _, headers, content = super()._request(call)
        if self._sends == "query":
            if "content-type" not in self._headers:
                headers.pop("content-type", None)
            content = None
        elif self._places:
            content = Payload.from_json({key: arguments[key] for key in self._others(arguments)}).data
        return self.target(arguments), headers, content


class _CommandTool(CommandAgent):
    """A program whose argv and standard input are made of arguments."""

    def filled(self, arguments: Arguments) -> list[str]:
        """The elements after the program. Raises AgentError INPUT_INVALID."""
        return [text for element in self._elements[1:] for text in _texts(element, arguments)]

    def _given(self, call: Call) -> tuple[bytes, list[str]]:
        arguments = _object(call, self.info.name)
        named = {place for element in self._elements for place in element.names}
        rest = {key: value for key, value in arguments.items() if key not in named}
        data = b""
        if self._input == "stdin":
            data = Payload.from_json(rest).data if named else call.input.data
        return data, self.filled(arguments)


def _texts(element: _argv.Element, arguments: Arguments) -> list[str]:
    given = [arguments.get(name) for name in element.names]
    if any(value is None for value in given):
        return []
    if len(given) == 1 and isinstance(given[0], list) and element.literals == ("", ""):
        return [_argv.fill([element], lambda _, item=item: _text(item))[0] for item in given[0]]  # type: ignore[misc]
    return _argv.fill([element], lambda name: _text(arguments[name]))


def _no_dangling_options(argv: Sequence[str], elements: Sequence[_argv.Element], schema: Arguments) -> None:
    required = schema.get("required", ())
    for place, element in enumerate(elements[1:], 1):
        optional = [name for name in element.names if name not in required]
        before = argv[place - 1]
        if optional and not element.literals[0] and before.startswith("-") and before != "--":
            raise ValueError(
                f"argv[{place}]: {{{optional[0]}}} may be left out, and {before!r} would take what follows for its value; "
                f"write both in one element, such as '{before}={{{optional[0]}}}', or put '--' between them"
            )


def _segment(name: str, value: object) -> str:
    if value is None or isinstance(value, list | dict):
        raise _refused(name, "must be a text or a number, for it is a part of a path")
    text = _text(value)
    if text in ("", ".", "..") or _NO_SEGMENT.search(text):
        raise _refused(
            name, "must be one segment of a path: not empty, not . or .., without slashes and control characters"
        )
    try:
        return quote(text, safe="")
    except UnicodeError:
        raise _refused(name, "must be Unicode text") from None


def _pairs(name: str, value: object) -> list[tuple[str, str]]:
    values = value if isinstance(value, list) else [value]
    return [(name, _text(item)) for item in values if item is not None]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _known(places: Sequence[str], schema: Arguments, option: str) -> None:
    for place in places:
        if place not in schema.get("properties", {}):
            raise ValueError(f"{option}: {{{place}}} is not one of the parameters")


def _object(call: Call, name: str) -> dict[str, Any]:
    try:
        arguments = call.input.json()
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise AgentError(f"tool {name!r} takes a JSON object of arguments", reason=INPUT_INVALID)
    return arguments


def _with(name: str, check: Check, fill: Callable[[Arguments], object]) -> Check:
    """Also tries the arguments out: what cannot be sent never starts."""

    def checked(arguments: Arguments, /) -> Arguments:
        fitting = check(arguments)
        try:
            fill(fitting)
        except AgentError as error:
            said = error.message.partition("; in the agent's argv")[0]  # what follows is for the author
            raise ArgumentsInvalid(
                f"the arguments of {name} are wrong: {said}. Put them right and call the tool again."
            ) from error
        return fitting

    return checked


def _refused(name: str, rule: str) -> AgentError:
    return AgentError(f"{name}: {rule}", reason=INPUT_INVALID, details={"parameter": name})


def _explained(outcome: Outcome) -> str:
    """What came back; of a failure also what the service or program said, which often tells how to ask better."""
    failure = outcome.failure
    if failure is None:
        return (outcome.output or EMPTY).text
    said = {
        key: failure.details[key] for key in ("http_status", "body", "exit_code", "stderr") if key in failure.details
    }
    return json.dumps({"error": failure.reason, "message": failure.message, **said}, ensure_ascii=False)
