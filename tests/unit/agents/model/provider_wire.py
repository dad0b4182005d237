"""One name for what the two wire formats have in common, so that a test is written once for both providers."""

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import anthropic_peer
import openai_peer
import pytest
from wire_peer import Act, WirePeer

from motet.agents.model.providers.anthropic import AnthropicProvider
from motet.agents.model.providers.openai import OpenAIProvider
from motet.errors import AgentError
from motet.model.chat import ChatReply, ChatRequest, Message, Role
from motet.ports import ChatContext

KEY = "sk-veryverysecretkey0123456789"


@dataclass(frozen=True)
class Wire:
    """A wire format: its provider, its local server, and how both are made."""

    name: str
    peer: type[WirePeer]
    provider: type[OpenAIProvider] | type[AnthropicProvider]
    format: ModuleType

    def say(self, text: str = "", **own: Any) -> Act:
        return self.format.say(text, **own)

    def fail(self, status: int, message: str = "no", **own: Any) -> Act:
        return self.format.fail(status, message, **own)

    @property
    def deny(self) -> Act:
        return self.format.deny


OPENAI = Wire("openai", openai_peer.OpenAIPeer, OpenAIProvider, openai_peer)
ANTHROPIC = Wire("anthropic", anthropic_peer.AnthropicPeer, AnthropicProvider, anthropic_peer)


@dataclass
class Talk:
    """A provider and the server that it talks to."""

    provider: OpenAIProvider | AnthropicProvider
    peer: WirePeer
    wire: Wire

    async def ask(self, user: str = "hello", **own: Any) -> ChatReply:
        context = {"deadline": math.inf} | {key: own.pop(key) for key in ("deadline", "hear", "width") if key in own}
        if "idempotency_key" in own:
            context["idempotency_key"] = own.pop("idempotency_key")
        own = {"model": "m", "messages": (Message(role=Role.USER, text=user),), **own}
        return await self.provider.chat(ChatRequest(**own), ChatContext(**context))

    async def fail(self, *args: Any, **own: Any) -> AgentError:
        """The error that an answer ends in."""
        with pytest.raises(AgentError) as caught:
            await self.ask(*args, **own)
        return caught.value


@asynccontextmanager
async def talk(wire: Wire, acts: Sequence[Act] = (), *, then: Act | None = None, **own: Any) -> AsyncIterator[Talk]:
    """A provider with a scripted server behind it."""
    async with wire.peer() as peer:
        peer.script(acts, then=then)
        provider = wire.provider(base_url=peer.url, **{"api_key": KEY, **own})
        try:
            yield Talk(provider, peer, wire)
        finally:
            await provider.aclose()


def everything_said(error: BaseException) -> str:
    """All that an error tells anybody, with what it came from."""
    texts: list[str] = []
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        texts += [str(one), repr(one), repr(getattr(one, "details", "")), repr(vars(one))]
        todo += [one.__cause__, one.__context__]
    return "\n".join(texts)
