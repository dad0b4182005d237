"""An MCP server for tests that breaks the rules, over stdio, in raw JSON lines.

    python mcp_rude.py HOW

HOW says what it does; unless that forbids it, it introduces itself, lists its tools, and answers calls with their name.
"""

import json
import sys
import time

how = sys.argv[1]
SCHEMA = {"type": "object", "properties": {}}
TOOLS = {
    "many": [{"name": f"t{number}", "inputSchema": SCHEMA} for number in range(1000)],
    "names": [{"name": "a b", "inputSchema": SCHEMA}, {"name": "long." + "x" * 100, "inputSchema": SCHEMA}],
    "twins": [{"name": "a b", "inputSchema": SCHEMA}, {"name": "a.b", "inputSchema": SCHEMA}],
    "no schema": [{"name": "x", "inputSchema": "none"}],
    "breaks promise": [
        {"name": "x", "inputSchema": SCHEMA, "outputSchema": {"type": "object", "required": ["sum"]}},
    ],
}.get(how, [{"name": "x", "inputSchema": SCHEMA}])


def say(**message: object) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def page(cursor: str | None) -> dict[str, object]:
    if how == "pages":
        number = int(cursor or 0)
        tools = [{"name": f"p{number}", "inputSchema": SCHEMA}]
        return {"tools": tools, "nextCursor": str(number + 1)} if number < 2 else {"tools": tools}
    if how == "endless pages":
        return {"tools": TOOLS, "nextCursor": "again"}
    return {"tools": TOOLS}


def answer(request: dict[str, object]) -> dict[str, object]:
    params = request.get("params") or {}
    assert isinstance(params, dict)
    match request["method"]:
        case "initialize":
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {} if how == "no tools" else {"tools": {}},
                "serverInfo": {"name": "rude", "version": "1"},
            }
        case "tools/list":
            return page(params.get("cursor"))
        case "tools/call":
            if how == "asks and asks":
                while True:
                    say(id=0, method="ping", params={"_meta": {"x": "x" * 1000}})
            if how == "not a number":
                sys.stdout.write(f'{{"jsonrpc":"2.0","id":{request["id"]},"result":{{"content":[],')
                sys.stdout.write('"structuredContent":{"n":NaN}}}\n')
                sys.stdout.flush()
            if how == "huge without id":
                sys.stdout.write('{"result": "' + "x" * (17 * 2**20))
                sys.stdout.flush()
            return {"content": [{"type": "text", "text": params["name"]}]}
    return {}


if how == "dies":
    sys.exit("no licence")
if how == "silent":
    time.sleep(1000)
if how == "garbage":
    while True:
        sys.stdout.write("<html>not what you want</html>\n")
if how == "banner":
    sys.stdout.write("Welcome!\n\n")
for line in sys.stdin:
    received = json.loads(line)
    if "id" in received and "method" in received:
        say(id=received["id"], result=answer(received))
