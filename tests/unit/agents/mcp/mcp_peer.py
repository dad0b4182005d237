"""An MCP server for tests, over stdio or, with a port, streamable HTTP; written with the protocol's own server library.

    python mcp_peer.py MARKS [PORT]

MARKS is a folder that it writes to: what its tools saw.
"""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from pydantic import Field

marks = Path(sys.argv[1])
server = MCPServer("peer", log_level="ERROR")


@server.tool(structured_output=False, annotations=ToolAnnotations(read_only_hint=True))
def shout(text: str) -> str:
    """Says it loudly."""
    return text.upper()


@server.tool(annotations=ToolAnnotations(idempotent_hint=True))
def add(a: int, b: Annotated[int, Field(description="the other")] = 1) -> dict[str, int]:
    """Adds."""
    return {"sum": a + b}


@server.tool(structured_output=False)
def fail(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=f"cannot take {text}")], is_error=True)


@server.tool(structured_output=False)
def picture() -> CallToolResult:
    return CallToolResult(
        content=[TextContent(type="text", text="a dot"), ImageContent(type="image", data="aGk=", mime_type="image/png")]
    )


@server.tool(structured_output=False)
async def slow(name: str) -> str:
    (marks / f"{name}.started").touch()
    try:
        await anyio.sleep(1000)
    except anyio.get_cancelled_exc_class():
        (marks / f"{name}.cancelled").touch()
        raise
    return "late"


@server.tool(structured_output=False)
async def steps(ctx: Context) -> str:
    for number in (1, 2):
        await ctx.report_progress(number, 2, f"step {number}")
    return "done"


@server.tool(structured_output=False, annotations=ToolAnnotations(read_only_hint=True))
def die(code: int) -> str:
    os.write(2, b"going down\n")
    os._exit(code)


@server.tool(structured_output=False, annotations=ToolAnnotations(read_only_hint=False))
def die_unsafely() -> str:
    os._exit(3)


@server.tool(structured_output=False)
def environment() -> str:
    return "\n".join(sorted(os.environ))


@server.tool(structured_output=False)
def huge(size: int) -> str:
    return "x" * size


@server.tool(structured_output=False)
def pid() -> str:
    return str(os.getpid())


@server.tool(structured_output=False)
async def grow(ctx: Context) -> str:
    server.add_tool(shout, name="whisper")
    await ctx.session.send_tool_list_changed()
    return "grown"


@server.tool(structured_output=False)
async def curious(ctx: Context) -> str:
    """Asks its client for what it must not get."""
    try:
        await ctx.session.list_roots()
    except Exception as error:  # noqa: BLE001 - the refusal is what is told
        return f"refused: {error}"
    return "got it"


def main() -> None:
    with (marks / "starts").open("a") as starts:
        starts.write(f"{os.getpid()}\n")
    if os.environ.get("STUBBORN"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if len(sys.argv) > 2:
        server.run("streamable-http", port=int(sys.argv[2]))
    else:
        server.run("stdio")
    while os.environ.get("STUBBORN"):
        signal.pause()


main()
