"""Instructions: literal text, templates in the sandbox, functions of the state; each failure says what to put right."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import trio

from motet.agents.model.instructions import MAX_INSTRUCTIONS, ModelState, Template, render
from motet.agents.model.reasons import INSTRUCTIONS_FAILED
from motet.errors import AgentError
from motet.model.payload import Payload
from motet.model.session import SessionEntry
from motet.testing import make_call

STATE = ModelState(
    input={"q": "why?"},
    text='{"q":"why?"}',
    variables={"name": "Ann", "items": [1, 2], "input": "a variable"},
    agent="writer",
    turn=2,
)


async def refusal(instructions: Any, state: ModelState = STATE) -> AgentError:
    with pytest.raises(AgentError, match="the instructions of writer could not be made") as caught:
        await render(instructions, state)
    assert caught.value.reason == INSTRUCTIONS_FAILED
    return caught.value


async def test_a_str_is_literal_text() -> None:
    assert await render("Say {{ hello }} to ${you}", STATE) == "Say {{ hello }} to ${you}"


async def test_a_template_sees_the_variables_the_input_and_the_state() -> None:
    template = Template("{{ name }} asks {{ input.q }}; {{ state.agent }} takes turn {{ state.turn }}.")
    assert await render(template, STATE) == "Ann asks why?; writer takes turn 2."


async def test_a_variable_called_input_does_not_hide_the_input() -> None:
    assert await render(Template("{{ input.q }} {{ state.variables.input }}"), STATE) == "why? a variable"


async def test_a_line_that_holds_only_a_block_leaves_no_line_behind() -> None:
    text = "List:\n{% for item in items %}\n  - {{ item }} of {{ loop.length }}\n{% endfor %}\nEnd"
    assert await render(Template(text), STATE) == "List:\n  - 1 of 2\n  - 2 of 2\nEnd"


async def test_a_template_renders_anew_for_each_state() -> None:
    template = Template("{{ name }}")
    assert await render(template, STATE) == "Ann"
    assert await render(template, ModelState(variables={"name": "Bo"})) == "Bo"


async def test_a_variable_that_is_missing_is_named() -> None:
    assert "'nobody' is undefined" in (await refusal(Template("Hi {{ nobody }}"))).message


async def test_a_name_that_is_missing_may_have_a_default() -> None:
    assert await render(Template("Hi {{ nobody | default('you') }}"), STATE) == "Hi you"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fine\n{% if %}", r"line 2 of the template: .*expression"),
        ("{{ name", "line 1 of the template"),
        ("{{ name | shout }}", "No filter named 'shout'"),
        ("{% include 'other' %}", "cannot use another one"),
        ("{% import 'other' as o %}", "cannot use another one"),
        ("{% extends 'other' %}", "cannot use another one"),
    ],
)
def test_a_mistake_in_a_template_is_refused_where_it_is_made(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Template(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{ name.__class__.__mro__ }}",
        "{{ state.of.__func__.__globals__ }}",
        "{{ ''['__class__'] }}",
        "{{ name | attr('__class__') }}",
        "{{ items.append(3) }}",
        "{{ '{0.__class__}'.format(name) }}",
    ],
)
async def test_a_template_cannot_leave_the_sandbox_or_change_values(text: str) -> None:
    error = await refusal(Template(text))
    assert error.details["error"] in {"SecurityError", "UndefinedError"}
    assert STATE.variables["items"] == [1, 2]


_DOUBLING = "{%% set ns = namespace(x='ab') %%}{%% for i in range(64) %%}%s{%% endfor %%}{{ ns.x | length }}"


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(10**9) %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) ~ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ name * 10**9 }}",
        "{{ 10**9 * items }}",
        "{{ 9 ** 99999999 }}",
        "{{ '%99999999d' % 1 }}",
        _DOUBLING % "{% set ns.x = ns.x ~ ns.x %}",
        _DOUBLING % "{% set ns.x = ns.x + ns.x %}",
        _DOUBLING % "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}",
        "{% for a in range(9999) %}" + "word " * 10 + "{% endfor %}",
    ],
)
async def test_a_template_that_does_not_end_or_grows_without_end_is_stopped(text: str) -> None:
    assert (await refusal(Template(text))).details["error"] in {"SecurityError", "RecursionError", "OverflowError"}


async def test_small_sums_and_powers_are_no_growth() -> None:
    text = (
        "{{ 2 ** 10 }} {{ 7 % 4 }} {{ 2 * 3 }} {{ 1 + 2 }} {{ 'a' ~ 1 ~ ('b' ~ 'c') }} {{ 2 ** 0.5 > 1 }} {{ '-' * 3 }}"
    )
    assert await render(Template(text), STATE) == "1024 3 6 3 a1bc True ---"


async def test_instructions_that_are_too_long_are_refused_whatever_made_them() -> None:
    assert await render("x" * MAX_INSTRUCTIONS, STATE) == "x" * MAX_INSTRUCTIONS
    assert "longer than 262144 bytes" in (await refusal("\N{EURO SIGN}" * (MAX_INSTRUCTIONS // 2))).message


async def test_shell_placeholders_are_filled_and_nothing_else_means_anything() -> None:
    template = Template.shell("${name} has ${items}: $name {{ name }} $5")
    assert await render(template, STATE) == "Ann has [1,2]: $name {{ name }} $5"


async def test_an_unknown_shell_placeholder_is_refused_or_left_as_it_stands() -> None:
    assert "there is no variable 'nobody'" in (await refusal(Template.shell("${nobody}"))).message
    assert await render(Template.shell("${nobody}", strict=False), STATE) == "${nobody}"


def test_a_template_tells_its_syntax_so_that_equal_texts_are_told_apart() -> None:
    made = [Template("a"), Template.shell("a"), Template.shell("a", strict=False)]
    assert [(each.text, each.syntax) for each in made] == [("a", "jinja"), ("a", "shell"), ("a", "shell-lenient")]


async def test_what_fills_a_placeholder_is_not_read_as_a_template() -> None:
    state = ModelState(variables={"name": "${items} {{ items }}"})
    assert await render(Template.shell("${name}"), state) == "${items} {{ items }}"
    assert await render(Template("{{ name }}"), state) == "${items} {{ items }}"


async def test_a_function_of_the_state_may_be_plain_or_async() -> None:
    async def slow(state: ModelState) -> str:
        await trio.lowlevel.checkpoint()
        return f"turn {state.turn}"

    assert await render(lambda state: f"for {state.variables['name']}", STATE) == "for Ann"
    assert await render(slow, STATE) == "turn 2"


def _raises(_state: ModelState) -> str:
    raise ConnectionError("no route")


@pytest.mark.parametrize(
    ("fn", "told"),
    [
        (_raises, "ConnectionError: no route"),
        (lambda state: state.variables["nobody"], "KeyError: 'nobody'"),
        (lambda state: 3, "returned int"),
        (lambda state: None, "returned NoneType"),
    ],
)
async def test_a_function_that_fails_or_returns_no_text_is_told(fn: Callable[[ModelState], Any], told: str) -> None:
    assert told in (await refusal(fn)).message


async def test_a_function_may_choose_the_reason_itself() -> None:
    def closed(state: ModelState) -> str:
        raise AgentError("come back tomorrow", reason="CLOSED")

    with pytest.raises(AgentError, match="tomorrow") as caught:
        await render(closed, STATE)
    assert caught.value.reason == "CLOSED"


async def test_a_cancellation_goes_through_a_function(autojump_clock: trio.testing.MockClock) -> None:
    async def forever(state: ModelState) -> str:
        await trio.sleep_forever()
        raise AssertionError

    with trio.move_on_after(1) as scope:
        await render(forever, STATE)
    assert scope.cancelled_caught


def test_the_state_of_a_call_has_what_the_call_has() -> None:
    entry = SessionEntry(role="user", payload=Payload.of("before"), at=datetime.now(UTC))
    call = make_call({"q": 1}, variables={"n": 2}, session_id="s")
    state = ModelState.of(call, agent="writer", model="m", turn=3, history=[entry])
    assert (state.input, state.text, state.variables) == ({"q": 1}, '{"q":1}', {"n": 2})
    assert (state.run_id, state.group, state.member, state.session_id) == ("run", "group", "member", "s")
    assert (state.agent, state.model, state.turn, state.history) == ("writer", "m", 3, (entry,))


def test_the_state_of_a_call_with_bytes_has_text_too() -> None:
    state = ModelState.of(make_call(b"\xff!"))
    assert (state.input, state.text) == (b"\xff!", "\N{REPLACEMENT CHARACTER}!")
