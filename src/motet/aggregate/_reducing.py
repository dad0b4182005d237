"""What the rules that hand outcomes on share: outputs as texts, fair cuts, rules made of other rules, questions to one
agent and what answers when it fails. Pure; knows no single rule."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from motet.aggregate._common import MAX_LISTED, json_text
from motet.aggregate._select import Selected, problem_of
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload, parse_json
from motet.model.plan import Member
from motet.ports import Agent, Aggregator, AggregatorType, Answer, Ask, Roster, RuleBook, Tally

CUT: Final = " [...]"
"""Marks a text that was cut; counted in its length."""
MAX_MESSAGE: Final = 1000
"""Characters of a failure's message that are told to an agent."""
REDUCER_FAILED: Final = "REDUCER_FAILED"
"""The agent that was to make the answer gave none."""
NO_TEXTS: Final = "NO_TEXTS"
"""Members succeeded, but no output has what the rule was told to look at."""


# ------------------------------------------------------------------------------------------------------------ tallies


class AtTheEnd:
    """A tally that needs every outcome, and looks at none before."""

    __slots__ = ("_answer",)

    def __init__(self, answer: Callable[[Sequence[Outcome]], Answer]) -> None:
        self._answer = answer

    def add(self, _index: int, _outcome: Outcome, /) -> bool:
        return False

    def answer(self, outcomes: Sequence[Outcome]) -> Answer:
        return self._answer(outcomes)


@dataclass(frozen=True, slots=True)
class Made:
    """A rule with its options, made by another rule's."""

    name: str
    kind: AggregatorType
    aggregator: Aggregator


def make_rule(given: Any, book: RuleBook, option: str) -> Made:
    """The rule that an option names: its name, or `{name, ...options}`. Raises ValueError, naming the option."""
    options = {"name": given} if isinstance(given, str) else given
    if not isinstance(options, Mapping) or not isinstance(options.get("name"), str):
        raise ValueError(f"{option}: must be the name of an aggregation, or an object with name and its options")  # noqa: TRY004 - a rule's wrong options are ValueErrors
    name = options["name"]
    kind = book.aggregations.get(name)
    if kind is None:
        raise ValueError(
            f"{option}: there is no aggregation {name!r}; there are: {', '.join(sorted(book.aggregations))}"
        )
    try:
        return Made(name, kind, kind.make({key: value for key, value in options.items() if key != "name"}, book))
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from None
    except RecursionError:
        raise ValueError(f"{option}: rules are nested too deep in each other") from None


# ------------------------------------------------------------------------------------------------------------- agents


def agent_names(*agents: str | Agent | None) -> tuple[str, ...]:
    """Those that the catalog has to know."""
    return tuple(agent for agent in agents if isinstance(agent, str))


def ask_one(
    purpose: str, agent: str | Agent, document: Payload, timeout: float | None, then: Callable[[Outcome], Answer]
) -> Ask:
    """One question to one agent."""
    member = Member(agent, input=document, timeout=timeout)
    return Ask(purpose=purpose, members=(member,), then=lambda outcomes: then(outcomes[0]))


def reducer_failed(outcome: Outcome) -> Failure:
    """Why there is no answer when the agent that was to make it gave none."""
    failure = outcome.failure or Failure(outcome.state.value, "it has no output")
    return Failure(
        REDUCER_FAILED,
        f"{outcome.agent}, which was to make the answer, gave none: {failure.message}; every outcome is kept",
        {
            "agent": outcome.agent,
            "state": outcome.state.value,
            "reason": failure.reason,
            "message": failure.message,
            "details": dict(failure.details),
        },
    )


class Fallback:
    """A rule that answers when the reducer does not. It hears every outcome when the members end, so that it says what
    it would have said alone."""

    def __init__(self, rule: Aggregator, roster: Roster) -> None:
        self._tally: Tally = rule.begin(roster)

    def add(self, index: int, outcome: Outcome) -> None:
        self._tally.add(index, outcome)

    def answer(self, outcomes: Sequence[Outcome], failure: Failure) -> Payload | Failure:
        """Its answer, or the reducer's failure with its own in the details."""
        said = self._tally.answer(outcomes)
        if isinstance(said, Payload):
            return said
        own = said if isinstance(said, Failure) else Failure("ASKED", "a fallback must not ask an agent itself")
        details = {**failure.details, "fallback": {"reason": own.reason, "message": own.message}}
        return Failure(failure.reason, f"{failure.message}; the fallback has no answer either", details)


def make_fallback(given: Any, book: RuleBook) -> Aggregator | None:
    """The rule of the option `fallback`; None when there is none. Raises ValueError for one that asks agents: what
    stands in for an agent must not depend on one."""
    if given is None:
        return None
    made = make_rule(given, book, "fallback")
    if made.aggregator.agents or _holds_agent(given):
        raise ValueError(f"fallback: {made.name} would ask an agent itself; take a rule that asks none")
    return made.aggregator


def _holds_agent(options: Any) -> bool:
    if isinstance(options, Mapping):
        return any(map(_holds_agent, options.values()))
    if isinstance(options, list | tuple):
        return any(map(_holds_agent, options))
    return isinstance(options, Agent) and not isinstance(options, type)


# -------------------------------------------------------------------------------------------------------------- texts


@dataclass(frozen=True, slots=True)
class Said:
    """What a member said, as text."""

    member: str
    text: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Unsaid:
    """A member that succeeded, and why nothing of its output can be told."""

    member: str
    problem: str


def texts_of(
    outcomes: Iterable[Outcome], selector: Callable[[Outcome], Selected] | None
) -> tuple[list[Said], list[Unsaid]]:
    """What the members that succeeded said, in declared order; without a selector documents are kept to the letter."""
    said: list[Said] = []
    unsaid: list[Unsaid] = []
    for outcome in outcomes:
        if not outcome.succeeded or outcome.output is None:
            continue
        if selector is None:
            said.append(Said(outcome.member, payload_text(outcome.output)))
            continue
        selected = selector(outcome)
        if selected.problem:
            unsaid.append(Unsaid(outcome.member, selected.problem))
            continue
        try:
            said.append(Said(outcome.member, _value_text(selected.value)))
        except Exception as error:  # noqa: BLE001 - a value may be anything that a function made; what it does is reported
            unsaid.append(Unsaid(outcome.member, problem_of(error)))
    return said, unsaid


def payload_text(payload: Payload) -> str:
    """Text as it is, JSON as its document, but a JSON string without its quotes; bytes as base64."""
    if payload.kind == "data":
        return base64.b64encode(payload.data).decode("ascii")
    if payload.kind == "json" and payload.text.lstrip()[:1] == '"':
        try:
            value = parse_json(payload.text)
        except ValueError:
            return payload.text
        return value if isinstance(value, str) else payload.text
    return payload.text


def _value_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_answer(value: Any) -> Payload:
    """A JSON value as a payload that UTF-8 can carry, whatever its texts hold."""
    return Payload("json", json_text(Payload.from_json(value)))


def cut_fairly(said: Sequence[Said], *, each: int | None = None, total: int | None = None) -> list[Said]:
    """With at most `each` characters in a text and `total` in all: short texts whole, the others with equal shares of
    what is left."""
    lengths = [len(one.text) if each is None else min(len(one.text), each) for one in said]
    if total is not None:
        left = max(0, total)
        for served, index in enumerate(sorted(range(len(said)), key=lengths.__getitem__)):
            lengths[index] = min(lengths[index], left // (len(said) - served))
            left -= lengths[index]
    return [cut(one, length) for one, length in zip(said, lengths, strict=True)]


def cut(said: Said, most: int) -> Said:
    """With at most `most` characters; a bound that does not hold the mark holds nothing."""
    if len(said.text) <= most:
        return said
    text = said.text[: most - len(CUT)] + CUT if most >= len(CUT) else ""
    return Said(said.member, text, cut=True)


def failed_members(outcomes: Sequence[Outcome], unsaid: Sequence[Unsaid]) -> list[dict[str, str]]:
    """The members without an answer, for an agent to know of, and why: at most `MAX_LISTED`."""
    problems = {one.member: one.problem for one in unsaid}
    listed: list[dict[str, str]] = []
    for outcome in outcomes:
        if len(listed) == MAX_LISTED:
            break
        if outcome.member in problems:
            why, message = "NOT_SELECTED", problems[outcome.member]
        elif not outcome.succeeded:
            why = outcome.failure.reason if outcome.failure else ""
            message = cut(Said("", outcome.failure.message if outcome.failure else ""), MAX_MESSAGE).text
        else:
            continue
        listed.append({"member": outcome.member, "state": outcome.state.value, "reason": why, "message": message})
    return listed


def no_texts(unsaid: Sequence[Unsaid]) -> Failure:
    """The failure of a group whose successes have nothing to tell."""
    return Failure(
        NO_TEXTS,
        f"{len(unsaid)} members succeeded and none has what the rule looks at",
        {"left_out": [{"member": one.member, "problem": one.problem} for one in unsaid[:MAX_LISTED]]},
    )
