"""What every agent promises, as tests: subclass `AgentContract` as `Test...` beside the agent. Needs pytest, pytest-trio."""
# ruff: noqa: S101 - asserting is what a contract suite does

import math
from typing import ClassVar

import pytest
import trio
import trio.testing

from motet.errors import AgentError
from motet.model.agent import Reply
from motet.model.payload import Payload
from motet.ports import Agent
from motet.testing.fakes import make_call


class AgentContract:
    """Tests of one kind of agent. The subclass says how to make them."""

    grace: ClassVar[float] = 10.0
    """Seconds, in trio's time, within which a cancelled call ends."""
    input: ClassVar[object] = "hello"
    """What `make_agent` answers."""

    def make_agent(self) -> Agent:
        """An agent that answers `input`, any number of calls at once."""
        raise NotImplementedError

    def make_slow_agent(self) -> Agent:
        """An agent whose call ends within the test by a cancellation only."""
        raise NotImplementedError

    def make_failing_agent(self) -> Agent | None:
        """An agent whose call fails with an AgentError; None when the kind has no such failure."""
        return None

    async def test_it_is_an_agent_with_a_card(self) -> None:
        agent = self.make_agent()
        assert isinstance(agent, Agent)
        assert agent.info.name
        assert agent.info == agent.info

    async def test_it_replies_with_a_payload(self) -> None:
        agent = self.make_agent()
        reply = await agent.call(make_call(self.input))
        assert isinstance(reply, Reply)
        assert isinstance(reply.output, Payload)
        await _close(agent)

    async def test_it_serves_calls_at_the_same_time_and_again(self) -> None:
        agent = self.make_agent()
        replies: list[Reply] = []

        async def one() -> None:
            replies.append(await agent.call(make_call(self.input)))

        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(one)
        assert len(replies) == 6
        assert all(isinstance(reply.output, Payload) for reply in replies)
        await _close(agent)

    async def test_it_lets_a_cancellation_through_within_its_grace(self) -> None:
        agent = self.make_slow_agent()
        returned: list[Reply] = []
        asked = math.inf

        async def slow() -> None:
            returned.append(await agent.call(make_call(self.input)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow)
            await trio.testing.wait_all_tasks_blocked()
            asked = trio.current_time()
            nursery.cancel_scope.cancel()
        assert not returned, "the cancelled call returned a reply"
        assert trio.current_time() - asked <= self.grace
        await _close(agent)

    async def test_it_is_usable_after_a_cancelled_call(self) -> None:
        agent = self.make_agent()
        with trio.CancelScope() as scope:
            scope.cancel()
            await agent.call(make_call(self.input))
        assert isinstance(await agent.call(make_call(self.input)), Reply)
        await _close(agent)

    async def test_its_failures_have_a_reason_and_a_sentence(self) -> None:
        agent = self.make_failing_agent()
        if agent is None:
            pytest.skip("this kind of agent has no failure of its own")
        with pytest.raises(AgentError) as caught:
            await agent.call(make_call(self.input))
        assert caught.value.reason == caught.value.reason.upper()
        assert caught.value.message
        await _close(agent)


async def _close(agent: Agent) -> None:
    close = getattr(agent, "aclose", None)
    if close is not None:
        await close()
