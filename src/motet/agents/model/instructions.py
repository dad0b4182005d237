"""What a model is told before the conversation: literal text, a template, or a function of the state. Knows no model."""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from motet.agents.model.reasons import INSTRUCTIONS_FAILED
from motet.errors import AgentError
from motet.model.payload import Payload
from motet.model.session import SessionEntry
from motet.ports import Call

MAX_INSTRUCTIONS: Final = 256 * 1024
"""Bytes of UTF-8 that instructions may have once they are made: some 60,000 tokens, more than most models read."""

_PLACEHOLDER: Final = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """What instructions and guardrails know of the call they are for."""

    input: Any = ""
    """The call's input: text, decoded JSON or bytes."""
    text: str = ""
    """The input as text; bytes that are not UTF-8 with replacement characters."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[SessionEntry] = ()
    """What the session remembers, oldest first."""
    session_id: str = ""
    run_id: str = ""
    group: str = ""
    member: str = ""
    """Instance name of the model agent's seat."""
    turn: int = 1
    """From 1: the turn that is about to be taken, or, of an answer, the one that gave it."""
    agent: str = ""
    """Name of the model agent."""
    model: str = ""

    @classmethod
    def of(
        cls, call: Call, *, agent: str = "", model: str = "", turn: int = 1, history: Sequence[SessionEntry] = ()
    ) -> "ModelState":
        """The state of a call. It shares nothing with the call: values are copies."""
        payload = call.input
        return cls(
            input=payload.value,
            text=payload.data.decode(errors="replace") if payload.kind == "data" else payload.text,
            variables=call.variables,
            history=tuple(history),
            session_id=call.session_id,
            run_id=call.run_id,
            group=call.group,
            member=call.member,
            turn=turn,
            agent=agent,
            model=model,
        )


class Template:
    """Instructions with blanks: jinja2, in its sandbox.

    The call's variables are names in it; `input` is the call's input and `state` the ModelState, whatever variables are
    called. A name that is not there is an error, never an empty text. A line that holds only a `{% block %}` leaves no
    line behind. Other templates cannot be included, and values cannot be changed.

    A template is its author's, not the caller's: what callers send arrives as values and is never read as a template.
    Against mistakes one rendering is bounded to 100,000 steps (rounds of loops and calls) and 256 KiB, intermediate texts
    included. What a single filter makes, such as `center` with a huge width, is not bounded: do not take templates
    from strangers.

    Raises ValueError for a mistake in the syntax, with its line, and when jinja2 is not installed.
    """

    __slots__ = ("_render", "syntax", "text")

    def __init__(self, text: str) -> None:
        from motet.agents.model._template import compiled  # noqa: PLC0415 - jinja2 is an extra, and slow to load

        self.text: str = text
        self.syntax: str = "jinja"
        """`jinja`, or of one made by `shell` that or `shell-lenient`: with `text`, all that an answer depends on."""
        self._render: Callable[[ModelState], str] = compiled(text)

    @classmethod
    def shell(cls, text: str, *, strict: bool = True) -> "Template":
        """A text whose `${name}` are replaced by variables of the call: text as it is, anything else as JSON.

        There is no more syntax than that. A name that is no variable is an error, or, with `strict=False`, left as it
        stands.
        """
        made = cls.__new__(cls)
        made.text = text
        made.syntax = "shell" if strict else "shell-lenient"

        def fill(state: ModelState) -> str:
            def value_of(found: re.Match[str]) -> str:
                if found[1] in state.variables:
                    return Payload.of(state.variables[found[1]]).text
                if strict:
                    raise LookupError(f"there is no variable {found[1]!r}")
                return found[0]

            return _PLACEHOLDER.sub(value_of, text)

        made._render = fill  # noqa: SLF001 - its own
        return made

    def __repr__(self) -> str:
        return f"<Template {self.text[:40]!r}>"

    def render(self, state: ModelState) -> str:
        """The text for one call. Raises whatever the template does: `render` of the module names it."""
        return self._render(state)


Instructions: TypeAlias = str | Template | Callable[[ModelState], str | Awaitable[str]]
"""A str is literal text: braces in it mean nothing."""


async def render(instructions: Instructions, state: ModelState) -> str:
    """The instructions of one call.

    A plain function is called where the agent runs, so it must not block; an async one is awaited. Raises AgentError with
    INSTRUCTIONS_FAILED, which names the variable that is missing or the exception; an AgentError of the function's
    own goes through as it is.
    """
    try:
        text = await _rendered(instructions, state)
    except AgentError:
        raise
    except Exception as error:
        kind = "template" if isinstance(instructions, Template) else "function"
        told = str(error) or type(error).__name__
        raise _failed(
            f"the {kind} failed: {type(error).__name__}: {told}", state, error=type(error).__name__
        ) from error
    if not isinstance(text, str):
        raise _failed(f"the function returned {type(text).__name__} where a str was expected", state)
    # Encoding is the dear part: a text that is short in characters cannot be too long in bytes.
    if len(text) * 4 > MAX_INSTRUCTIONS and len(text.encode(errors="replace")) > MAX_INSTRUCTIONS:
        raise _failed(f"they are longer than {MAX_INSTRUCTIONS} bytes; make them shorter", state)
    return text


async def _rendered(instructions: Instructions, state: ModelState) -> Any:
    if isinstance(instructions, str):
        return instructions
    if isinstance(instructions, Template):
        return instructions.render(state)
    made = instructions(state)
    return await made if inspect.isawaitable(made) else made


def _failed(why: str, state: ModelState, **details: str) -> AgentError:
    return AgentError(
        f"the instructions of {state.agent or 'the agent'} could not be made: {why}",
        reason=INSTRUCTIONS_FAILED,
        details=details,
    )
