"""What a group's aggregation asks agents before it can answer: run as a group of its own, in the asking group's name."""

import logging
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
_log = logging.getLogger("motet.engine")


class Asking:
    """The questions of one group's aggregation, round after round, until it answers."""

    def __init__(self, group: "GroupExecution") -> None:
        self._group = group
        self._current: RunExecution | None = None
        self._cause: StopCause | None = None
        self._rounds = 0
        self.results: tuple[GroupResult, ...] = ()
        """The groups of questions so far."""
        self.beside: tuple[GroupResult, ...] = ()
        """The last of them when the answer did not depend on it."""

    def stop(self, cause: StopCause) -> None:
        """Stop the questions that run, and let those that would follow be skipped."""
        if self._cause is None:
            self._cause = cause
            if self._current is not None:
                self._current.stop(cause)

    async def settle(self, answer: Answer) -> Payload | Failure:
        """Ask until the aggregation has answered."""
        for _ in range(MAX_ROUNDS):
            if not isinstance(answer, Ask):
                return answer
            try:
                answer = await self._round(answer)
            except MotetError as error:
                return Failure(reason.AGGREGATION_FAILED, f"the aggregation asked wrongly: {error.message}")
            except Exception as error:  # noqa: BLE001 - an aggregation is foreign code; its failure is a result
                return aggregation_failed(error)
        return Failure(reason.AGGREGATION_FAILED, f"the aggregation asked {MAX_ROUNDS} times and did not answer")

    async def ask_beside(self, ask: Ask) -> None:
        """Ask what the answer does not depend on. What comes of it is in the results, and is told to the asker."""
        before = self.results
        try:
            await self._round(ask)
        except MotetError as error:
            _log.warning("%s was not asked: %s", ask.purpose, error.message)
        finally:
            self.beside = self.results[len(before) :]
            self.results = before

    async def _round(self, ask: Ask) -> Answer:
        self._rounds += 1
        number = self._rounds
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
