"""The table of a model agent in a catalog file, and the agent made of it but for what it refers to: tools, handoffs and
guardrails, which `_catalog_tools` adds once every table is read."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from motet._catalog_bounds import BreakerTable, LimitsTable, RateTable, RetryTable
from motet._catalog_build import load_callable
from motet._catalog_schema import AgentTable
from motet._catalog_values import Duration, Json, Table, Text
from motet._reference import BadReference, load_reference
from motet.model.chat import Sampling
from motet.model.checks import limits_problems, retry_problems
from motet.ports import Agent, Provider

if TYPE_CHECKING:
    from motet.agents.model.instructions import Instructions

_Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
_Penalty = Annotated[float, Field(allow_inf_nan=False)]
_Problems = list[tuple[str, str]]
_TEMPLATES: Final = (".j2", ".jinja", ".jinja2")
"""How the names of files end that are templates."""
_INSTRUCTIONS: Final = ("instructions", "instructions_template", "instructions_file", "instructions_function")
_OUTPUTS: Final = ("output_schema", "output_type")
_REFERENCES: Final = ("tools", "handoffs", "input_guardrails", "output_guardrails")
_MOST_BYTES: Final = 1024 * 1024
"""Of a file with instructions or a schema."""


def _form(value: object) -> str:
    # In brackets, so that the place of a mistake does not name it.
    return "[text]" if isinstance(value, str) else "[table]"


class ToolTable(Table):
    """One of `tools`: exactly one of the first four."""

    agent: str = ""
    group: str = ""
    function: str = ""
    mcp: str = ""
    name: str | None = None
    description: str = ""
    timeout: Duration | None = None
    input_schema: dict[str, Json] | None = None
    tools: list[Text] | None = None


class GuardrailTable(Table):
    """One of the guardrails: either of the first two."""

    agent: str = ""
    function: str = ""
    name: str = ""
    timeout: Duration | None = None
    thread: bool = False


ToolEntry = Annotated[Annotated[str, Tag("[text]")] | Annotated[ToolTable, Tag("[table]")], Discriminator(_form)]
GuardrailEntry = Annotated[
    Annotated[str, Tag("[text]")] | Annotated[GuardrailTable, Tag("[table]")], Discriminator(_form)
]


class SamplingTable(Table):
    """How a model writes: keys of the agent, and of a fallback."""

    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_output_tokens: _Count | None = None
    stop: Annotated[list[str], AfterValidator(tuple)] = Field(default_factory=list)
    seed: int | None = None
    presence_penalty: _Penalty | None = None
    frequency_penalty: _Penalty | None = None
    parallel_tool_calls: bool | None = None
    tool_choice: str = ""
    extra: dict[str, Json] = Field(default_factory=dict)


class FallbackTable(SamplingTable):
    """One of `fallbacks`."""

    provider: str
    model: Annotated[str, Field(min_length=1)]


class ModelTable(AgentTable, SamplingTable):
    """kind = "model"."""

    provider: str = ""
    model: str = ""
    instructions: str | None = None
    instructions_template: str | None = None
    instructions_file: Text | None = None
    instructions_function: str | None = None
    tools: list[ToolEntry] = Field(default_factory=list)
    output_schema: Json = None
    output_type: str | None = None
    max_turns: _Count = 10
    input_guardrails: list[GuardrailEntry] = Field(default_factory=list)
    output_guardrails: list[GuardrailEntry] = Field(default_factory=list)
    handoffs: list[str] = Field(default_factory=list)
    fallbacks: list[FallbackTable] = Field(default_factory=list)
    limits: LimitsTable | None = None
    retry: RetryTable | None = None
    turn_timeout: Duration | None = None
    tool_timeout: Duration | None = None
    max_parallel_tools: _Count | None = None
    stream: bool = True
    history: Literal["own", "all", "none"] = "own"
    max_parallel: _Count | None = None
    rate: RateTable | None = None
    weight: float = 1.0
    breaker: BreakerTable | None = None


def build_model(
    name: str, given: Mapping[str, Any], folder: Path, find: Callable[[str], Provider | str], problems: _Problems
) -> Agent | None:
    """The agent of what a table says, without what it refers to; None after adding to `problems`.

    `find` gives a sentence in place of a provider that cannot be asked; empty when that is not the agent's fault.
    """
    from motet.agents.model.agent import ModelAgent  # noqa: PLC0415 - only when a file has such an agent
    from motet.agents.model.choice import ModelChoice  # noqa: PLC0415 - as above
    from motet.agents.model.limits import unfit  # noqa: PLC0415 - as above

    before = len(problems)
    taken = {*_INSTRUCTIONS, *_OUTPUTS, *_REFERENCES, *SamplingTable.model_fields, "provider", "fallbacks"}
    options = {key: value for key, value in given.items() if key not in taken}
    options["sampling"] = _sampling(given)
    options["instructions"] = _instructions(given, folder, problems)
    options["output_type"] = _output(given, folder, problems)
    problems += _within("limits", limits_problems(given.get("limits")))
    problems += _within("retry", retry_problems(given.get("retry")))
    if wrong := unfit(given.get("limits")):
        problems.append((f"limits.{wrong}", "is for groups; a model agent is told of tools that failed, and goes on"))
    if given.get("provider") and not given.get("model"):
        problems.append(("model", "is missing; name the model that the provider is to answer with"))
    found: list[Provider | str | None] = [find(given["provider"]) if given.get("provider") else None]
    fallbacks = []
    for table in given.get("fallbacks", ()):
        found.append(find(table.provider))
        said = table.given()
        own = _sampling(said) if said.keys() - {"provider", "model"} else None
        fallbacks.append(partial(ModelChoice, model=table.model, sampling=own))
    for at, each in enumerate(found):
        if isinstance(each, str) and each:
            problems.append((f"fallbacks[{at - 1}].provider" if at else "provider", each))
    services = [each for each in found if not isinstance(each, str)]
    if len(problems) > before or len(services) < len(found):
        return None
    made = [choice(service) for choice, service in zip(fallbacks, services[1:], strict=True)]
    return ModelAgent(name, provider=services[0], fallbacks=made, **options)


def _sampling(given: Mapping[str, Any]) -> Sampling:
    return Sampling(**{key: given[key] for key in SamplingTable.model_fields if key in given})


def _instructions(given: Mapping[str, Any], folder: Path, problems: _Problems) -> "Instructions":
    from motet.agents.model.instructions import Template  # noqa: PLC0415 - only when a file has such an agent

    key = _only_one(_INSTRUCTIONS, given, problems)
    if not key:
        return ""
    if key == "instructions_function":
        made: Instructions = load_callable(key, given[key], folder, problems)
        return made
    text = str(given[key])
    is_template = key == "instructions_template"
    if key == "instructions_file":
        is_template = text.endswith(_TEMPLATES)
        text = _text_of(key, folder / text, problems)
    try:
        return Template(text) if is_template else text
    except ValueError as error:
        problems.append((key, str(error)))
        return ""


def _output(given: Mapping[str, Any], folder: Path, problems: _Problems) -> Any:
    from motet.agents.model.output import OutputType  # noqa: PLC0415 - only when a file has such an agent

    key = _only_one(_OUTPUTS, given, problems)
    if not key:
        return None
    said: Any = given[key]
    before = len(problems)
    try:
        if key == "output_type":
            said = load_reference(said, folder)
        elif isinstance(said, str):
            said = json.loads(_text_of(key, folder / said, problems) or "{}")
        if not isinstance(said, Mapping) and key == "output_schema":
            problems.append((key, "must be a JSON Schema as a table, or the name of a file that holds one"))
        return OutputType.of(said) if len(problems) == before else None
    except (BadReference, ValueError, RecursionError) as error:
        problems.append((key, str(error)))
        return None


def _text_of(key: str, path: Path, problems: _Problems) -> str:
    try:
        if path.stat().st_size > _MOST_BYTES:
            problems.append((key, f"{path} has more than {_MOST_BYTES:,} bytes"))
            return ""
        return path.read_bytes().decode()
    except OSError as error:
        problems.append((key, f"{path} cannot be read: {error.strerror or error}"))
    except UnicodeDecodeError as error:
        problems.append((key, f"{path} is not UTF-8, at byte {error.start}"))
    except ValueError as error:  # a path that no system takes
        problems.append((key, f"is no path: {error}"))
    return ""


def _only_one(keys: tuple[str, ...], given: Mapping[str, Any], problems: _Problems) -> str:
    found = [key for key in keys if given.get(key) is not None]
    for key in found[1:]:
        problems.append((key, f"give either {found[0]} or {key}, not both"))
    return found[0] if found else ""


def _within(at: str, found: Iterable[tuple[str, str]]) -> _Problems:
    return [(f"{at}.{key}" if key else at, message) for key, message in found]
