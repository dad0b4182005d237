"""Templates of instructions in jinja2's sandbox, with bounds on what one rendering does. Imported when the first template
is made."""

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

try:
    import jinja2
    from jinja2 import nodes
    from jinja2.exceptions import SecurityError
    from jinja2.runtime import Context
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError:
    raise ValueError("templates need the library that `pip install motet[models]` installs") from None

if TYPE_CHECKING:
    from motet.agents.model.instructions import ModelState

_MAX_STEPS: Final = 100_000  # as many as jinja2's sandbox lets one `range` have
_MAX_SIZE: Final = 256 * 1024
_TOO_LONG: Final = f"the template makes more than {_MAX_SIZE} bytes of text; shorten it"
_MAX_POWER: Final = 10_000
"""Bits of a number that `**` may make."""


class _Work:
    """What one rendering has done so far."""

    __slots__ = ("size", "steps")

    def __init__(self) -> None:
        self.steps = 0
        self.size = 0

    def step(self) -> None:
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise SecurityError(f"the template takes more than {_MAX_STEPS} steps; loop over less")

    def grow(self, size: int) -> None:
        self.size += size
        if self.size > _MAX_SIZE:
            raise SecurityError(_TOO_LONG)


_WORK: Final[ContextVar[_Work | None]] = ContextVar("motet_template_work", default=None)
"""Of the rendering that goes on in this thread; none while a template is compiled."""


def _written(value: Any) -> Any:
    """Sees every value that a template writes, also into a text that it keeps for itself."""
    work = _WORK.get()
    if work is None:
        return value
    text = str(value)
    work.grow(len(text))
    return text


@jinja2.pass_context  # a filter that knows the context is never run while a template is compiled
def _counted(_context: Context, values: Iterable[Any]) -> Iterator[Any]:
    work = _WORK.get()
    for value in values:
        if work is not None:
            work.step()
        yield value


@jinja2.pass_context
def _joined(_context: Context, values: Iterable[Any]) -> str:
    text = "".join(map(str, values))
    work = _WORK.get()
    if work is not None:
        work.grow(len(text))
    return text


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with each loop, call and growing operator counted."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for other in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
            raise jinja2.TemplateSyntaxError("a template cannot use another one", other.lineno)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "motet_counted", [], [], None, None, lineno=loop.lineno)
        for parent in [tree, *tree.find_all(nodes.Node)]:
            _replace_concats(parent)
        return tree.set_environment(self)  # type: ignore[return-value]  # it returns the node itself

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        work = _WORK.get()
        if work is not None:
            work.step()
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator in ("+", "*"):
            _check_growth(operator, left, right)
        elif operator == "%" and isinstance(left, str):
            raise SecurityError("use {{ ... }} or `~` to put texts together: `%` is only for numbers")
        elif operator == "**" and isinstance(left, int) and not left.bit_length() * right <= _MAX_POWER:
            raise SecurityError("the power is too large a number")
        return super().call_binop(context, operator, left, right)


def _replace_concats(parent: nodes.Node) -> None:
    for name, value in parent.iter_fields():
        if isinstance(value, nodes.Concat):
            setattr(parent, name, _joining(value))
        elif isinstance(value, list):
            value[:] = [_joining(each) if isinstance(each, nodes.Concat) else each for each in value]


def _joining(concat: nodes.Concat) -> nodes.Filter:
    listed = nodes.List(concat.nodes, lineno=concat.lineno)
    return nodes.Filter(listed, "motet_joined", [], [], None, None, lineno=concat.lineno)


def _check_growth(operator: str, left: Any, right: Any) -> None:
    work = _WORK.get()
    if work is None:
        return
    sized = [len(side) for side in (left, right) if isinstance(side, str | bytes | list | tuple)]
    if operator == "*" and sized:
        times = right if isinstance(right, int) else left
        work.grow(sized[0] * max(0, times) if isinstance(times, int) else 0)
    elif operator == "+":
        work.grow(sum(sized))


def _environment() -> _Environment:
    made = _Environment(
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # a model reads the text, no browser
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_written,
        loader=None,
    )
    made.filters["motet_counted"] = _counted
    made.filters["motet_joined"] = _joined
    return made


_ENVIRONMENT: Final = _environment()


def compiled(text: str) -> "Callable[[ModelState], str]":
    """What fills the template in for a call. Raises ValueError for a mistake in the syntax."""
    try:
        template = _ENVIRONMENT.from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno} of the template: {error.message}") from None
    except (jinja2.TemplateError, RecursionError) as error:
        raise ValueError(f"the template cannot be used: {error}") from None

    def fill(state: "ModelState") -> str:
        token = _WORK.set(_Work())
        try:
            pieces, size = [], 0
            for piece in template.generate({**state.variables, "input": state.input, "state": state}):
                pieces.append(piece)
                size += len(piece)
                if size > _MAX_SIZE:
                    raise SecurityError(_TOO_LONG)
            return "".join(pieces)
        finally:
            _WORK.reset(token)

    return fill
