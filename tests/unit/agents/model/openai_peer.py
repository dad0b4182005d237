"""A local server that speaks the wire format of OpenAI's chat completions, as hosted and local services do."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import trio
from wire_peer import Act, Turn, WirePeer, respond


class OpenAIPeer(WirePeer):  # type: ignore[misc] # found by path, so that it has no type here
    """`OpenAIProvider(base_url=peer.url, api_key="...")` talks to it."""

    root = "/v1"


def say(
    text: str = "",
    *,
    calls: Sequence[tuple[str, Any]] = (),
    finish: str | None = None,
    usage: tuple[int, int] | None = (12, 5),
    cached: int = 0,
    refusal: str | None = None,
    pieces: int = 3,
    pause: float = 0.0,
    hold_after: int | None = None,
    cut_after: int | None = None,
    gate: trio.Event | None = None,
    done: bool = True,
    extra: Mapping[str, Any] | None = None,
    model: str | None = None,
) -> Act:
    """An answer, as one document or as a stream, whichever the request asks for.

    calls: names and arguments, a mapping or raw text. Streamed, their pieces come interleaved.
    usage: prompt and completion tokens, `cached` of the prompt's; None for a service that tells none.
    pause: seconds between pieces, `gate` what the first one waits for.
    hold_after: pieces after which nothing more comes until the client leaves.
    cut_after: pieces after which the connection is cut.
    done: the stream ends in [DONE].
    extra: fields that no client knows, added to every object.
    """
    reason = finish or ("tool_calls" if calls else "stop")
    wanted = [(name, raw if isinstance(raw, str) else json.dumps(raw)) for name, raw in calls]

    async def act(turn: Turn) -> None:
        if gate is not None:
            await turn.until(gate)
        head = {"id": f"chatcmpl-{turn.number}", "created": 1, "model": model or turn.json["model"], **(extra or {})}
        if not turn.streamed:
            message = _message(text, wanted, refusal) | dict(extra or {})
            choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
            await turn.answer({**head, "object": "chat.completion", "choices": [choice], **_usage(usage, cached)})
            return
        head["object"] = "chat.completion.chunk"
        await turn.start_events()
        deltas = [{"role": "assistant", "content": ""}, *_deltas(text, wanted, pieces, refusal)]
        first, *parts = (chunk({**head, **_delta({**delta, **(extra or {})})}) for delta in deltas)
        await turn.data(first)
        if not await turn.pieces(parts, pause, hold_after, cut_after):
            return
        await turn.data(chunk({**head, **_delta({}, reason)}))
        if usage is not None and turn.json.get("stream_options", {}).get("include_usage"):
            await turn.data(chunk({**head, "choices": [], **_usage(usage, cached)}))
        if done:
            await turn.data(b"data: [DONE]\n\n")
        await turn.end()

    return act


def fail(
    status: int,
    message: str = "the service says no",
    *,
    kind: str = "error",
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Act:
    """An error as the service words it."""
    return respond(status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, headers)


async def deny(turn: Turn) -> None:
    """401, with the key in the message, as some services do."""
    await fail(401, f"Incorrect API key provided: {turn.headers['authorization']}.", code="invalid_api_key")(turn)


def chunk(document: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def _message(text: str, calls: list[tuple[str, str]], refusal: str | None) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": refusal}
    if calls:
        message["tool_calls"] = [
            {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": raw}}
            for number, (name, raw) in enumerate(calls, 1)
        ]
    return message


def _delta(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]}


def _deltas(text: str, calls: list[tuple[str, str]], pieces: int, refusal: str | None) -> list[dict[str, Any]]:
    step = max(1, -(-len(text) // pieces))
    deltas: list[dict[str, Any]] = [{"content": text[at : at + step]} for at in range(0, len(text), step)]
    if refusal:
        deltas.append({"refusal": refusal})
    for index, (name, _) in enumerate(calls):
        first = {"index": index, "id": f"call_{index + 1}", "type": "function"}
        deltas.append({"tool_calls": [{**first, "function": {"name": name, "arguments": ""}}]})
    for half in (0, 1):
        for index, (_, raw) in enumerate(calls):
            middle = len(raw) // 2
            part = raw[middle:] if half else raw[:middle]
            deltas.append({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    return deltas


def _usage(usage: tuple[int, int] | None, cached: int) -> dict[str, Any]:
    if usage is None:
        return {}
    told = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return {"usage": {**told, "prompt_tokens_details": {"cached_tokens": cached}}}
