"""merge: what members said as one text, attributed and bounded in length. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from motet.aggregate._common import no_success
from motet.aggregate._options import OptionRule
from motet.aggregate._reducing import (
    AtTheEnd,
    Said,
    cut,
    cut_fairly,
    json_answer,
    no_texts,
    texts_of,
)
from motet.aggregate._select import Selected, make_selector
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.ports import Aggregator, Roster, RuleBook, Tally

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class _Merge:
    """The rule. All lengths are in characters: Unicode code points."""

    selector: Callable[[Outcome], Selected] | None
    separator: str
    attribution: bool
    max_length: int | None
    max_total_length: int | None

    @property
    def agents(self) -> Sequence[str]:
        return ()

    def begin(self, _roster: Roster) -> Tally:
        return AtTheEnd(self._answer)

    def _answer(self, outcomes: Sequence[Outcome]) -> Payload | Failure:
        said, unsaid = texts_of(outcomes, self.selector)
        if not said:
            return no_texts(unsaid) if unsaid else no_success(outcomes)
        merged, fitted = self._merge(said)
        answer: dict[str, Any] = {
            "merged_text": merged,
            "source_count": len(fitted),
            "total_length": len(merged),
            "cut": [one.member for one in fitted if one.cut],
        }
        if unsaid:
            answer["left_out"] = [{"member": one.member, "problem": one.problem} for one in unsaid]
        return json_answer(answer)

    def _merge(self, said: Sequence[Said]) -> tuple[str, Sequence[Said]]:
        room = None
        if self.max_total_length is not None:
            names = self._joined([Said(one.member, "") for one in said])
            room = self.max_total_length - len(names)
            if room < 0:
                # Not even the names fit.
                merged = cut(Said("", names), self.max_total_length).text
                return merged, [replace(one, text="", cut=True) for one in said]
        fitting = cut_fairly(said, each=self.max_length, total=room)
        return self._joined(fitting), fitting

    def _joined(self, said: Sequence[Said]) -> str:
        return self.separator.join(f"[{one.member}] {one.text}" if self.attribution else one.text for one in said)


@cache
def _model() -> "type[BaseModel]":
    from pydantic import Field  # noqa: PLC0415 - pydantic is paid for by those who use it

    from motet.aggregate._fields import Selector  # noqa: PLC0415 - as above

    class Merge(Selector):
        """What is joined, and how."""

        separator: str = Field(default="\n\n", description="Between the texts.")
        attribution: bool = Field(default=True, description="Each text opens with its member's name: [member] text.")
        max_length: int | None = Field(default=None, ge=1, description="Most characters of each member's text.")
        max_total_length: int | None = Field(default=None, ge=1, description="Most characters of the merged text.")

    return Merge


def _build(options: Any, book: RuleBook) -> Aggregator:
    given = {name: getattr(options, name) for name in ("field", "expression", "function")}
    selector = make_selector(book, **given)
    return _Merge(
        selector=None if all(value is None for value in given.values()) else selector,
        separator=options.separator,
        attribution=options.attribution,
        max_length=options.max_length,
        max_total_length=options.max_total_length,
    )


MERGE: Final = OptionRule(
    name="merge",
    description="The texts of the successes joined in declared order, attributed by member, cut fairly to a length.",
    decides_early=False,
    model=_model,
    build=_build,
)
"""Answers `{merged_text, source_count, total_length, cut}`, where `cut` names the members whose text was cut, and
`left_out` when some output has not what was selected. Under `max_total_length`, names and separators included, short
texts stay whole and long ones share what is left. JSON is joined as its document, bytes as base64."""
