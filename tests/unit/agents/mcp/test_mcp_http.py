"""Tools of a real MCP server over streamable HTTP, in a process of its own on this machine."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import create_connection, socket
from threading import Thread
from typing import Any

import pytest
import trio

import motet
from motet.agents.mcp.agent import McpAgent
from motet.agents.mcp.convert import RESULT_MOST
from motet.agents.mcp.server import McpServer

PATIENCE = 30
# mcp leaves the generators behind an event stream to the garbage collector when a call ends before its stream does; their
# connections are closed all the same.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning"),
]


def free_port() -> int:
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(Path(__file__).with_name("mcp_peer.py")), str(folder), str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _await_port(port)
            yield process
        finally:
            process.kill()


def _await_port(port: int) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.02)
        else:
            return


async def ask(engine: motet.Engine, server: McpServer, tool: str, value: object, **options: Any) -> motet.Outcome:
    member = motet.Member(McpAgent(tool, server, tool), input=motet.Payload.of(value), **options)
    result = await engine.run(motet.Group("g", [member]))
    return result["g"].outcomes[0]


def test_tools_are_called_cancelled_and_bounded_over_http(tmp_path: Path) -> None:
    port = free_port()

    async def main() -> None:
        server = McpServer("web", url=f"http://127.0.0.1:{port}/mcp", headers={"x-team": "blue"})
        async with motet.open_engine() as engine:
            assert (await ask(engine, server, "shout", "hello")).output.text == "HELLO"
            assert (await ask(engine, server, "add", {"a": 1})).output.value == {"sum": 2}
            assert (await ask(engine, server, "fail", "x")).failure.message == "cannot take x"
            late = await ask(engine, server, "slow", {"name": "s"}, timeout=1.0)
            assert (late.state, late.stop.kind) == ("TIMED_OUT", "STOPPED")
            with trio.fail_after(PATIENCE):
                while not (tmp_path / "s.cancelled").exists():  # noqa: ASYNC110 - another process writes it
                    await trio.sleep(0.01)
            huge = await ask(engine, server, "huge", {"size": RESULT_MOST})
            assert huge.failure.reason == "OUTPUT_TOO_LARGE"
            assert (await ask(engine, server, "shout", "x")).output.text == "X"

    with serving(tmp_path, port):
        trio.run(main)


def test_a_server_that_went_away_fails_the_call_and_is_found_again_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()

    async def main() -> None:
        server = McpServer("web", url=f"http://127.0.0.1:{port}/mcp", restart_backoff=0.01)
        async with motet.open_engine() as engine:
            with serving(tmp_path, port):
                assert (await ask(engine, server, "shout", "x")).output.text == "X"
                dying = await ask(engine, server, "die", {"code": 1})
                assert (dying.failure.reason, dying.failure.details["retryable"]) == ("TOOL_SERVER_LOST", True)
            gone = await ask(engine, server, "shout", "x")
            assert (gone.failure.reason, gone.failure.details["retryable"]) == ("TOOL_SERVER_LOST", True)
            with serving(tmp_path, port):
                retry = motet.RetryPolicy(max_attempts=5, initial_backoff=0.05)
                assert (await ask(engine, server, "shout", "x", retry=retry)).output.text == "X"

    trio.run(main)


@pytest.mark.parametrize(
    ("head", "why"),
    [
        ("HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", "HTTP status 401"),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi", "content type"),
        ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\r\n", "compressed"),
        ("HTTP/1.1 307 Go\r\nlocation: http://127.0.0.2:9/\r\ncontent-length: 0\r\n\r\n", "not followed"),
    ],
)
def test_an_answer_that_is_not_mcp_is_a_clear_failure(head: str, why: str) -> None:
    with closing(socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(head.encode())
                connection.recv(65536)

        thread = Thread(target=answer, daemon=True)
        thread.start()

        async def main() -> None:
            server = McpServer("web", url=f"http://127.0.0.1:{listener.getsockname()[1]}/mcp")
            async with motet.open_engine() as engine:
                outcome = await ask(engine, server, "x", {})
            assert outcome.failure.reason in {"TOOL_SERVER_LOST", "TOOL_FAILED"}
            assert why in outcome.failure.message

        trio.run(main)
        thread.join(PATIENCE)
