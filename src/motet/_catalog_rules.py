"""Rules that a catalog adds under names of its own, and what their options may hold. Must not know files, nor what any
rule does with its options."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from motet.model.agent import AgentInfo
from motet.ports import Aggregator, AggregatorType, RuleBook

MAX_DEPTH: Final = 100
"""Deepest nesting of options that is looked into."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A rule with its options, under a name of its own. The rule is looked up when it is made, so that it may be added
    later. Takes no options."""

    name: str
    rule: str
    """A name that the catalog knows: of a built-in rule, one that was added, or another preset."""
    options: Mapping[str, Any]
    said: str
    """The description that it was given; empty means the rule's own."""
    known: Mapping[str, AggregatorType]
    """The catalog's rules, a live view."""

    @property
    def description(self) -> str:
        base = self._base()
        return self.said or (base.description if base is not None else "")

    @property
    def options_schema(self) -> Mapping[str, Any]:
        return {}

    @property
    def decides_early(self) -> bool:
        base = self._base()
        return base is not None and base.decides_early

    def make(self, options: Mapping[str, Any], book: RuleBook, /) -> Aggregator:
        from motet.aggregate.custom import PresetRule  # noqa: PLC0415 - only when a catalog has such a rule

        base = book.aggregations.get(self.rule)
        if base is None:
            from motet._catalog_check import suggestion  # noqa: PLC0415 - needed only for a mistake

            raise ValueError(f"rule: there is no aggregation {self.rule!r}{suggestion(self.rule, book.aggregations)}")
        return PresetRule(self.name, base, self.options, self.description).make(options, book)

    def _base(self) -> AggregatorType | None:
        """The rule at the end of a chain of presets; None when there is none, or when the chain is a ring."""
        *_, last = presets(self)
        base = self.known.get(last.rule)
        return None if isinstance(base, Preset) else base


def presets(rule: AggregatorType | None) -> "Iterator[Preset]":
    """The rule and those that it is made of, as far as they are presets; each once."""
    seen: set[str] = set()
    while isinstance(rule, Preset) and rule.name not in seen:
        seen.add(rule.name)
        yield rule
        rule = rule.known.get(rule.rule)


def preset_options(rule: AggregatorType | None) -> Iterator[Mapping[str, Any]]:
    """The options that presets give; none for other rules."""
    return (preset.options for preset in presets(rule))


@dataclass(frozen=True, slots=True)
class Absent:
    """Stands for a rule whose table is wrong, so that what refers to it is not blamed."""

    name: str
    description: str = ""
    decides_early: bool = False

    @property
    def options_schema(self) -> Mapping[str, Any]:
        return {}

    def make(self, _options: Mapping[str, Any], book: RuleBook, /) -> Aggregator:
        return book.aggregations["combine"].make({}, book)


def absent(*_args: object, **_named: object) -> None:
    """Stands for a function that could not be loaded, so that what refers to it is not blamed."""


def as_json(value: object, depth: int = 0) -> object:
    """The options with agents and functions, which only Python can give, replaced by their names."""
    if depth > MAX_DEPTH:
        raise ValueError("they are nested too deep")
    if isinstance(value, Mapping):
        return {key: as_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item, depth + 1) for item in value]
    card = card_of(value)
    if card is not None:
        return card.name
    return getattr(value, "__name__", type(value).__name__) if callable(value) else value


def agents_in(value: object, depth: int = 0) -> Iterator[object]:
    """The agents that options hold themselves, in place of their names."""
    if card_of(value) is not None:
        yield value
    elif depth <= MAX_DEPTH and isinstance(value, Mapping | list | tuple):
        items: Sequence[object] = list(value.values()) if isinstance(value, Mapping) else value
        for item in items:
            yield from agents_in(item, depth + 1)


def card_of(value: object) -> AgentInfo | None:
    """The card of an agent; None for everything else."""
    info = getattr(value, "info", None)
    return info if isinstance(info, AgentInfo) else None
