"""A server of tools that is spoken to with the Model Context Protocol: a source of tools for model agents, and what its
tools' agents share. Must not import `mcp`, which is slow to import, before a session starts."""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import trio

from motet.agents._card import digest
from motet.agents._http_checks import check_headers, check_url
from motet.agents.command import INHERITED
from motet.agents.mcp.agent import McpAgent
from motet.agents.mcp.convert import TOOL_NAME_MOST, TOOL_SERVER_INVALID, check_of, model_name
from motet.agents.mcp.link import Link, Listed, SessionInfo
from motet.agents.model.reasons import TOOL_FAILED
from motet.agents.model.tool import Tool
from motet.errors import AgentError
from motet.model.agent import Reply
from motet.model.chat import ToolSpec
from motet.ports import Call

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class McpServer:
    """A server of tools: a program that speaks over its standard streams (`command`), or a `url` of streamable HTTP.

    Give it to a model agent (`tools=[server]`), or take one tool of it as an agent: `McpAgent(name, server, tool)`. One
    session serves any number of calls. It starts when a tool is first needed, is started again on the next use after it
    has ended (unless `restart` is false), after a pause that starts at `restart_backoff` seconds and doubles up to 30 s
    while starts fail, and ends with the engine: a program is asked to leave, terminated, then killed with its process
    group.

    `tools` lists those that may be used, by the server's names; None means all. `prefix` goes before the names that models
    see. A program sees `env`, what `inherit_env` names, and what programs need to work at all (PATH, HOME, ...), nothing
    else of this process's environment. `start_timeout` bounds start and introduction, `call_timeout` each call of a tool;
    seconds. `max_parallel` bounds the calls of all its tools together. Raises ValueError, which names the parameter, when
    one is wrong.
    """

    def __init__(
        self,
        name: str,
        *,
        command: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        inherit_env: Sequence[str] = (),
        cwd: str | os.PathLike[str] | None = None,
        url: str | None = None,
        headers: Mapping[str, str] | None = None,
        tools: Collection[str] | None = None,
        prefix: str = "",
        start_timeout: float = 30.0,
        call_timeout: float | None = None,
        max_parallel: int | None = None,
        restart: bool = True,
        restart_backoff: float = 0.5,
    ) -> None:
        if not name:
            raise ValueError("name: must not be empty")
        if (command is None) == (url is None):
            raise ValueError("command: give either command, to start a program, or url, to reach a server")
        if command is not None:
            _check_command(command, env or {}, headers)
        if url is not None:
            check_url(url)
            if env is not None or inherit_env or cwd is not None:
                raise ValueError("env: env, inherit_env and cwd belong to a program; with url there is none")
        _check_names(tools, prefix)
        _check_numbers(max_parallel, start_timeout=start_timeout, restart_backoff=restart_backoff)
        self.name = name
        self.call_timeout = call_timeout
        self.max_parallel = max_parallel
        self._command = tuple(command) if command is not None else None
        self._env = dict(env or {})
        self._inherit_env = tuple(inherit_env)
        self._cwd = os.fspath(cwd) if cwd is not None else None
        self._url = url or ""
        self._headers = check_headers(headers) if headers else _NO_HEADERS
        self._allowed = frozenset(tools) if tools is not None else None
        self._prefix = prefix
        self._start_timeout = start_timeout
        self._restart = restart
        self._restart_backoff = restart_backoff
        # One state for each run of trio: what it holds belongs to that run.
        self._state: trio.lowlevel.RunVar[tuple[Link, trio.CapacityLimiter]] = trio.lowlevel.RunVar(
            f"MCP server {name}"
        )

    def __repr__(self) -> str:
        return f"McpServer({self.name!r})"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the answers of its tools depend on, beside their arguments."""
        return {
            "command": self._command or (),
            "env": digest(self._env),
            "cwd": self._cwd or "",
            "url": self._url,
            "headers": digest(dict(self._headers)),
        }

    async def tools(self, call: Call, /) -> Sequence[Tool]:
        """Those that the server offers now and that may be used. Raises AgentError: TOOL_SERVER_LOST when the server is not
        to be had, TOOL_SERVER_INVALID when what it says of its tools cannot be used."""
        link, _ = self._link()
        call.keep(self)
        session = await link.get()
        offered = [tool for tool in await session.tools() if self._allowed is None or tool.name in self._allowed]
        self._check_names(offered)
        return [self._tool(tool) for tool in offered]

    async def call_tool(self, call: Call, name: str, arguments: Any) -> Reply:
        """Have one tool do its work. `arguments` makes them of its JSON Schema. Raises AgentError."""
        link, width = self._link()
        call.keep(self)
        async with width:
            session = await link.get()
            tool = await session.find(name)
            if tool is None or (self._allowed is not None and name not in self._allowed):
                raise AgentError(
                    f"MCP server '{self.name}' has no tool '{name}', or it is not among the tools that may be used",
                    reason=TOOL_FAILED,
                )
            return await session.call(call, tool, arguments(tool.schema))

    async def live(self) -> None:
        """Own the sessions. Ends only by cancellation; at once when another task owns them already."""
        link, _ = self._link()
        if link.owned:
            return
        link.owned = True
        try:
            session = await trio.to_thread.run_sync(_session_module)
            info = self._info()
            await link.own(lambda told: session.opened(info, told), lambda e: session.cause_of(e, self._start_timeout))
        finally:
            link.release()

    def _link(self) -> tuple[Link, trio.CapacityLimiter]:
        try:
            return self._state.get()
        except LookupError:
            link = Link(self.name, restart=self._restart, backoff=self._restart_backoff)
            state = link, trio.CapacityLimiter(math.inf if self.max_parallel is None else self.max_parallel)
            self._state.set(state)
            return state

    def _info(self) -> SessionInfo:
        program = None
        if self._command is not None:
            env = {key: os.environ[key] for key in (*INHERITED, *self._inherit_env) if key in os.environ}
            program = (self._command, {**env, **self._env}, self._cwd)
        return SessionInfo(self.name, program, self._url, self._headers, self._start_timeout)

    def _tool(self, tool: Listed) -> Tool:
        name = model_name(self._prefix, tool.name)
        agent = McpAgent(
            name,
            self,
            tool.name,
            description=tool.description,
            input_schema=tool.schema,
            replay_safe=tool.replay_safe,
        )
        spec = ToolSpec(name=name, description=tool.description, parameters=tool.schema)
        return Tool(spec=spec, agent=agent, timeout=self.call_timeout, check=check_of(tool.schema))

    def _check_names(self, tools: Sequence[Listed]) -> None:
        seen: dict[str, str] = {}
        for tool in tools:
            name = model_name(self._prefix, tool.name)
            if not tool.name or name in seen:
                raise AgentError(
                    f"MCP server '{self.name}' has two tools that a model would know as '{name}' ({seen.get(name)!r} and "
                    f"{tool.name!r}); leave one out with tools=[...]",
                    reason=TOOL_SERVER_INVALID,
                )
            seen[name] = tool.name


def _session_module() -> Any:
    from motet.agents.mcp import session  # noqa: PLC0415 - most of a second, in a thread, when it is needed

    return session


def _check_command(command: Sequence[str], env: Mapping[str, str], headers: Mapping[str, str] | None) -> None:
    if isinstance(command, str) or not command or not command[0]:
        raise ValueError("command: must be a list, the program first and then its arguments")
    if any("\0" in element for element in command):
        raise ValueError("command: must have no NUL character")
    for key, value in env.items():
        if not key or "=" in key or "\0" in key + value:
            raise ValueError(f"env: {key!r} cannot be set; no '=' in the name, no NUL in name or value")
    if headers is not None:
        raise ValueError("headers: belong to a url; a program gets none")


def _check_names(tools: Collection[str] | None, prefix: str) -> None:
    if isinstance(tools, str):
        raise ValueError("tools: must be a list of names, not one text")  # noqa: TRY004 - as every wrong option
    if model_name(prefix, "") != prefix or len(prefix) >= TOOL_NAME_MOST:
        raise ValueError(f"prefix: use letters, digits, _ and -, fewer than {TOOL_NAME_MOST}")


def _check_numbers(max_parallel: int | None, **seconds: float) -> None:
    for option, value in seconds.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{option}: must be a number of seconds above 0")
    if max_parallel is not None and max_parallel < 1:
        raise ValueError("max_parallel: must be at least 1, or None for no bound")
