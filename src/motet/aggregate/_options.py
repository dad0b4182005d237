"""A rule with options: what they may be is a pydantic model, imported when a rule is made or listed and not before.
Knows nothing of any one rule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from motet.ports import Aggregator, Roster, RuleBook, Tally

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

_SENTENCES: Final = {
    "missing": "is missing",
    "string_type": "must be text",
    "string_unicode": "must be text that UTF-8 can carry",
    "string_too_short": "must not be empty",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "mapping_type": "must be an object",
    "model_type": "must be an object",
    "too_short": "must have {min_length} or more entries",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be {expected}",
    "invalid_key": "must have a name that is text",
}


@dataclass(frozen=True, slots=True)
class Made:
    """A rule made from its options."""

    tally: Callable[[Roster], Tally]
    """Makes one group's tally."""
    agents: Sequence[str] = ()
    """Names of the catalog's agents that it may ask."""

    def begin(self, roster: Roster) -> Tally:
        return self.tally(roster)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionRule:
    """An aggregation that takes options, as a catalog knows it."""

    name: str
    description: str
    decides_early: bool
    """Some options let it decide early; with others it may still wait for all."""
    model: "Callable[[], type[BaseModel]]"
    """Gives the model of the options. Called late, so that pydantic is paid for by those who use it."""
    build: Callable[[Any, RuleBook], Aggregator]
    """Makes the rule from the model's instance. Raises ValueError, naming the option, for what a model cannot see."""

    @property
    def options_schema(self) -> Mapping[str, Any]:
        """JSON Schema of the options."""
        return self.model().model_json_schema()

    def make(self, options: Mapping[str, Any], book: RuleBook, /) -> Aggregator:
        """The rule with these options. Raises ValueError with a sentence for every mistake, joined by `; `, each
        opening with the option's name. No value is quoted: it may be a secret."""
        from pydantic import ValidationError  # noqa: PLC0415 - pydantic is paid for by those who use it

        try:
            checked = self.model().model_validate(dict(options))
        except ValidationError as error:
            raise ValueError(_mistakes(error, self.model())) from None
        return self.build(checked, book)


def _mistakes(error: "ValidationError", model: "type[BaseModel]") -> str:
    found: dict[str, None] = {}
    for detail in error.errors(include_url=False, include_input=False):
        option, sentence = _option(detail["loc"]), _sentence(detail["type"], detail["msg"], detail.get("ctx", {}))
        if detail["type"] == "extra_forbidden":
            sentence = "is not an option"
            if len(detail["loc"]) == 1:
                sentence += f"; there are: {', '.join(sorted(model.model_fields))}"
        # A mistake of the options as a whole names them in its own sentence.
        found[f"{option}: {sentence}" if option else sentence] = None
    return "; ".join(found)


def _sentence(kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind in _SENTENCES:
        # A bound of 0.0 reads as the 0 that it is.
        return _SENTENCES[kind].format(
            **{name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
        )
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _option(location: Sequence[str | int]) -> str:
    """`("criteria", 1, "weight")` as `criteria[1].weight`."""
    name = ""
    for part in location:
        if part != "[key]":
            name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return name
