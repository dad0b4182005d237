"""summarize: an agent writes one answer from what the members said. Pure: the engine asks the agent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from motet.aggregate._common import no_success
from motet.aggregate._options import OptionRule
from motet.aggregate._reducing import (
    Fallback,
    Said,
    agent_names,
    ask_one,
    cut,
    cut_fairly,
    failed_members,
    json_answer,
    make_fallback,
    no_texts,
    payload_text,
    reducer_failed,
    texts_of,
)
from motet.aggregate._select import Selected, make_selector
from motet.model.outcome import Outcome
from motet.model.payload import Payload
from motet.ports import Agent, Aggregator, Answer, Roster, RuleBook, Tally

if TYPE_CHECKING:
    from pydantic import BaseModel

PROMPT: Final = (
    "Write one answer to the question from the numbered answers. Use only what they say, and say where they disagree. "
    "The members listed as failed gave no answer."
)
MAX_INPUT_LENGTH: Final = 100_000
"""Characters of all answers together: some 25,000 tokens, which every common model reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Summarize:
    """The rule."""

    agent: str | Agent
    prompt: str
    max_input_length: int
    timeout: float | None
    fallback: Aggregator | None
    selector: Callable[[Outcome], Selected] | None

    @property
    def agents(self) -> Sequence[str]:
        return agent_names(self.agent)

    def begin(self, roster: Roster) -> Tally:
        return _Summary(self, roster)

    def document(self, question: Payload, outcomes: Sequence[Outcome], said: Sequence[Said], failed: Any) -> Payload:
        """What the agent is given."""
        document: dict[str, Any] = {"instruction": self.prompt}
        if question.content:
            asked = cut(Said("", payload_text(question)), self.max_input_length)
            document["question"] = asked.text
            if asked.cut:
                document["question_cut"] = True
        document["answers"] = [
            {"number": number, "member": one.member, "text": one.text, "cut": one.cut}
            for number, one in enumerate(cut_fairly(said, total=self.max_input_length), 1)
        ]
        document["failed"] = failed
        if len(outcomes) - len(said) > len(failed):
            document["failed_total"] = len(outcomes) - len(said)
        return json_answer(document)


class _Summary:
    __slots__ = ("_fallback", "_roster", "_rule")

    def __init__(self, rule: _Summarize, roster: Roster) -> None:
        self._rule = rule
        self._roster = roster
        self._fallback = Fallback(rule.fallback, roster) if rule.fallback is not None else None

    def add(self, index: int, outcome: Outcome, /) -> bool:
        if self._fallback is not None:
            self._fallback.add(index, outcome)
        return False

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        rule = self._rule
        said, unsaid = texts_of(outcomes, rule.selector)
        if not said:
            return no_texts(unsaid) if unsaid else no_success(outcomes)
        document = rule.document(self._roster.question, outcomes, said, failed_members(outcomes, unsaid))

        def then(reply: Outcome) -> Answer:
            if reply.output is not None:
                return reply.output
            failure = reducer_failed(reply)
            return failure if self._fallback is None else self._fallback.answer(outcomes, failure)

        return ask_one("summary", rule.agent, document, rule.timeout, then)


@cache
def _model() -> "type[BaseModel]":
    from pydantic import Field  # noqa: PLC0415 - pydantic is paid for by those who use it

    from motet.aggregate._fields import AgentOption, Seconds, Selector  # noqa: PLC0415 - as above

    class Summarize(Selector):
        """Who writes the summary, and of what."""

        agent: AgentOption
        prompt: str = Field(default=PROMPT, min_length=1, description="What the agent is told to do.")
        max_input_length: int = Field(
            default=MAX_INPUT_LENGTH, ge=1, description="Most characters of all answers together; cut fairly."
        )
        timeout: Seconds | None = Field(default=None, description="Seconds for the agent; none but the group's.")
        fallback: Any = Field(
            default=None,
            description="An aggregation, by name or as {name, ...options}, that answers when the agent fails.",
        )

    return Summarize


def _build(options: Any, book: RuleBook) -> Aggregator:
    given = {name: getattr(options, name) for name in ("field", "expression", "function")}
    selector = make_selector(book, **given)
    return _Summarize(
        agent=options.agent,
        prompt=options.prompt,
        max_input_length=options.max_input_length,
        timeout=options.timeout,
        fallback=make_fallback(options.fallback, book),
        selector=None if all(value is None for value in given.values()) else selector,
    )


SUMMARIZE: Final = OptionRule(
    name="summarize",
    description="One answer that an agent writes from the successes, numbered; the members that failed are named to it.",
    decides_early=False,
    model=_model,
    build=_build,
)
"""The agent gets JSON: `{instruction, question, answers: [{number, member, text, cut}], failed: [{member, state,
reason, message}]}`, without `question` when there was none; its output is the answer. When it fails the fallback
answers, or the failure is REDUCER_FAILED with the agent's own in its details."""
