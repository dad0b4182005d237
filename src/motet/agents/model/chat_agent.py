"""One turn of a model as an agent: one request to a provider, whose bounds it shares. Knows no tools and no loop."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import trio

from motet.agents._card import checked
from motet.agents.model import reasons
from motet.agents.model.codec import reply_value, request_of
from motet.errors import AgentError
from motet.model import usage as _usage
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.chat import ChatReply
from motet.model.payload import Payload
from motet.model.rate import Breaker, Rate
from motet.model.reason import INPUT_INVALID
from motet.model.usage import Usage
from motet.ports import Call, ChatContext, Provider

PIECE_SECONDS: Final = 0.05
PIECE_CHARACTERS: Final = 200
"""Text is reported when this time has passed or this much is there, whichever comes first."""
WIDEN_EVERY: Final = 1_000
"""Reports after which both grow by as much again, so that the longest answer stays below what a member may report."""
MAX_PIECE: Final = 8_000
"""Characters of one report: at most 6 bytes each as JSON, well below what a report may have."""

_UNPAID: Final = frozenset(
    {
        reasons.RATE_LIMITED,
        reasons.PROVIDER_DENIED,
        reasons.PROVIDER_REJECTED,
        reasons.NETWORK_FORBIDDEN,
        reasons.SCRIPT_EXHAUSTED,
    }
)
"""Failures for which no provider asks money: the request was not worked on."""


class ChatAgent:
    """Answers one request to a model: its input is a `ChatRequest` as JSON, its output the `ChatReply` as JSON, see `codec`.

    The answer's text is reported as it comes, as `{"delta": "..."}`, some pieces together; an attempt that is made again
    reports it again. What is not named here goes on the card as it is: `AgentInfo` says what it means.
    """

    def __init__(
        self,
        provider: Provider,
        model: str,
        *,
        name: str | None = None,
        description: str = "",
        version: str = "",
        timeout: float | None = None,
        replay_safe: bool | None = None,
        labels: Mapping[str, str] | None = None,
        max_parallel: int | None = None,
        width: int | None = None,
        rate: Rate | None = None,
        weight: float = 1.0,
        breaker: Breaker | None = None,
    ) -> None:
        """`width` is the most requests at once that the provider is to have connections for; None means `max_parallel`."""
        if not model:
            raise ValueError("model: is empty; name the model that answers")
        self.provider = provider
        self.model = model
        self._width = max_parallel if width is None else width
        self._info = checked(
            AgentInfo(
                name=name or chat_name(provider.name, model),
                kind=AgentKind.MODEL,
                description=description,
                version=version,
                timeout=timeout,
                replay_safe=replay_safe,
                labels=dict(labels or {}),
                provider=provider.name,
                max_parallel=max_parallel,
                rate=rate,
                weight=weight,
                breaker=breaker,
            )
        )

    def __repr__(self) -> str:
        return f"<ChatAgent {self._info.name}>"

    @property
    def info(self) -> AgentInfo:
        return self._info

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return {"provider": provider_settings(self.provider), "model": self.model}

    async def call(self, call: Call, /) -> Reply:
        try:
            request = request_of(call.input.json())
        except ValueError as error:
            message = f"{self._info.name} takes a request to a model as JSON: {error}"
            raise AgentError(message, reason=INPUT_INVALID) from error
        pieces = Pieces(call)
        context = ChatContext(
            deadline=call.deadline, idempotency_key=call.idempotency_key, hear=pieces.hear, width=self._width
        )
        life = getattr(self.provider, "life", None)
        if life is not None:
            life.use(call)
        try:
            reply = await self.provider.chat(request, context)
        except trio.Cancelled:
            call.stop_detail = "request closed"
            raise
        except AgentError as error:
            if error.reason in _UNPAID:
                call.spend(Usage(calls=1))
            raise
        finally:
            pieces.flush(last=True)
        reply = with_whole_text(reply)
        return Reply(
            Payload.from_json(reply_value(reply)),
            usage=None if reply.usage == _usage.NONE else reply.usage,
            metadata={
                "provider": self.provider.name,
                "system": self.provider.system,
                "model": reply.model or request.model,
                "requested_model": request.model,
                "finish": reply.finish.value,
                "response_id": reply.response_id,
            },
        )

    async def aclose(self) -> None:
        await self.provider.aclose()


class Pieces:
    """Gathers an answer's text as it comes and reports it, some pieces together."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._text = ""
        self._told = 0
        self._due = 0.0

    def hear(self, piece: str) -> None:
        self._text += piece
        step = 1 + self._told // WIDEN_EVERY
        now = trio.current_time()
        if now >= self._due or len(self._text) >= PIECE_CHARACTERS * step:
            self.flush()
            self._due = now + PIECE_SECONDS * step

    def flush(self, *, last: bool = False) -> None:
        """Report what is there, but for the first half of a character whose second half is still to come."""
        text, self._text = self._text, ""
        if not last and text[-1:] and "\ud800" <= text[-1] <= "\udbff":
            text, self._text = text[:-1], text[-1]
        text = whole(text)
        for start in range(0, len(text), MAX_PIECE):
            self._told += 1
            self._call.report({"delta": text[start : start + MAX_PIECE]})


def whole(text: str) -> str:
    """The text as Unicode: servers cut between the two halves of a character, and models write one half alone."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def with_whole_text(reply: ChatReply) -> ChatReply:
    """The reply with nothing in it that cannot be kept or sent."""
    calls = tuple(
        replace(call, id=whole(call.id), name=whole(call.name), arguments=whole(call.arguments))
        for call in reply.tool_calls
    )
    return replace(reply, text=whole(reply.text), tool_calls=calls)


def provider_settings(provider: Provider) -> dict[str, Any]:
    """What tells a provider from others, without secrets."""
    return {"name": provider.name, "system": provider.system, "own": getattr(provider, "settings", None)}


def chat_name(provider: str, model: str) -> str:
    """The name of the agent that asks this model, with what names may not have replaced by `-`."""
    name = re.sub(r"[^A-Za-z0-9_.:-]", "-", f"{provider}:{model}")[:128]
    return name if re.match(r"[A-Za-z0-9_]", name) else f"_{name}"[:128]
