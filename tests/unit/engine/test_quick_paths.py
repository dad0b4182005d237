"""What the engine does quickly is what it would do at length: windows, calls, courses of guards."""

from collections.abc import Sequence
from typing import Any

import trio
from hypothesis import given
from hypothesis import strategies as st

import motet
from motet.engine.admission import Admission
from motet.engine.profile import WINDOW, Window
from motet.model.agent import AgentInfo, AgentKind
from motet.ports import Call, Guard


@given(values=st.lists(st.floats(0, 100), max_size=2 * WINDOW), asked=st.integers(0, 2 * WINDOW))
def test_a_window_tells_the_same_whenever_it_was_first_asked(values: list[float], asked: int) -> None:
    late, early = Window(), Window()
    for place, value in enumerate(values):
        if place == asked:
            early.quantile(0.5)
        late.add(value)
        early.add(value)
    assert [late.quantile(share) for share in (0, 0.5, 0.95, 1)] == [
        early.quantile(share) for share in (0, 0.5, 0.95, 1)
    ]


async def test_a_members_call_has_every_field_of_a_call() -> None:
    seen: dict[str, Any] = {}

    async def look(call: Call) -> str:
        seen.update({name: getattr(call, name) for name in Call.__slots__})
        assert call.idempotency_key.endswith("/g/look")
        return str(call.variables["who"])

    async with motet.open_engine() as engine:
        group = motet.Group("g", [motet.FunctionAgent(look)], aggregation="first", preserve_session=True)
        result = await engine.run(group, "x", variables={"who": "me"}, session_id="s")
    assert result.unwrap() == "me"
    assert (seen["input"].text, seen["run_id"], seen["group"], seen["member"]) == ("x", result.run_id, "g", "look")
    assert (seen["session_id"], seen["attempt"], seen["depth"], seen["detached"]) == ("s", 1, 0, "")


class OnlyFor(Guard):
    """Looks at starts of one agent."""

    def __init__(self, agent: str) -> None:
        self._agent = agent

    def concerns(self, agent: AgentInfo, tenant: str, *, repeats: bool) -> bool:
        return agent.name == self._agent


async def test_agents_that_concern_the_same_guards_share_their_course() -> None:
    every, a, b = Guard(), OnlyFor("a"), OnlyFor("b")

    def guards_for(name: str, *scopes: Guard) -> Sequence[Guard]:
        card = AgentInfo(name=name, kind=AgentKind.FUNCTION)
        return admission.course(card, "", scopes, repeats=False).guards

    async with trio.open_nursery() as nursery:
        admission = Admission([a, every, b], nursery)
        assert guards_for("a") == (a, every)
        assert guards_for("b") == (every, b)
        assert guards_for("c") is guards_for("d")
        scope = Guard()
        assert guards_for("a", scope) == (scope, a, every)
        assert guards_for("a") == (a, every)
