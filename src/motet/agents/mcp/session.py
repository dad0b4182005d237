"""One session with an MCP server, from its start to its end: entered and left in the task that owns it, used from any.

Imports `mcp`, so it is itself imported only when the first session starts.
"""

import logging
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Self

import mcp_types as types
import trio
from mcp.client.session import ClientSession, IncomingMessage
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from motet.agents.mcp import http, process
from motet.agents.mcp.convert import (
    OUTPUT_TOO_LARGE,
    RESULT_MOST,
    TOO_LARGE,
    TOOL_SERVER_INVALID,
    Cause,
    Trouble,
    failure_of,
    reply_payload,
)
from motet.agents.mcp.link import Listed, SessionInfo
from motet.agents.model.reasons import TOOL_FAILED, TOOL_SERVER_LOST
from motet.errors import AgentError
from motet.model.agent import Reply
from motet.model.reason import DEADLINE_EXCEEDED, OUTPUT_INVALID
from motet.ports import Call

_TOOLS_MOST: Final = 10_000
_PAGES_MOST: Final = 1_000
_PING_SECONDS: Final = 5.0
_NET_SECONDS: Final = 5.0
"""How much later than the call's deadline a request gives up by itself. The engine has ended the call by then."""
_PROGRESS_TOLD: Final = 1000
_CAUSE_SECONDS: Final = 1.0
"""How long a call waits to learn why the session ended: a process is collected meanwhile."""
_log = logging.getLogger("motet.agents.mcp")


class Session:
    """An open session. `lost` is set once it can be used no more, `down` once nothing of it is left."""

    def __init__(self, name: str, trouble: Trouble, patience: float) -> None:
        self.name = name
        self.lost = trio.Event()
        self.down = trio.Event()
        self.useful = False
        """A call of it has been answered."""
        self._version = self._known = 0
        """How often the server has said that its tools are others now, and how much of that has been heeded."""
        self._doubted = trio.Event()
        self._tools: tuple[Listed, ...] = ()
        self._listing = trio.Lock()
        self._trouble = trouble
        self._patience = patience
        self.client: ClientSession

    async def watch(self) -> None:
        """Returns when the session is lost: at once when the connection ends, after a ping without answer otherwise."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._probe)
            await self.lost.wait()
            nursery.cancel_scope.cancel()

    async def _probe(self) -> None:
        while True:
            await self._doubted.wait()
            self._doubted = trio.Event()
            try:
                with trio.fail_after(_PING_SECONDS):
                    await self.client.send_ping()
            except (MCPError, ValidationError, trio.TooSlowError):
                self.lost.set()

    async def hear(self, message: IncomingMessage) -> None:
        """Takes notifications of the server."""
        if isinstance(message, types.ToolListChangedNotification):
            self._version += 1
        await trio.lowlevel.checkpoint()

    # -------------------------------------------------------------------------------------------------- tools

    @property
    def stale(self) -> bool:
        """The list of tools is known to be old."""
        return self._known != self._version

    async def tools(self) -> tuple[Listed, ...]:
        """What the server offers: as it said before, or asked anew once it says that they have changed. Raises AgentError."""
        async with self._listing:
            if self.stale:
                version = self._version
                try:
                    with trio.fail_after(self._patience):
                        await self._list()
                except trio.TooSlowError:
                    why = f"it did not list its tools within {self._patience:g} s"
                    raise lost(self.name, why, retryable=True) from None
                except MCPError as error:
                    raise await self._refused(error, "tools/list", retryable=True) from error
                self._known = version
        return self._tools

    async def find(self, name: str) -> Listed | None:
        """The tool of that name. A list that is known to be old will do when it has it."""
        found = next((tool for tool in self._tools if tool.name == name), None)
        if found is None and self.stale:
            found = next((tool for tool in await self.tools() if tool.name == name), None)
        return found

    async def open(self) -> None:
        """Introduce each other, and ask for the tools."""
        await self.client.initialize()
        await self._list()

    async def _list(self) -> None:
        capabilities = self.client.server_capabilities
        if capabilities is None or capabilities.tools is None:
            self._tools = ()
            return
        found: list[Listed] = []
        size = 0
        cursor: str | None = None
        for _ in range(_PAGES_MOST):
            try:
                params = types.PaginatedRequestParams(cursor=cursor) if cursor is not None else None
                page = await self.client.list_tools(params=params)
            except ValidationError as error:
                raise self._invalid(f"its list of tools is wrong: {_first(error)}") from error
            found += map(_listed, page.tools)
            size += sum(len(tool.description or "") + len(str(tool.input_schema)) for tool in page.tools)
            if size > RESULT_MOST:
                raise self._invalid(f"its list of tools has more than {RESULT_MOST} characters")
            if not page.next_cursor:
                break
            if page.next_cursor == cursor or len(found) > _TOOLS_MOST:
                raise self._invalid(f"its list of tools does not end, or has more than {_TOOLS_MOST} of them")
            cursor = page.next_cursor
        else:
            raise self._invalid(f"its list of tools has more than {_PAGES_MOST} pages")
        self._tools = tuple(found)

    # -------------------------------------------------------------------------------------------------- calls

    async def call(self, call: Call, tool: Listed, arguments: Mapping[str, Any]) -> Reply:
        """Have a tool do its work, in the task of the call. Raises AgentError."""

        async def tell(progress: float, total: float | None, message: str | None) -> None:  # noqa: ASYNC124 - mcp awaits it
            said = {"progress": progress, "total": total, "message": message and message[:_PROGRESS_TOLD]}
            if all(value is None or isinstance(value, str) or math.isfinite(value) for value in said.values()):
                call.report({key: value for key, value in said.items() if value is not None})

        left = call.time_left()
        try:
            result = await self.client.call_tool(
                tool.name,
                dict(arguments),
                read_timeout_seconds=left + _NET_SECONDS if math.isfinite(left) else None,
                progress_callback=tell,
            )
        except trio.Cancelled:
            call.stop_detail = f"MCP server '{self.name}' was told to cancel the call"
            raise
        except MCPError as error:
            raise await self._refused(error, tool.name, retryable=tool.replay_safe is not False) from error
        except (ValidationError, RuntimeError) as error:
            said = _first(error) if isinstance(error, ValidationError) else str(error)
            message = f"the result of tool '{tool.name}' is not what MCP server '{self.name}' promised: {said}"
            raise AgentError(message, reason=OUTPUT_INVALID) from error
        self.useful = True
        blocks = [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]
        if result.is_error:
            raise failure_of(tool.name, blocks, result.structured_content)
        try:
            output = reply_payload(blocks, result.structured_content)
        except ValueError as error:  # not-a-number, which mcp's decoder lets through
            message = f"the result of tool '{tool.name}' of MCP server '{self.name}' is not JSON: {error}"
            raise AgentError(message, reason=OUTPUT_INVALID) from error
        return Reply(output, metadata={"server": self.name, "tool": tool.name})

    async def _refused(self, error: MCPError, what: str, *, retryable: bool) -> AgentError:
        """What stands behind an error of the protocol, which is seldom said."""
        if TOO_LARGE in error.message or "byte limit" in error.message:
            return AgentError(f"'{what}' of MCP server '{self.name}': {TOO_LARGE}", reason=OUTPUT_TOO_LARGE)
        if error.code == types.REQUEST_TIMEOUT:
            return AgentError(f"MCP server '{self.name}' did not answer '{what}' in time", reason=DEADLINE_EXCEEDED)
        gone = error.code == types.CONNECTION_CLOSED or error.message == "Session terminated"
        if not gone and not error.message.startswith("Server returned an error response"):
            self.useful = True
            details = {"code": error.code}
            return AgentError(
                f"'{what}' of MCP server '{self.name}': {error.message}", reason=TOOL_FAILED, details=details
            )
        if error.message == "Session terminated":
            self.lost.set()
        else:
            self._doubted.set()
        with trio.move_on_after(_CAUSE_SECONDS):
            await self.down.wait()
        return lost(self.name, self._trouble.words(error.message), retryable=retryable)

    def _invalid(self, why: str) -> AgentError:
        return AgentError(f"the tools of MCP server '{self.name}' cannot be used: {why}", reason=TOOL_SERVER_INVALID)


def lost(name: str, cause: str, *, retryable: bool) -> AgentError:
    repeats = "" if retryable else "; the tool may have done its work, and it is not safe to call it again"
    return AgentError(
        f"MCP server '{name}' was lost while it worked: {cause}{repeats}", reason=TOOL_SERVER_LOST, retryable=retryable
    )


@asynccontextmanager
async def opened(server: SessionInfo, trouble: Trouble) -> AsyncIterator[Session]:
    """An open session. Entered and left in one task. What it raises, `cause_of` puts in words."""
    ways: AbstractAsyncContextManager[tuple[Any, Any]]
    if server.program is not None:
        ways = process.connected(process.Program(server.name, *server.program), trouble)
    else:
        ways = http.connected(server.url, server.headers, trouble)
    async with ways as (read, write), _spoken(server, trouble, read, write) as session:
        yield session


@asynccontextmanager
async def _spoken(server: SessionInfo, trouble: Trouble, read: Any, write: Any) -> AsyncIterator[Session]:
    session = Session(server.name, trouble, server.start_timeout)
    client = ClientSession(
        _Ending(read, session.lost),
        write,
        message_handler=session.hear,
        client_info=types.Implementation(name="motet", version="1"),
    )
    async with client:
        session.client = client
        with trio.fail_after(server.start_timeout):
            await session.open()
        yield session


class _Ending:
    """A stream of messages that says when it has ended, which a session keeps to itself."""

    def __init__(self, stream: Any, ended: trio.Event) -> None:
        self._stream = stream
        self._ended = ended

    async def receive(self) -> Any:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._ended.set()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def cause_of(error: BaseException, start_timeout: float) -> Cause:
    """Why a session failed."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    if isinstance(error, trio.TooSlowError):
        return Cause(f"it did not introduce itself within {start_timeout:g} s")
    if isinstance(error, OSError):
        passing = not isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError)
        return Cause(f"it could not be started: {error.strerror or error}", retryable=passing)
    if isinstance(error, AgentError):
        return Cause(error.message, error.reason, error.retryable)
    return Cause(error.message if isinstance(error, MCPError) else f"{type(error).__name__}: {error}")


def _listed(tool: types.Tool) -> Listed:
    hints = tool.annotations
    return Listed.of(
        tool.name,
        tool.description or tool.title or "",
        tool.input_schema,
        read_only=hints.read_only_hint if hints else None,
        idempotent=hints.idempotent_hint if hints else None,
    )


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
