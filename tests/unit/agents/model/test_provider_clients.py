"""The life of a provider's client: when it is made, made anew, and closed."""

import importlib
import math
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
from provider_wire import ANTHROPIC, KEY, OPENAI, Wire, talk
from wire_peer import events, respond

from motet.agents.model import reasons
from motet.agents.model.providers.openai import OpenAIProvider
from motet.errors import AgentError
from motet.model.chat import ChatRequest, Message, Role
from motet.ports import ChatContext

ASK = ChatRequest(model="m", messages=(Message(role=Role.USER, text="hello"),))

both = pytest.mark.parametrize("wire", [OPENAI, ANTHROPIC], ids=["openai", "anthropic"])


def context(**own: Any) -> ChatContext:
    return ChatContext(**{"deadline": math.inf, **own})


def made_by(provider: Any, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the clients that the provider makes from now on."""
    sizes: list[int] = []
    make = provider._make_http

    def counted(connections: int) -> Any:
        sizes.append(connections)
        return make(connections)

    monkeypatch.setattr(provider, "_make_http", counted)
    return sizes


@both
async def test_requests_that_come_at_once_share_one_client(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async with talk(wire, then=wire.say("hi")) as it:
        sizes = made_by(it.provider, monkeypatch)
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(it.provider.chat, ASK, context())
        assert sizes == [100]


async def test_a_wider_program_gets_more_connections_and_breaks_nothing_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = trio.Event()
    async with talk(OPENAI, [OPENAI.say("slow", gate=gate)], then=OPENAI.say("hi")) as it:
        sizes = made_by(it.provider, monkeypatch)
        replies: list[str] = []

        async def ask(width: int | None) -> None:
            replies.append((await it.provider.chat(ASK, context(width=width))).text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, 5)
            await it.peer.wait_requests(1)
            await ask(300)
            await ask(None)
            gate.set()
        assert replies == ["hi", "hi", "slow"]
        assert sizes == [100, 300]
        with trio.fail_after(10):  # the first client went when its last request had ended
            while it.peer.connections != 1:  # noqa: ASYNC110 - the server of a socket sets no event
                await trio.sleep(0.01)


@both
async def test_a_key_that_was_renewed_is_read_again_after_it_was_refused(wire: Wire, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old")
    file.chmod(0o600)
    async with wire.peer() as peer:
        provider = wire.provider(base_url=peer.url, api_key_file=file)
        peer.script([wire.deny], then=wire.say("hi"))
        file.write_text("old-key-000000")
        with pytest.raises(AgentError) as caught:
            await provider.chat(ASK, context())
        assert caught.value.reason == reasons.PROVIDER_DENIED
        file.write_text("new-key-111111")
        assert (await provider.chat(ASK, context())).text == "hi"
        first, second = (" ".join(turn.headers.values()) for turn in peer.turns)
        assert "old-key-000000" in first
        assert "new-key-111111" in second
        await provider.aclose()


async def test_nothing_of_the_sdks_exception_goes_along_with_the_error() -> None:
    async with talk(OPENAI, [OPENAI.deny]) as it:
        with pytest.raises(AgentError) as caught:
            await it.provider.chat(ASK, context())
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_provider_serves_one_program_after_the_other() -> None:
    provider: OpenAIProvider | None = None

    async def program() -> str:
        nonlocal provider
        async with OPENAI.peer() as peer:
            peer.script(then=OPENAI.say("hi"))
            if provider is None:
                provider = OpenAIProvider(base_url=peer.url, api_key=KEY)
            provider._base_url = peer.url
            text = (await provider.chat(ASK, context())).text
            await provider.aclose()
            await provider.aclose()
            return text

    assert [trio.run(program), trio.run(program)] == ["hi", "hi"]


async def test_the_sdk_is_imported_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module
    threads: list[threading.Thread] = []

    def watched(name: str, package: str | None = None) -> Any:
        if name == "openai":
            threads.append(threading.current_thread())
        return real(name, package)

    async with talk(OPENAI, then=OPENAI.say("hi")) as it:
        monkeypatch.setattr("motet.agents.model.providers._sdk.importlib.import_module", watched)
        await it.provider.chat(ASK, context())
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_without_the_sdk_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = OpenAIProvider(base_url="http://127.0.0.1:1", api_key=KEY)
    monkeypatch.setattr(provider, "package", "no_such_sdk")
    with pytest.raises(AgentError, match=r"install motet\[models\]") as caught:
        await provider.chat(ASK, context())
    assert caught.value.reason == reasons.PROVIDER_MISSING


@both
async def test_a_redirect_is_not_followed(wire: Wire) -> None:
    async with wire.peer() as elsewhere, talk(wire) as it:
        it.peer.script([respond(307, b"", {"location": elsewhere.url + "/v1/messages"})])
        with pytest.raises(AgentError) as caught:
            await it.provider.chat(ASK, context())
        assert caught.value.reason == reasons.PROVIDER_REJECTED
        assert not elsewhere.turns


async def test_a_silence_longer_than_the_read_timeout_ends_the_request() -> None:
    async with OPENAI.peer() as peer:
        peer.script(then=OPENAI.say("some words here", hold_after=1))
        provider = OpenAIProvider(base_url=peer.url, api_key=KEY, read_timeout=0.05)
        with pytest.raises(AgentError) as caught:
            await provider.chat(ASK, context())
        assert (caught.value.reason, caught.value.retryable) == (reasons.PROVIDER_UNAVAILABLE, True)
        await peer.wait_disconnected()
        await provider.aclose()


async def test_an_error_in_the_stream_tells_the_id_of_its_request() -> None:
    async with talk(OPENAI, [events(b'data: {"error": {"message": "busy", "code": 503}}\n\n')]) as it:
        with pytest.raises(AgentError) as caught:
            await it.provider.chat(ASK, context())
    assert caught.value.details["request_id"] == "req_1"


@both
async def test_a_listener_that_raises_ends_the_request_with_its_own_error(wire: Wire) -> None:
    def deaf(_piece: str) -> None:
        raise RuntimeError("deaf")

    async with talk(wire, [wire.say("some words here", hold_after=2)], then=wire.say("hi")) as it:
        with pytest.raises(RuntimeError, match="deaf"):
            await it.provider.chat(ASK, context(hear=deaf))
        await it.peer.wait_disconnected()
        assert (await it.provider.chat(ASK, context())).text == "hi"
