"""Types of options that several rules share. Brings pydantic: import it where a model is given, not with a rule."""

from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from motet.ports import Agent


class Options(BaseModel):
    """What every model of options starts from: no unknown option, no text for a number, no NaN."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def _agent(value: Any) -> Any:
    if (isinstance(value, str) and value) or (isinstance(value, Agent) and not isinstance(value, type)):
        return value
    raise ValueError("must be the name of an agent in the catalog")


def _function(value: Any) -> Any:
    if (isinstance(value, str) and value) or callable(value):
        return value
    raise ValueError("must be the name of a function in the catalog")


_NAME: Final = {"type": "string", "minLength": 1}

AgentOption: TypeAlias = Annotated[
    Any, AfterValidator(_agent), WithJsonSchema({**_NAME, "description": "Name of an agent in the catalog."})
]
"""An agent's name or, from Python, the agent."""

FunctionOption: TypeAlias = Annotated[
    Any, AfterValidator(_function), WithJsonSchema({**_NAME, "description": "Name of a function in the catalog."})
]
"""A function's name or, from Python, the function."""

Seconds: TypeAlias = Annotated[float, Field(gt=0)]
"""A bound of time."""


class Selector(Options):
    """What to look at in an output: at most one, as `make_selector` takes them."""

    field: str | None = None
    """RFC 6901 pointer into the output's JSON value; "" is the whole."""
    expression: str | None = None
    """CEL over `output`, `member` and `agent`."""
    function: FunctionOption | None = None
    """Called with the output's value."""
