"""Sessions of servers that are killed, and of several servers on one store file: real processes. What was said is kept once, in
one order, and no session stays taken."""

import importlib.util
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

import motet_client as mc

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds after which a test that waits for a condition gives up."""
AGENTS = '''
"""Agents that tell what they remember, leave marks and wait for a file."""

import json
import os
from pathlib import Path

import trio

HERE = Path(__file__).parent


def mark(what, call):
    with (HERE / "marks").open("a") as file:
        file.write(json.dumps({"what": what, "pid": os.getpid(), "said": call.text}) + "\\n")


def remembered(call):
    return [entry.payload.text for entry in call.history if entry.role == "user"]


async def quick(call):
    mark("quick", call)
    return remembered(call)


async def held(call):
    mark("held", call)
    while not (HERE / "release").exists():
        await trio.sleep(0.02)
    return remembered(call)


async def look(call):
    """Waits, as a tool."""
    mark("look", call)
    while not (HERE / "release").exists():
        await trio.sleep(0.02)
    return "found"
'''
CATALOG = """
[sessions]
when_busy = "{busy}"
[providers.script]
kind = "scripted"
script = "script.toml"
[agents.quick]
kind = "function"
function = "session_agents.py:quick"
[agents.held]
kind = "function"
function = "session_agents.py:held"
[agents.look]
kind = "function"
function = "session_agents.py:look"
[agents.model]
kind = "model"
provider = "script"
model = "any"
tools = ["look"]
[groups.quick]
members = ["quick"]
aggregation = "first"
preserve_session = true
[groups.held]
members = ["held"]
aggregation = "first"
preserve_session = true
[groups.model]
members = ["model", "quick"]
preserve_session = true
"""
SCRIPT = """
[[reply]]
when_result = "found"
text = "it was found"
[[reply]]
tool = "look"
arguments = { input = "there" }
"""
_SPEC = importlib.util.spec_from_file_location("drill", Path(__file__).resolve().parents[2] / "tools" / "drill.py")


class Site:
    """A folder with a catalog and a store, and the servers on it."""

    def __init__(self, folder: Path, drill: Any, busy: str) -> None:
        self.folder = folder
        (folder / "session_agents.py").write_text(AGENTS)
        (folder / "catalog.toml").write_text(CATALOG.format(busy=busy))
        (folder / "script.toml").write_text(SCRIPT)
        self.one = drill.Server(folder, "one")
        self.two = drill.Server(folder, "two")

    def release(self) -> None:
        (self.folder / "release").touch()

    def marks(self, what: str) -> list[dict[str, Any]]:
        path = self.folder / "marks"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [
            mark for mark in map(json.loads, (line for line in lines if line.endswith("\n"))) if mark["what"] == what
        ]


@pytest.fixture(params=["wait"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    drill = importlib.util.module_from_spec(_SPEC)
    sys.modules["drill"] = drill
    _SPEC.loader.exec_module(drill)
    site = Site(tmp_path, drill, request.param)
    try:
        site.one.start()
        yield site
    finally:
        site.one.kill()
        site.two.kill()
        del sys.modules["drill"]


def until(condition: Callable[[], T]) -> T:
    """Wait for what another process does."""
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found


def ask(server: Any) -> mc.Client:
    return mc.Client(server.address, timeout=PATIENCE)


def ended(client: mc.Client, run_id: str) -> mc.RunInfo:
    until(lambda: client.get(run_id).result)
    return client.get(run_id)


def say(client: mc.Client, group: str, text: str, session_id: str = "s") -> Any:
    return json.loads(client.run(group, text, session_id=session_id).output.text)


def test_a_run_that_goes_on_after_a_kill_adds_its_part_once_and_frees_its_session(site: Site) -> None:
    with ask(site.one) as client:
        assert say(client, "quick", "first") == []
        run_id = client.start("held", "second", session_id="s").run_id
        until(lambda: site.marks("held"))
    site.one.kill()
    site.release()
    site.one.start()
    with ask(site.one) as client:
        info = ended(client, run_id)
        assert info.state is mc.State.SUCCEEDED
        assert json.loads(info.result.output.text) == ["first"]
        assert say(client, "quick", "third") == ["first", "second"]
    assert len(site.marks("held")) == 2


def test_a_model_that_was_killed_at_its_tool_is_not_asked_again_for_the_turn_before(site: Site) -> None:
    with ask(site.one) as client:
        run_id = client.start("model", "look", session_id="s").run_id
        until(lambda: site.marks("look") and site.marks("quick"))
        with client.watch(run_id, deadline=PATIENCE) as stream:
            # The turn and the quick member are in the store.
            seen = [next(event for event in stream if isinstance(event.detail, mc.MemberEnded)) for _ in range(2)]
        assert {event.group for event in seen} == {"model", "turn_1"}
    site.one.kill()
    site.release()
    site.one.start()
    with ask(site.one) as client:
        result = ended(client, run_id).result
        model = result.groups[0].outcomes[0]
        assert (result.state, model.output.text) == (mc.State.SUCCEEDED, "it was found")
        turns = {group.name: group.outcomes[0].attempts for group in model.nested}
        assert turns == {"turn_1": 1, "tools_1": 2, "turn_2": 1}
        assert say(client, "quick", "last") == ["look"]
    assert (len(site.marks("look")), len(site.marks("quick"))) == (2, 2)


def test_a_session_of_two_servers_is_one_conversation(site: Site) -> None:
    site.two.start()
    site.release()
    answers: list[list[str]] = []

    def talk(server: Any, name: str) -> None:
        with ask(server) as client:
            answers.extend(say(client, "quick", f"{name} {number}") for number in range(4))

    threads = [
        threading.Thread(target=talk, args=(server, f"{server.name} {number}"))
        for server in (site.one, site.two)
        for number in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    answers.sort(key=len)
    assert [len(answer) for answer in answers] == list(range(16))
    # Everybody saw what was said before, in the order in which it was said.
    assert all(longer[: len(shorter)] == shorter for shorter, longer in itertools.pairwise(answers))
    assert len(set(answers[-1])) == 15


def test_a_run_of_a_killed_server_and_one_that_waited_for_it_elsewhere_both_have_their_turn(site: Site) -> None:
    site.two.start()
    with ask(site.two) as two:
        with ask(site.one) as one:
            first = one.start("held", "first", session_id="s").run_id
            until(lambda: site.marks("held"))
        second = two.start("quick", "second", session_id="s").run_id
        with two.watch(second, deadline=PATIENCE) as stream:
            next(stream)
        assert not site.marks("quick")
        site.one.kill()
        site.release()
        said = [json.loads(ended(two, run_id).result.output.text) for run_id in (first, second)]
        assert sorted(map(len, said)) == [0, 1]
        remembered = say(two, "quick", "third")
        assert sorted(remembered) == ["first", "second"]
        assert remembered == (["first", "second"] if said[0] == [] else ["second", "first"])


@pytest.mark.parametrize("site", ["refuse"], indirect=True)
def test_with_refuse_a_session_that_another_server_uses_is_busy_and_free_once_that_server_is_gone(site: Site) -> None:
    site.two.start()
    with ask(site.two) as two:
        with ask(site.one) as one:
            first = one.start("held", "first", session_id="s").run_id
            until(lambda: site.marks("held"))
        busy = two.run("quick", "second", session_id="s")
        assert (busy.state, busy.failure.reason) == (mc.State.FAILED, "SESSION_BUSY")
        assert not site.marks("quick")
        site.one.kill()
        site.release()
        info = ended(two, first)
        # Its own claim had ended with its process.
        assert info.state is mc.State.SUCCEEDED
        assert say(two, "quick", "third") == ["first"]
