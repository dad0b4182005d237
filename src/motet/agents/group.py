"""A group, or a whole plan, as an agent: one seat of a group that is itself run by the engine."""

from collections.abc import Mapping
from typing import Any

from motet.agents._card import checked
from motet.errors import AgentError
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.plan import Plan
from motet.model.reason import GROUP_FAILED
from motet.model.usage import Usage
from motet.ports import Call

_ONE_CALL = Usage(calls=1)
"""The call of the group itself; what its members use is counted where they run."""


class GroupAgent:
    """Runs `target`, a plan or the name of a group in the catalog, one level deeper, and answers with its answer.

    A run without an answer fails the member with the run's own reason; details name each group that failed.
    `timeout` is in seconds, None means no bound of its own.
    """

    def __init__(
        self,
        name: str,
        target: Plan | str,
        *,
        description: str = "",
        timeout: float | None = None,
        labels: Mapping[str, str] | None = None,
        version: str = "",
        replay_safe: bool | None = None,
        estimated_cost_nanos: int | None = None,
    ) -> None:
        self.target = target
        self._info = checked(
            AgentInfo(
                name=name,
                kind=AgentKind.GROUP,
                description=description,
                version=version,
                timeout=timeout,
                replay_safe=replay_safe,
                labels=dict(labels or {}),
                estimated_cost_nanos=estimated_cost_nanos,
                composite=True,
            )
        )

    def __repr__(self) -> str:
        return f"<GroupAgent {self._info.name}>"

    @property
    def info(self) -> AgentInfo:
        return self._info

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return {"target": self.target}

    async def call(self, call: Call, /) -> Reply:
        result = await call.run(self.target)
        if result.succeeded and result.output is not None:
            return Reply(result.output, usage=_ONE_CALL)
        failures = {group.name: group.failure.reason for group in result.groups if group.failure is not None}
        reason, message = GROUP_FAILED, f"the run of {self._info.name!r} has no answer"
        if result.failure is not None:
            reason, message = result.failure.reason, result.failure.message
        raise AgentError(message, reason=reason, details={"group_failures": failures})
