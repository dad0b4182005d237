"""What a group's aggregation asks agents before it can answer: run as a group of its own, in the asking group's name."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from motet.engine.causes import StopCause
from motet.engine.deciding import aggregation_failed
from motet.errors import MotetError
from motet.model import reason
from motet.model.outcome import Failure, Outcome
from motet.model.payload import Payload
from motet.model.plan import Aggregation, Group
from motet.model.result import GroupResult
from motet.model.run import RunRequest
from motet.ports import Answer, Ask

if TYPE_CHECKING:
    from motet.engine.group import GroupExecution
    from motet.engine.run import RunExecution

MAX_ROUNDS = 100
"""Questions after questions. A rule that goes on asking for ever must not keep a run going for ever."""


class Asking:
    """The questions of one group's aggregation, round after round, until it answers."""

    def __init__(self, group: "GroupExecution") -> None:
        self._group = group
        self._current: RunExecution | None = None
        self._cause: StopCause | None = None
        self.results: tuple[GroupResult, ...] = ()
        """The groups of questions so far."""

    def stop(self, cause: StopCause) -> None:
        """Stop the questions that run, and let those that would follow be skipped."""
        if self._cause is None:
            self._cause = cause
            if self._current is not None:
                self._current.stop(cause)

    async def settle(self, answer: Answer) -> Payload | Failure:
        """Ask until the aggregation has answered."""
        for number in range(1, MAX_ROUNDS + 1):
            if not isinstance(answer, Ask):
                return answer
            try:
                answer = await self._round(answer, number)
            except MotetError as error:
                return Failure(reason.AGGREGATION_FAILED, f"the aggregation asked wrongly: {error.message}")
            except Exception as error:  # noqa: BLE001 - an aggregation is foreign code; its failure is a result
                return aggregation_failed(error)
        return Failure(reason.AGGREGATION_FAILED, f"the aggregation asked {MAX_ROUNDS} times and did not answer")

    async def _round(self, ask: Ask, number: int) -> Answer:
        group = self._group
        path = f"{group.parent}/{group.name}/@" if group.parent else f"{group.name}/@"
        rule = Aggregation("combine", early_stop=False)
        questions = Group(ask.purpose, ask.members, rule, max_parallel=ask.max_parallel)
        request = RunRequest(target=questions, variables=group.variables, session_id=group.run.session_id)
        run = group.run.nested(request, group, path if number == 1 else f"{path}#{number}", group.deadline, group.whose)
        self._current = run
        if self._cause is not None:
            run.stop(self._cause)
        try:
            await run.execute()
        finally:
            self._current = None
            if run.result is not None:
                self.results += run.result.groups
        return ask.then(self.results[-1].outcomes)


def all_outcomes(outcomes: Sequence[Outcome], asked: Sequence[GroupResult]) -> list[Outcome]:
    """Those of the members, and those of the questions."""
    return [*outcomes, *(outcome for group in asked for outcome in group.outcomes)]
