"""Servers that end or never come up: calls fail clearly, the next use starts a new session, and starts do not run hot."""

import os
import signal
from pathlib import Path
from typing import Any

import motet
from motet.agents.mcp.agent import McpAgent
from motet.agents.mcp.server import McpServer


async def ask(engine: motet.Engine, server: McpServer, tool: str, value: object, **options: Any) -> motet.Outcome:
    member = motet.Member(McpAgent(tool, server, tool), input=motet.Payload.of(value), **options)
    result = await engine.run(motet.Group("g", [member]))
    return result["g"].outcomes[0]


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text().split())


async def test_calls_in_flight_fail_when_the_server_dies_and_the_next_starts_it_again(
    peer: Any, tmp_path: Path, caplog: Any
) -> None:
    server = peer()
    waiting = motet.Member(McpAgent("slow", server, "slow"), input=motet.Payload.of({"name": "a"}))
    dying = motet.Member(McpAgent("die", server, "die"), input=motet.Payload.of({"code": 7}))
    caplog.set_level("INFO", "motet.agents.mcp")
    async with motet.open_engine() as engine:
        result = await engine.run(motet.Group("g", [waiting, dying]))
        for outcome in result["g"].outcomes:
            assert outcome.failure.reason == "TOOL_SERVER_LOST"
            assert "it ended with exit code 7: going down" in outcome.failure.message
            assert outcome.failure.details["retryable"]
        assert (await ask(engine, server, "shout", "x")).output.text == "X"
    assert starts(tmp_path) == 2
    assert "peer: going down" in caplog.messages


async def test_a_tool_that_is_not_safe_to_repeat_is_not_retryable_after_its_server_died(peer: Any) -> None:
    server = peer()
    async with motet.open_engine() as engine:
        outcome = await ask(
            engine, server, "die_unsafely", {}, retry=motet.RetryPolicy(max_attempts=3, initial_backoff=0.01)
        )
    assert (outcome.failure.reason, outcome.failure.details.get("retryable", False)) == ("TOOL_SERVER_LOST", False)
    assert "not safe to call it again" in outcome.failure.message
    assert outcome.attempts == 1


async def test_a_retry_meets_a_server_that_was_started_again(peer: Any, tmp_path: Path) -> None:
    server = peer(restart_backoff=0.01)
    async with motet.open_engine() as engine:
        outcome = await ask(
            engine, server, "die", {"code": 1}, retry=motet.RetryPolicy(max_attempts=2, initial_backoff=0.01)
        )
    assert outcome.attempts == 2
    assert starts(tmp_path) == 2


async def test_a_server_that_was_killed_while_nothing_ran_is_started_again(peer: Any) -> None:
    server = peer(restart_backoff=0.01)
    retry = motet.RetryPolicy(max_attempts=3, initial_backoff=0.05)
    async with motet.open_engine() as engine:
        before = (await ask(engine, server, "pid", {})).output.text
        os.kill(int(before), signal.SIGKILL)
        after = (await ask(engine, server, "pid", {}, retry=retry)).output.text
    assert after != before


async def test_without_restart_the_end_of_a_server_is_final(peer: Any, tmp_path: Path) -> None:
    server = peer(restart=False)
    async with motet.open_engine() as engine:
        await ask(engine, server, "die", {"code": 1})
        outcome = await ask(engine, server, "shout", "x")
    assert (outcome.failure.reason, outcome.failure.details.get("retryable", False)) == ("TOOL_SERVER_LOST", False)
    assert "restart=False" in outcome.failure.message
    assert starts(tmp_path) == 1


async def test_a_server_that_dies_at_once_fails_clearly_and_is_left_alone_for_longer_and_longer(rude: Any) -> None:
    server = rude("dies", restart_backoff=4.0)
    async with motet.open_engine() as engine:
        first = await ask(engine, server, "x", {})
        second = await ask(engine, server, "x", {})
    assert first.failure.reason == second.failure.reason == "TOOL_SERVER_LOST"
    assert "it ended with exit code 1: no licence" in first.failure.message
    assert 0 < second.failure.details["retry_after_seconds"] <= 4.0
    assert second.failure.details["starts_failed"] == 1  # the second call started nothing


async def test_a_program_that_is_not_there_is_named() -> None:
    server = McpServer("gone", command=["no-such-program-anywhere"])
    async with motet.open_engine() as engine:
        outcome = await ask(engine, server, "x", {})
    assert outcome.failure.reason == "TOOL_SERVER_LOST"
    assert "'no-such-program-anywhere' was not found" in outcome.failure.message
    assert not outcome.failure.details.get("retryable")


async def test_a_server_that_never_introduces_itself_is_given_up_after_the_start_timeout(rude: Any) -> None:
    async with motet.open_engine() as engine:
        outcome = await ask(engine, rude("silent", start_timeout=0.5), "x", {})
    assert outcome.failure.reason == "TOOL_SERVER_LOST"
    assert "did not introduce itself within 0.5 s" in outcome.failure.message
