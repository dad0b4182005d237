"""Scripts of answers as TOML files, and what is said of a wrong one."""

import math
from pathlib import Path
from typing import Any

import pytest
import trio

from motet.agents.model.providers.prices import Price
from motet.agents.model.providers.scripted import ScriptedProvider
from motet.errors import AgentError
from motet.model.chat import ChatReply, ChatRequest, Finish, Message, Role
from motet.ports import ChatContext

SCRIPT = """
[[reply]]
when_user = "weather"
when_result = "sunny"
text = "It is sunny."
pieces = 2

[[reply]]
when_user = "weather"
tool = "look"
arguments = { place = "Basel" }

[[reply]]
when_instructions = "both"
tools = [{ name = "a", arguments = { x = 1 } }, { name = "b" }]

[[reply]]
when_model = "busy"
error = { reason = "RATE_LIMITED", message = "slow down", retry_after = 2 }
times = 1

[[reply]]
when_model = "broken"
error = "PROVIDER_REJECTED"

[[reply]]
when_user = "slow"
text = "done"
delay = 5
finish = "length"

[[reply]]
text = "I do not know."
"""


def write(folder: Path, content: str) -> Path:
    path = folder / "script.toml"
    path.write_text(content)
    return path


async def ask(provider: ScriptedProvider, *messages: tuple[Role, str], model: str = "m") -> ChatReply:
    said = tuple(Message(role=role, text=text) for role, text in messages)
    return await provider.chat(ChatRequest(model=model, messages=said), ChatContext(deadline=math.inf))


@pytest.fixture
def provider(tmp_path: Path) -> ScriptedProvider:
    return ScriptedProvider.load(write(tmp_path, SCRIPT), "acting", price=Price(1, 1))


async def test_a_file_says_what_rules_say(provider: ScriptedProvider) -> None:
    user = Role.USER, "the weather?"
    assert provider.name == "acting"
    call = (await ask(provider, user)).tool_calls[0]
    assert (call.name, call.arguments) == ("look", '{"place": "Basel"}')
    assert (await ask(provider, user, (Role.TOOL, "sunny"))).text == "It is sunny."
    both = await ask(provider, (Role.SYSTEM, "both"), (Role.USER, "go"))
    assert [(c.id, c.name, c.arguments) for c in both.tool_calls] == [
        ("call_1", "a", '{"x": 1}'),
        ("call_2", "b", "{}"),
    ]
    other = await ask(provider, (Role.USER, "else"))
    assert other.text == "I do not know."
    assert other.usage.cost_nanos > 0


async def test_errors_of_a_file_are_agent_errors(provider: ScriptedProvider) -> None:
    with pytest.raises(AgentError, match="slow down") as busy:
        await ask(provider, model="busy")
    assert (busy.value.reason, busy.value.retryable, busy.value.retry_after) == ("RATE_LIMITED", True, 2)
    assert (await ask(provider, model="busy")).text == "I do not know."
    with pytest.raises(AgentError) as broken:
        await ask(provider, model="broken")
    assert (broken.value.reason, broken.value.retryable) == ("PROVIDER_REJECTED", False)


async def test_a_delay_is_in_seconds(provider: ScriptedProvider, autojump_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    assert (await ask(provider, (Role.USER, "slow"))).finish is Finish.LENGTH
    assert trio.current_time() - start == 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[[reply", "no TOML"),
        ("", r"add a \[\[reply\]\] table"),
        ("reply = 3", "reply is 3"),
        ("reply = [3]", "reply 1 is 3"),
        ("other = 1", "other is no key"),
        ("[[reply]]\ntext = 'a'\n[[reply]]\ntext = 'b'", "reply 2 is never given"),
        ("[[reply]]\nwhen_user = 'a'", "reply 1 says nothing"),
        ("[[reply]]\ntext = 'a'\nwhen_usr = 'b'", "reply 1: when_usr"),
        ("[[reply]]\ntext = 'a'\nwhen_user = '('", "reply 1: when_user is no regular expression"),
        ("[[reply]]\ntext = 'a'\nwhen_user = 3", "reply 1: when_user is 3"),
        ("[[reply]]\ntext = 3", "reply 1: text is 3"),
        ("[[reply]]\ntext = 'a'\ntimes = 0", "reply 1: times"),
        ("[[reply]]\ntext = 'a'\ntimes = true", "reply 1: times is True"),
        ("[[reply]]\ntext = 'a'\ndelay = -1", "reply 1: delay"),
        ("[[reply]]\ntext = 'a'\npieces = 'x'", "reply 1: pieces"),
        ("[[reply]]\ntext = 'a'\nfinish = 'x'", "reply 1: finish"),
        ("[[reply]]\ntext = 'a'\narguments = {}", "reply 1: arguments without a tool"),
        ("[[reply]]\ntool = 'a'\narguments = { at = 2026-01-01 }", "reply 1: the arguments of a have no JSON form"),
        ("[[reply]]\ntools = [{ arguments = {} }]", "reply 1: tools 1: name is missing"),
        ("[[reply]]\ntools = [{ name = 'a', args = {} }]", "reply 1: tools 1: args"),
        ("[[reply]]\nerror = 'no reason'", "reply 1: error: reason"),
        ("[[reply]]\nerror = 3", "reply 1: error is 3"),
        ("[[reply]]\nerror = { reason = 'X', retryable = 1 }", "reply 1: error: retryable"),
    ],
)
def test_a_mistake_is_named_with_its_entry(tmp_path: Path, content: str, said: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=said) as caught:
        ScriptedProvider.load(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.toml: the script cannot be read"):
        ScriptedProvider.load(tmp_path / "none.toml")


def test_arguments_stay_as_written_through_the_file(tmp_path: Path) -> None:
    loaded: Any = ScriptedProvider.load(write(tmp_path, SCRIPT))
    assert repr(loaded) == "ScriptedProvider('scripted', 7 rules, 0 replies)"
