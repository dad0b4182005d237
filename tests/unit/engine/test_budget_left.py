"""What a call is told of the budgets around it."""

from typing import Any

from trio.testing import MockClock

import motet
from motet import Call, Group, Limits, Usage


async def test_a_call_knows_what_the_narrowest_budget_around_it_has_not_spent(autojump_clock: MockClock) -> None:
    seen: list[Any] = []

    async def look(call: Call) -> None:
        seen.append((call.left("cost_nanos"), call.left("tokens")))
        call.spend(Usage(calls=1, cost_nanos=300, input_tokens=20))

    agent = motet.FunctionAgent(look, estimated_cost_nanos=300)
    group = Group("g", [motet.Member(agent, replicas=2)], max_parallel=1, limits=Limits(max_cost_nanos=700))
    async with motet.open_engine() as engine:
        await engine.run(group, limits=Limits(max_cost_nanos=1000, max_tokens=100))
        await engine.run(Group("free", [agent]))
    assert seen == [(700, 100), (400, 80), (None, None)]
