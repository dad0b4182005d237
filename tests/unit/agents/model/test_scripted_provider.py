"""The scripted provider: which answer it gives, how it gives it, and what it counts."""

import math
import re
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from motet.agents.model import reasons
from motet.agents.model.providers.prices import Price
from motet.agents.model.providers.scripted import Rule, Say, Scripted, ScriptedProvider
from motet.errors import AgentError
from motet.model.chat import ChatReply, ChatRequest, Finish, Message, Role, ToolCall
from motet.model.usage import Usage
from motet.ports import ChatContext, Provider


def asking(user: str = "hello", *, system: str = "", results: tuple[str, ...] = (), **own: Any) -> ChatRequest:
    messages = [Message(role=Role.SYSTEM, text=system)] if system else []
    messages.append(Message(role=Role.USER, text=user))
    if results:
        wanted = tuple(ToolCall(id=f"call_{n}", name="tool") for n, _ in enumerate(results, 1))
        messages.append(Message(role=Role.ASSISTANT, tool_calls=wanted))
        messages += [Message(role=Role.TOOL, text=text, tool_call_id=f"call_{n}") for n, text in enumerate(results, 1)]
    return ChatRequest(**{"model": "m", "messages": tuple(messages), **own})


async def say(provider: ScriptedProvider, request: ChatRequest | None = None, **own: Any) -> ChatReply:
    return await provider.chat(request or asking(), ChatContext(**{"deadline": math.inf, **own}))


async def text(provider: ScriptedProvider, *args: Any, **own: Any) -> str:
    return (await say(provider, asking(*args, **own))).text


def test_it_is_a_provider_of_a_system_of_its_own() -> None:
    provider = ScriptedProvider("acting")
    assert isinstance(provider, Provider)
    assert (provider.name, provider.system) == ("acting", "scripted")


async def test_replies_are_given_in_order_and_then_the_script_is_exhausted() -> None:
    provider = ScriptedProvider(replies=["one", Say("two"), ChatReply(text="three")])
    assert [await text(provider) for _ in range(3)] == ["one", "two", "three"]
    with pytest.raises(AgentError) as caught:
        await say(provider, asking("what now?", system="be brief", results=("42",), model="big"))
    assert caught.value.reason == reasons.SCRIPT_EXHAUSTED
    assert not caught.value.retryable
    assert "what now?" in caught.value.message
    assert caught.value.details == {
        "provider": "scripted",
        "model": "big",
        "instructions": "be brief",
        "user": "what now?",
        "results": ["42"],
    }


async def test_a_function_answers_by_the_request_and_leaves_the_rest_to_the_default() -> None:
    provider = ScriptedProvider(
        replies=lambda request: "hi" if "hello" in request.messages[-1].text else None,
        default=lambda request: f"{request.model} does not know",
    )
    assert await text(provider, "hello") == "hi"
    assert await text(provider, "bye") == "m does not know"


async def test_the_first_rule_that_fits_goes_before_replies_and_default() -> None:
    provider = ScriptedProvider(
        rules=[
            Rule(reply="by model", when_model="^big"),
            Rule(reply="by result", when_result=re.compile("42")),
            Rule(reply="by instructions", when_instructions="translator"),
            Rule(reply="by user", when_user=lambda asked: asked.endswith("?")),
            Rule(reply="by request", when=lambda request: request.tools != () or len(request.messages) > 2),
            Rule(reply="by both", when_user="x", when_model="y"),
        ],
        replies=["next"],
        default="default",
    )
    assert await text(provider, model="bigger") == "by model"
    assert await text(provider, results=("no", "42")) == "by result"
    assert await text(provider, system="you are a translator") == "by instructions"
    assert await text(provider, "well?") == "by user"
    assert await text(provider, results=("no",)) == "by request"
    assert await text(provider, "x", model="y") == "by both"
    assert await text(provider, "x") == "next"
    assert await text(provider, "x") == "default"


async def test_only_the_results_that_the_request_ends_with_count() -> None:
    provider = ScriptedProvider(rules=[Rule(reply="seen", when_result="")], default="none")
    ended = asking(results=("42",))
    later = ChatRequest(model="m", messages=(*ended.messages, Message(role=Role.USER, text="and now?")))
    assert (await say(provider, ended)).text == "seen"
    assert (await say(provider, later)).text == "none"


async def test_a_rule_may_answer_only_so_often_and_may_pass() -> None:
    provider = ScriptedProvider(
        rules=[
            Rule(reply=lambda request: None if request.model == "m" else "other", times=1),
            Rule(reply="twice", times=2),
        ],
        default="then",
    )
    assert [await text(provider) for _ in range(3)] == ["twice", "twice", "then"]
    assert await text(provider, model="n") == "other"


async def test_tool_calls_have_ids_that_count_through_the_conversation() -> None:
    provider = ScriptedProvider(
        default=[("add", {"a": 1}), ToolCall(id="mine", name="add", arguments="not JSON"), ("add", {"a": "ä"})]
    )
    reply = await say(provider)
    assert reply.finish is Finish.TOOL_CALLS
    assert reply.tool_calls == (
        ToolCall(id="call_1", name="add", arguments='{"a": 1}'),
        ToolCall(id="mine", name="add", arguments="not JSON"),
        ToolCall(id="call_3", name="add", arguments='{"a": "ä"}'),
    )
    assert (await say(provider, asking(results=("1", "2")))).tool_calls[0].id == "call_3"


async def test_a_mapping_is_said_as_its_json() -> None:
    assert await text(ScriptedProvider(default={"answer": 42})) == '{"answer": 42}'


async def test_an_exception_is_raised_as_it_is() -> None:
    error = AgentError("too many", reason=reasons.RATE_LIMITED, retryable=True, retry_after=3)
    provider = ScriptedProvider(replies=[error, OSError("cut")])
    with pytest.raises(AgentError) as caught:
        await say(provider)
    assert caught.value is error
    with pytest.raises(OSError, match="cut"):
        await say(provider)


async def test_pieces_are_heard_with_the_delay_spread_over_them(autojump_clock: trio.testing.MockClock) -> None:
    heard: list[tuple[float, str]] = []
    provider = ScriptedProvider(default=Say("abcdefgh", delay=4, pieces=4))
    reply = await say(provider, hear=lambda piece: heard.append((trio.current_time(), piece)))
    start = heard[0][0] - 1
    assert [(at - start, piece) for at, piece in heard] == [(1, "ab"), (2, "cd"), (3, "ef"), (4, "gh")]
    assert reply.text == "abcdefgh"


async def test_nothing_is_heard_of_an_answer_that_is_asked_for_whole(autojump_clock: trio.testing.MockClock) -> None:
    heard: list[str] = []
    start = trio.current_time()
    reply = await say(ScriptedProvider(default=Say("ab", delay=4, pieces=2)), asking(stream=False), hear=heard.append)
    assert (reply.text, heard) == ("ab", [])
    assert trio.current_time() - start == 4


async def test_an_error_after_text_breaks_off_what_was_heard() -> None:
    heard: list[str] = []
    provider = ScriptedProvider(default=Say("abc", pieces=9, error=OSError("cut")))
    with pytest.raises(OSError, match="cut"):
        await say(provider, hear=heard.append)
    assert heard == ["a", "b", "c"]


async def test_it_counts_what_runs_and_what_was_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    provider = ScriptedProvider(default=Say("late", delay=math.inf, pieces=3))
    async with trio.open_nursery() as nursery:
        for key in ("a", "b"):
            nursery.start_soon(partial(say, provider, idempotency_key=key))
        await wait_all_tasks_blocked()
        assert (provider.running, provider.peak, provider.cancelled) == (2, 2, 0)
        nursery.cancel_scope.cancel()
    assert (provider.running, provider.peak, provider.cancelled) == (0, 2, 2)
    assert len(provider.requests) == 2
    assert sorted(context.idempotency_key for context in provider.contexts) == ["a", "b"]


async def test_rules_answer_the_same_whatever_the_order_of_concurrent_requests(
    autojump_clock: trio.testing.MockClock,
) -> None:
    provider = ScriptedProvider(
        rules=[Rule(reply=Say(f"r{n}", delay=n % 3), when_user=f"^q{n}$") for n in range(20)],
    )
    answers: dict[int, str] = {}

    async def ask(n: int) -> None:
        answers[n] = await text(provider, f"q{n}")

    async with trio.open_nursery() as nursery:
        for n in range(20):
            nursery.start_soon(ask, n)
    assert answers == {n: f"r{n}" for n in range(20)}


async def test_tokens_are_a_quarter_of_the_characters_and_free_unless_priced() -> None:
    request = asking("u" * 20, system="s" * 20)
    counted = Usage(calls=1, input_tokens=10, output_tokens=2)
    assert (await say(ScriptedProvider(default="12345678"), request)).usage == counted
    assert (await say(ScriptedProvider(default=""), asking(""))).usage == Usage(
        calls=1, input_tokens=1, output_tokens=1
    )
    priced = ScriptedProvider(default="12345678", price=Price(1, 2), model_prices={"big*": Price(10, 20)})
    assert (await say(priced, request)).usage.cost_nanos == 10_000 + 4_000
    assert (await say(priced, asking("u" * 40, model="bigger"))).usage.cost_nanos == 100_000 + 40_000
    unpriced = await say(ScriptedProvider(default="x", unpriced=True))
    assert (unpriced.usage.cost_nanos, unpriced.usage.unpriced_calls) == (0, 1)
    own = Usage(calls=1, input_tokens=7)
    assert (await say(ScriptedProvider(default=Say("x", usage=own)))).usage == own


async def test_what_an_answer_says_of_itself_stands() -> None:
    reply = await say(ScriptedProvider(default=Say("x", finish=Finish.LENGTH, model="other", response_id="r1")))
    assert (reply.finish, reply.model, reply.response_id) == (Finish.LENGTH, "other", "r1")
    assert (await say(ScriptedProvider(default="x"))).model == "m"


async def test_it_may_be_used_after_it_was_closed() -> None:
    provider = ScriptedProvider(default="x")
    await provider.aclose()
    assert await text(provider) == "x"
    assert provider.closed == 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Say("x", delay=-1), "delay"),
        (lambda: Say("x", delay=math.nan), "delay"),
        (lambda: Say("x", pieces=0), "pieces"),
        (lambda: Say(tool_calls=[("add", {"a": object()})]), "JSON"),
        (lambda: Say(tool_calls=["add"]), "no tool call"),  # type: ignore[list-item]
        (lambda: Rule(reply="x", when_user="("), "when_user"),
        (lambda: Rule(reply="x", times=0), "times"),
        (lambda: Rule(reply=3), "scripted answer"),  # type: ignore[arg-type]
        (lambda: ScriptedProvider(replies="text"), "replies"),
        (lambda: ScriptedProvider(replies=[None]), "scripted answer"),
    ],
)
def test_what_is_no_script_is_refused_when_it_is_written(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


async def test_a_function_that_answers_with_no_answer_is_told_so() -> None:
    wrong: Scripted = 3  # type: ignore[assignment]
    with pytest.raises(ValueError, match="scripted answer"):
        await text(ScriptedProvider(default=lambda _request: wrong))
