"""Stopping tools of MCP servers: the server is told, and its process is gone when the engine has closed."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

import motet
from motet.agents.mcp.agent import McpAgent
from motet.agents.mcp.server import McpServer

PEER = Path(__file__).parents[1] / "unit" / "agents" / "mcp" / "mcp_peer.py"
MUTE = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({!r}, 'w').close(); time.sleep(1000)"


def peer(folder: Path, **options: object) -> McpServer:
    return McpServer("peer", command=[sys.executable, str(PEER), str(folder)], **options)  # type: ignore[arg-type]


def member(server: McpServer, tool: str, value: object, timeout: float | None = None) -> motet.Member:
    return motet.Member(McpAgent(tool, server, tool), input=motet.Payload.of(value), timeout=timeout)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - files and foreign processes give no event
            await trio.sleep(0.01)


def has_ended(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_the_server_cancels_a_tool_whose_call_is_cancelled_and_the_receipt_says_that_it_was_told(
    tmp_path: Path,
) -> None:
    server = peer(tmp_path)
    async with motet.open_engine() as engine:
        await engine.run(motet.Group("warm", [member(server, "shout", "x")]))
        result = await engine.run(motet.Group("g", [member(server, "slow", {"name": "a"}, timeout=0.3)]))
        outcome = result["g"].outcomes[0]
        assert outcome.state == "TIMED_OUT"
        assert (outcome.stop.kind, outcome.stop.detail) == ("STOPPED", "MCP server 'peer' was told to cancel the call")
        await until((tmp_path / "a.cancelled").exists)
        again = await engine.run(motet.Group("g", [member(server, "shout", "still there")]))
        assert again["g"].outcomes[0].output.text == "STILL THERE"


async def test_losers_of_a_race_are_cancelled_on_the_server(tmp_path: Path) -> None:
    server = peer(tmp_path)
    members = [member(server, "slow", {"name": "slow"}), member(server, "shout", "won")]
    async with motet.open_engine() as engine:
        await engine.run(motet.Group("warm", [member(server, "shout", "x")]))
        result = await engine.run(motet.Group("g", members, aggregation="first"))
        assert result.unwrap() == "WON"
        if (tmp_path / "slow.started").exists():
            await until((tmp_path / "slow.cancelled").exists)


@pytest.mark.parametrize("stubborn", [False, True])
async def test_no_process_of_a_server_is_left_when_the_engine_has_closed(tmp_path: Path, stubborn: bool) -> None:
    server = peer(tmp_path, env={"STUBBORN": "1"} if stubborn else {})
    async with motet.open_engine() as engine:
        await engine.run(motet.Group("g", [member(server, "shout", "x")]))
        pid = int((tmp_path / "starts").read_text())
        assert not has_ended(pid)
    assert has_ended(pid)


async def test_a_server_that_never_speaks_is_gone_after_a_cancelled_start(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n" + MUTE.format(str(ready))
    server = McpServer("mute", command=[sys.executable, "-c", code])
    async with motet.open_engine() as engine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.run, motet.Group("g", [member(server, "x", {})]))
            await until(ready.exists)
            nursery.cancel_scope.cancel()
        pid = int((tmp_path / "pid").read_text())
    assert has_ended(pid)


async def test_children_of_a_server_go_with_it(tmp_path: Path) -> None:
    code = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
os.execv(sys.executable, [sys.executable, {str(PEER)!r}, {str(tmp_path)!r}])
"""
    server = McpServer("parent", command=[sys.executable, "-c", code])
    async with motet.open_engine() as engine:
        await engine.run(motet.Group("g", [member(server, "shout", "x")]))
        pid = int((tmp_path / "child").read_text())
        assert not has_ended(pid)

    def gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    await until(gone)
