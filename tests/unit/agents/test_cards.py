"""What agents of every kind tell guards on their cards, what they pass on to tell repeats by, and what they spend."""

import functools
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import trio

from motet.agents.command import CommandAgent
from motet.agents.function import FunctionAgent, agent
from motet.agents.group import GroupAgent
from motet.agents.http import HttpAgent
from motet.errors import AgentError
from motet.model.payload import Payload
from motet.model.rate import Breaker, Rate
from motet.model.usage import NONE, Usage
from motet.ports import Call
from motet.testing import RecordingHost

if TYPE_CHECKING:
    from motet.model.agent import AgentInfo


def echo(text: str) -> str:
    return text


KINDS: dict[str, Callable[..., Any]] = {
    "function": lambda **options: FunctionAgent(echo, **options),
    "command": lambda **options: CommandAgent("c", ["true"], **options),
    "http": lambda **options: HttpAgent("h", "http://127.0.0.1/", **options),
}
each_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def make_call(key: str = "", input: object = "x") -> Call:
    return Call(Payload.of(input), host=RecordingHost(), run_id="run-1", member="m", idempotency_key=key)


@each_kind
def test_a_card_says_nothing_that_was_not_said(make: Callable[..., Any]) -> None:
    info: AgentInfo = make().info
    assert (info.replay_safe, info.estimated_tokens, info.estimated_cost_nanos) == (None, None, None)
    assert (info.rate, info.weight, info.breaker) == (None, 1, None)


@each_kind
def test_a_card_carries_estimates_rate_weight_and_breaker(make: Callable[..., Any]) -> None:
    rate, breaker = Rate(calls_per_second=2, burst=4), Breaker(failures=1)
    said = {"estimated_tokens": 5, "estimated_cost_nanos": 7, "rate": rate, "weight": 0.5, "breaker": breaker}
    for replay_safe in (True, False):
        info: AgentInfo = make(replay_safe=replay_safe, **said).info
        assert (info.replay_safe, info.estimated_tokens, info.estimated_cost_nanos) == (replay_safe, 5, 7)
        assert (info.rate, info.weight, info.breaker) == (rate, 0.5, breaker)


@each_kind
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weight": 0}, "weight: must be a finite number above 0"),
        ({"weight": float("nan")}, "weight: must be"),
        ({"estimated_tokens": -1}, "estimated_tokens: must be 0 or more"),
        ({"estimated_cost_nanos": 0.5}, "estimated_cost_nanos: must be a whole number"),
        ({"rate": Rate(calls_per_second=-1)}, "rate.calls_per_second: must be a finite number above 0"),
        ({"rate": 5}, "rate: must be Rate, not int"),
        ({"breaker": Breaker(probes=0), "weight": -1}, "weight: .*; breaker.probes: must be 1 or more"),
        ({"replay_safe": 1}, "replay_safe: must be true or false"),
    ],
)
def test_a_wrong_card_is_refused_where_the_agent_is_made(
    options: dict[str, Any], said: str, make: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match=said):
        make(**options)


def test_a_group_agent_says_only_whether_it_may_be_run_twice() -> None:
    assert GroupAgent("g", "g").info.replay_safe is None
    assert GroupAgent("g", "g", replay_safe=False).info.replay_safe is False
    with pytest.raises(ValueError, match="replay_safe: must be"):
        GroupAgent("g", "g", replay_safe="no")  # type: ignore[arg-type]


def test_a_function_agent_made_from_the_options_of_another_has_its_card() -> None:
    first = agent(rate=Rate(calls_per_minute=3), weight=2, estimated_tokens=4, breaker=Breaker())(echo)
    assert FunctionAgent(first.fn, **first.options).info == first.info


def shout(text: str) -> str:
    return text.upper()


SETTINGS: dict[str, tuple[Any, ...]] = {
    "function": (FunctionAgent(echo), FunctionAgent(shout), FunctionAgent(functools.partial(echo), name="p")),
    "command": (
        CommandAgent("c", ["true"]),
        CommandAgent("c", ["false"]),
        CommandAgent("c", ["true"], env={"A": "1"}),
        CommandAgent("c", ["true"], env={"A": "2"}),
        CommandAgent("c", ["true"], output="json"),
        CommandAgent("c", ["true"], parse=len),  # type: ignore[arg-type]
        CommandAgent("c", ["true"], cwd="/"),
    ),
    "http": (
        HttpAgent("h", "http://127.0.0.1/"),
        HttpAgent("h", "http://127.0.0.1/x"),
        HttpAgent("h", "http://127.0.0.1/", headers={"a": "s3cret"}),
        HttpAgent("h", "http://127.0.0.1/", method="PUT"),
    ),
    "group": (GroupAgent("g", "one"), GroupAgent("g", "two")),
}


@pytest.mark.parametrize("agents", SETTINGS.values(), ids=SETTINGS)
def test_agents_that_answer_differently_have_settings_of_their_own_and_name_no_secret(agents: tuple[Any, ...]) -> None:
    told = [repr(made.settings) for made in agents]
    assert len(set(told)) == len(told)
    assert not [text for text in told if "s3cret" in text or " at 0x" in text]


def test_agents_that_are_made_alike_have_equal_settings() -> None:
    for make in KINDS.values():
        assert make().settings == make().settings
    assert GroupAgent("g", "g").settings == GroupAgent("h", "g").settings


# --------------------------------------------------------------------------------------------------- idempotency keys


async def sent(peer: Any, call: Call, **options: Any) -> dict[str, str]:
    made = HttpAgent("h", peer.url, **options)
    try:
        await made.call(call)
    finally:
        with trio.move_on_after(5, shield=True):
            await made.aclose()
    headers: dict[str, str] = peer.requests[-1].headers
    return headers


async def test_an_http_request_carries_the_calls_key_when_there_is_one(peer: Any) -> None:
    assert (await sent(peer, make_call("run-1/g/m_2")))["idempotency-key"] == "run-1/g/m_2"
    assert "idempotency-key" not in await sent(peer, make_call())


async def test_a_key_of_the_agents_own_headers_wins(peer: Any) -> None:
    headers = await sent(peer, make_call("k"), headers={"Idempotency-Key": "mine"})
    assert headers["idempotency-key"] == "mine"


async def test_a_key_that_no_header_can_carry_is_encoded_and_keys_stay_apart(peer: Any) -> None:
    keys = ["a b", "a%20b", "\u00e9\r\nx-admin: 1"]
    seen = [(await sent(peer, make_call(key)))["idempotency-key"] for key in keys]
    assert seen == ["a%20b", "a%2520b", "%C3%A9%0D%0Ax-admin:%201"]


async def test_a_program_sees_the_calls_key_when_there_is_one() -> None:
    program = "import os, json; print(json.dumps(os.environ.get('MOTET_IDEMPOTENCY_KEY')))"
    made = CommandAgent("c", [sys.executable, "-c", program], output="json", input="none")
    assert (await made.call(make_call("k 1"))).output.value == "k 1"
    assert (await made.call(make_call())).output.value is None


# -------------------------------------------------------------------------------------------------------- what is spent


@agent(isolation="process")
def spends(text: str, call: Call) -> str:
    call.spend(Usage(calls=1, input_tokens=3))
    call.spend(Usage(calls=1, cost_nanos=5))
    if text == "fail":
        raise AgentError("no", reason="NO")
    return json.dumps([call.idempotency_key, call.spent.calls])


async def test_a_process_has_the_calls_key_and_tells_what_it_spends_as_it_goes() -> None:
    call = make_call("k")
    reply = await spends.call(call)
    assert json.loads(reply.output.text) == ["k", 2]
    assert reply.usage is None
    assert call.spent == Usage(calls=2, input_tokens=3, cost_nanos=5)


async def test_what_a_process_spent_before_it_failed_is_known() -> None:
    call = make_call(input="fail")
    assert call.spent == NONE
    with pytest.raises(AgentError):
        await spends.call(call)
    assert call.spent == Usage(calls=2, input_tokens=3, cost_nanos=5)


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_function_that_takes_the_call_spends_on_it(*, blocking: bool) -> None:
    async def asks(call: Call) -> str:
        await trio.lowlevel.checkpoint()
        return pays(call)

    def pays(call: Call) -> str:
        call.spend(Usage(calls=1, output_tokens=9))
        return "paid"

    call = make_call()
    await FunctionAgent(pays if blocking else asks).call(call)
    assert call.spent == Usage(calls=1, output_tokens=9)


async def test_what_a_thread_spent_before_it_was_stopped_is_known() -> None:
    ready = trio.Event()

    def pays(call: Call) -> None:
        call.spend(Usage(calls=1))
        trio.from_thread.run_sync(ready.set)
        while True:
            trio.from_thread.check_cancelled()

    call = make_call()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(FunctionAgent(pays).call, call)
        with trio.fail_after(20):
            await ready.wait()
        nursery.cancel_scope.cancel()
    assert call.spent == Usage(calls=1)


async def test_a_function_in_a_thread_sees_the_calls_key() -> None:
    def keyed(call: Call) -> str:
        return call.idempotency_key

    assert (await FunctionAgent(keyed).call(make_call("k"))).output.text == "k"
