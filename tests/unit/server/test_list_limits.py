"""ListLimits tells the engine's limits in one order, with how many wait; the engine picks those of a tenant."""

from types import SimpleNamespace
from typing import Any

import pytest

from motet.errors import InvalidRequest
from motet.model.limit_use import LimitUse
from motet_proto.v1.run_service_pb2 import ListLimitsRequest, ListLimitsResponse
from motet_server.services.gate import Gate
from motet_server.services.intake import Intake
from motet_server.services.run import RunService

NO_CONTEXT: Any = SimpleNamespace(caller=None)


class LimitedEngine:
    """Knows limits and nothing else."""

    def __init__(self, *uses: LimitUse) -> None:
        self._uses = uses
        self.asked: list[str] = []

    def limits(self, tenant: str = "") -> tuple[LimitUse, ...]:
        self.asked.append(tenant)
        return self._uses

    def statistics(self) -> Any:
        return SimpleNamespace(width_waiters=7)


async def ask(engine: Any, tenant: str = "", *, gate: Gate | None = None) -> ListLimitsResponse:
    service = RunService(engine, gate or Gate(), Intake())
    return await service.list_limits(ListLimitsRequest(tenant=tenant), NO_CONTEXT)


async def test_limits_come_by_scope_then_name_then_guard_and_what() -> None:
    uses = [
        LimitUse(guard="rate", scope="agent", name="b", what="tokens"),
        LimitUse(guard="rate", scope="agent", name="b", what="calls"),
        LimitUse(guard="quota", scope="tenant", name="acme", what="calls"),
        LimitUse(guard="breaker", scope="agent", name="b", what="failures"),
        LimitUse(guard="capacity", scope="engine", what="running"),
        LimitUse(guard="rate", scope="agent", name="a", what="calls"),
    ]
    answer = await ask(LimitedEngine(*uses))
    assert [(use.scope, use.name, use.guard, use.what) for use in answer.uses] == [
        ("agent", "a", "rate", "calls"),
        ("agent", "b", "breaker", "failures"),
        ("agent", "b", "rate", "calls"),
        ("agent", "b", "rate", "tokens"),
        ("engine", "", "capacity", "running"),
        ("tenant", "acme", "quota", "calls"),
    ]
    assert answer.waiting == 7


async def test_the_tenant_is_handed_to_the_engine() -> None:
    engine = LimitedEngine()
    assert not (await ask(engine, "acme")).uses
    await ask(engine)
    assert engine.asked == ["acme", ""]


async def test_a_tenant_that_no_run_could_have_is_refused() -> None:
    engine = LimitedEngine()
    with pytest.raises(InvalidRequest, match="tenant: must be at most 128 characters"):
        await ask(engine, "x" * 129)
    assert not engine.asked


async def test_limits_can_be_looked_at_while_the_server_drains() -> None:
    gate = Gate()
    gate.close()
    assert (await ask(LimitedEngine(), gate=gate)).waiting == 7
