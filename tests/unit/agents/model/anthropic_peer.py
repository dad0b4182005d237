"""A local server that speaks the wire format of Anthropic's messages."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import trio
from wire_peer import Act, Turn, WirePeer, respond


class AnthropicPeer(WirePeer):  # type: ignore[misc] # found by path, so that it has no type here
    """`AnthropicProvider(base_url=peer.url, api_key="...")` talks to it."""


def say(
    text: str = "",
    *,
    calls: Sequence[tuple[str, Any]] = (),
    stop: str | None = None,
    usage: tuple[int, int] | None = (12, 5),
    cached: int = 0,
    pieces: int = 3,
    pause: float = 0.0,
    hold_after: int | None = None,
    cut_after: int | None = None,
    gate: trio.Event | None = None,
    error_after: int | None = None,
    extra: Mapping[str, Any] | None = None,
    model: str | None = None,
) -> Act:
    """An answer, as one document or as a stream, whichever the request asks for.

    calls: names and inputs, a mapping; streamed it may be raw text.
    usage: input and output tokens, the `cached` ones beside them; None for a service that tells none.
    pause: seconds between pieces, `gate` what the first one waits for.
    hold_after: pieces after which nothing more comes until the client leaves.
    cut_after: pieces after which the connection is cut.
    error_after: pieces after which an error event ends the stream.
    extra: fields that no client knows, added to every object, and an event of an unknown kind.
    """
    reason = stop or ("tool_use" if calls else "end_turn")
    more = dict(extra or {})

    async def act(turn: Turn) -> None:
        if gate is not None:
            await turn.until(gate)
        head = {"id": f"msg_{turn.number}", "type": "message", "role": "assistant"}
        head |= {"model": model or turn.json["model"], "stop_sequence": None, **more}
        if not turn.streamed:
            await turn.answer(
                {**head, "content": _blocks(text, calls, more), "stop_reason": reason, **_usage(usage, cached)}
            )
            return
        await turn.start_events()
        start = {**head, "content": [], "stop_reason": None, **_usage(usage and (usage[0], 1), cached)}
        await turn.data(event("message_start", message=start, **more))
        await turn.data(event("ping"))
        if more:
            await turn.data(event("motet_unknown_event", **more))
        if not await turn.pieces(_deltas(text, calls, pieces)[:error_after], pause, hold_after, cut_after):
            return
        if error_after is not None:
            await turn.data(event("error", error={"type": "overloaded_error", "message": "Overloaded"}))
            await turn.end()
            return
        spent = {} if usage is None else {"usage": {"output_tokens": usage[1]}}
        await turn.data(event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, **spent, **more))
        await turn.data(event("message_stop", **more))
        await turn.end()

    return act


def fail(
    status: int,
    message: str = "the service says no",
    *,
    kind: str = "api_error",
    headers: Mapping[str, str] | None = None,
) -> Act:
    """An error as the service words it."""
    return respond(
        status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}, headers
    )


async def deny(turn: Turn) -> None:
    """401, with the key in the message, whichever header it came in."""
    key = turn.headers.get("x-api-key") or turn.headers.get("authorization")
    await fail(401, f"invalid x-api-key: {key}", kind="authentication_error")(turn)


def event(kind: str, **fields: Any) -> bytes:
    """One event of a stream."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _blocks(text: str, calls: Sequence[tuple[str, Any]], more: Mapping[str, Any]) -> list[dict[str, Any]]:
    tools = [
        {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": given, **more}
        for number, (name, given) in enumerate(calls, 1)
    ]
    return [{"type": "text", "text": text, **more}, *tools] if text else tools


def _deltas(text: str, calls: Sequence[tuple[str, Any]], pieces: int) -> list[bytes]:
    """One entry for each piece of text, then one for each tool call."""
    made: list[bytes] = []
    if text:
        step = -(-len(text) // pieces)
        parts = [text[at : at + step] for at in range(0, len(text), step)]
        made = [_delta(0, type="text_delta", text=part) for part in parts]
        made[0] = event("content_block_start", index=0, content_block={"type": "text", "text": ""}) + made[0]
        made[-1] += event("content_block_stop", index=0)
    for number, (name, given) in enumerate(calls, 1):
        index = number if text else number - 1
        raw = given if isinstance(given, str) else json.dumps(given)
        block = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}}
        halves = (raw[: len(raw) // 2], raw[len(raw) // 2 :])
        made.append(
            event("content_block_start", index=index, content_block=block)
            + b"".join(_delta(index, type="input_json_delta", partial_json=half) for half in ("", *halves))
            + event("content_block_stop", index=index)
        )
    return made


def _delta(index: int, **delta: Any) -> bytes:
    return event("content_block_delta", index=index, delta=delta)


def _usage(usage: tuple[int, int] | None, cached: int) -> dict[str, Any]:
    if usage is None:
        return {}
    told = {"input_tokens": usage[0], "output_tokens": usage[1]}
    return {"usage": {**told, "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0}}
