"""The agents of the scenarios: each does what the variables or the input of its call say. Knows no server and no case."""

import hashlib
from collections.abc import Mapping
from typing import Any

import trio

import motet
from motet.model.agent import AgentInfo, AgentKind

MAX_REPEAT = 16 * 2**20


class Echo:
    """Answers with its input, to the letter."""

    info = AgentInfo(
        name="echo",
        kind=AgentKind.FUNCTION,
        description="Answers with its input: ä, 日本, 🎼",
        version="7",
        max_parallel=1000,
        timeout=1.5,
        replay_safe=True,
        labels={"language": "python", "clé": "valeur"},
        estimated_cost_nanos=2**53 + 1,
        estimated_tokens=0,
    )

    async def call(self, call: motet.Call, /) -> motet.Reply:
        return motet.Reply(call.input, motet.Usage(calls=1))


class Scripted:
    """Plays the JSON of its variable `script`: {"reply": any, "delay": s, "fail": {"reason", "message", "retryable", "details"},
    "progress": [any], "resist": s, "usage": {...}, "fail_first": attempts, "metadata": {...}}. Everything may be left out; without `reply`
    it answers with its input. `resist`: seconds that it goes on after it was cancelled."""

    info = AgentInfo(name="scripted", kind=AgentKind.FUNCTION, replay_safe=True)

    async def call(self, call: motet.Call, /) -> motet.Reply:
        script: Mapping[str, Any] = call.variables.get("script", {})
        reports = script.get("progress", [])
        pause = script.get("delay", 0.0) / (len(reports) + 1)
        try:
            for report in reports:
                await trio.sleep(pause)
                call.report(report)
            await trio.sleep(pause)
        except trio.Cancelled:
            if "resist" in script:
                with trio.CancelScope(shield=True):  # bounded by the script
                    await trio.sleep(script["resist"])
            raise
        if "fail" in script and call.attempt <= script.get("fail_first", call.attempt):
            raise _error(script["fail"])
        reply = script.get("reply", call.input)
        return motet.Reply(
            motet.Payload.of(reply), motet.Usage(**{"calls": 1, **script.get("usage", {})}), script.get("metadata", {})
        )


class Digest:
    """Tells what has come in: kind, media type, length in bytes and SHA-256 of the input, and of each variable its text."""

    info = AgentInfo(name="digest", kind=AgentKind.FUNCTION, replay_safe=True)

    async def call(self, call: motet.Call, /) -> motet.Reply:
        data = call.input.data
        told = {
            "kind": call.input.kind,
            "media_type": call.input.media_type,
            "length": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "variables": {name: value.text for name, value in sorted(call.variable_payloads.items())},
            "session": call.session_id,
            "depth": call.depth,
            "timed": call.time_left() < 1e9,
        }
        return motet.Reply(motet.Payload.of(told), motet.Usage(calls=1))


class Repeat:
    """As many times the letter x as its input says."""

    info = AgentInfo(name="repeat", kind=AgentKind.FUNCTION, replay_safe=True)

    async def call(self, call: motet.Call, /) -> motet.Reply:
        return motet.Reply(motet.Payload.of("x" * min(MAX_REPEAT, int(call.input.text))), motet.Usage(calls=1))


class Broken:
    """Raises what no agent should."""

    info = AgentInfo(name="broken", kind=AgentKind.FUNCTION)

    async def call(self, call: motet.Call, /) -> motet.Reply:
        raise ZeroDivisionError(f"{call.member} divides by zero")


def _error(fail: Mapping[str, Any]) -> motet.AgentError:
    return motet.AgentError(
        fail.get("message", "the script says so"),
        reason=fail.get("reason", "SCRIPTED"),
        details=fail.get("details", {}),
        retryable=fail.get("retryable", False),
    )
