"""Stopping an http call closes its connection, at once and wherever it stands; the server sees it."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from motet.agents.http import HttpAgent
from motet.model.payload import Payload
from motet.ports import Call
from motet.testing import RecordingHost

# Loaded by path: test folders are no packages, so the file has no name to be imported by.
_SPEC = importlib.util.spec_from_file_location(
    "motet_tests_http_peer_of_stops", Path(__file__).parents[1] / "unit" / "agents" / "http_peer.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
http_peer = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(http_peer)


def make_call() -> Call:
    return Call(Payload.of("hello"), host=RecordingHost())


@pytest.mark.parametrize("answered", ["nothing", "head", "part"])
async def test_a_cancelled_call_closes_its_connection_and_the_server_sees_it(answered: str) -> None:
    async with http_peer.open_peer() as peer:
        reached, gone = trio.Event(), trio.Event()

        async def handler(exchange: Any) -> None:
            if answered != "nothing":
                await exchange.start(200, {"content-length": "100"})
            if answered == "part":
                await exchange.data(b"part")
            reached.set()
            await exchange.client_gone()
            gone.set()

        peer.handler = handler
        agent, call = HttpAgent("x", peer.url), make_call()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.call, call)
            await reached.wait()
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        with trio.fail_after(10):
            await gone.wait()
        assert call.stop_detail == "connection closed"
        assert call.detached == ""
        await agent.aclose()


async def test_a_call_cancelled_while_it_waits_for_a_connection_takes_none_and_leaves_its_place() -> None:
    async with http_peer.open_peer() as peer:
        reached, release = trio.Event(), trio.Event()

        async def handler(exchange: Any) -> None:
            reached.set()
            await release.wait()
            await exchange.answer()

        peer.handler = handler
        agent, waiting = HttpAgent("x", peer.url, max_parallel=1), make_call()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(agent.call, make_call())
            await reached.wait()
            async with trio.open_nursery() as queue:
                queue.start_soon(agent.call, waiting)
                await trio.testing.wait_all_tasks_blocked()
                queue.cancel_scope.cancel()
            release.set()
        await agent.call(make_call())
        assert len(peer.requests) == 2
        assert waiting.stop_detail == ""
        await agent.aclose()


async def test_after_many_cancelled_calls_the_agent_has_all_its_connections_again() -> None:
    async with http_peer.open_peer() as peer:
        reached = 0

        async def hang(exchange: Any) -> None:
            nonlocal reached
            reached += 1
            await exchange.client_gone()

        agent = HttpAgent("x", peer.url, max_parallel=5)
        for _ in range(5):
            reached, peer.handler = 0, hang
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(agent.call, make_call())
                while reached < 5:
                    await trio.testing.wait_all_tasks_blocked(0.001)
                nursery.cancel_scope.cancel()
        peer.handler = http_peer.echo
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(agent.call, make_call())
        assert len(peer.requests) == 30
        await agent.aclose()
