"""Servers that are killed, and others that go on with their runs: real processes on one store file."""

import importlib.util
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
PATIENCE = 30.0
"""Seconds after which a test that waits for a condition gives up."""
AGENTS = '''
"""Agents that leave marks and wait for a file."""

import json
import os
from pathlib import Path

import trio

HERE = Path(__file__).parent


def mark(what, call):
    line = {"what": what, "member": call.member, "run": call.run_id, "attempt": call.attempt, "pid": os.getpid()}
    with (HERE / "marks").open("a") as file:
        file.write(json.dumps(line) + "\\n")


async def quick(call):
    mark("start", call)
    return call.member


async def held(call):
    mark("start", call)
    while not (HERE / "release").exists():
        await trio.sleep(0.02)
    mark("end", call)
    return call.member
'''
CATALOG = """
[agents.quick]
kind = "function"
function = "held_agents.py:quick"
[agents.held]
kind = "function"
function = "held_agents.py:held"
[agents.once]
kind = "function"
function = "held_agents.py:held"
replay_safe = false
[agents.nested]
kind = "group"
group = "both"
[groups.both]
members = ["quick", "held"]
[groups.deep]
members = ["nested", "quick"]
[groups.careful]
members = ["quick", "once"]
[groups.keyed]
members = ["held"]
idempotency = true
[groups.many]
members = [{ agent = "held", replicas = 6 }]
max_parallel = 3
"""
_SPEC = importlib.util.spec_from_file_location("drill", Path(__file__).resolve().parents[2] / "tools" / "drill.py")


class Site:
    """A folder with a catalog and a store, and the servers on it."""

    def __init__(self, folder: Path, drill: Any) -> None:
        self.folder = folder
        (folder / "held_agents.py").write_text(AGENTS)
        (folder / "catalog.toml").write_text(CATALOG)
        self.one = drill.Server(folder, "one")
        self.two = drill.Server(folder, "two")

    def release(self) -> None:
        (self.folder / "release").touch()

    def marks(self, what: str = "start") -> list[dict[str, Any]]:
        path = self.folder / "marks"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [
            mark for mark in map(json.loads, (line for line in lines if line.endswith("\n"))) if mark["what"] == what
        ]

    def starts(self, member: str) -> int:
        return sum(mark["member"] == member for mark in self.marks())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    drill = importlib.util.module_from_spec(_SPEC)
    sys.modules["drill"] = drill
    _SPEC.loader.exec_module(drill)
    site = Site(tmp_path, drill)
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


def until_recorded(client: mc.Client, run_id: str, member: str) -> list[mc.Event]:
    """The events up to the one that tells of this member's end."""
    events = []
    with client.watch(run_id, deadline=PATIENCE) as stream:
        for event in stream:
            events.append(event)
            if isinstance(event.detail, mc.MemberEnded) and event.member == member:
                return events
    raise AssertionError(f"{member} has not ended")


@pytest.mark.parametrize("group", ["both", "deep"])
def test_a_run_goes_on_where_it_stood_when_its_server_was_killed(site: Site, group: str) -> None:
    with ask(site.one) as client:
        run_id = client.start(group).run_id
        before = until_recorded(client, run_id, "quick")
        until(lambda: site.starts("held"))
    started = site.starts("quick")
    site.one.kill()
    site.release()
    site.one.start()
    with ask(site.one) as client:
        info = ended(client, run_id)
        with client.watch(run_id) as stream:
            events = list(stream)
        assert info.state is mc.State.SUCCEEDED
        assert events[: len(before)] == before
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert isinstance(events[-1].detail, mc.RunEnded)
        assert (site.starts("quick"), site.starts("held")) == (started, 2)
        (held,) = [e.detail.outcome for e in events if isinstance(e.detail, mc.MemberEnded) and e.member == "held"]
        assert [attempt.kind for attempt in held.attempt_log] == [mc.AttemptKind.FIRST, mc.AttemptKind.RESUME]
        assert held.attempt_log[0].failure.reason == "INTERRUPTED"


def test_a_member_that_must_not_be_called_twice_is_not(site: Site) -> None:
    with ask(site.one) as client:
        run_id = client.start("careful").run_id
        until(lambda: site.starts("once"))
    site.one.kill()
    site.release()
    site.one.start()
    with ask(site.one) as client:
        result = ended(client, run_id).result
    outcomes = {outcome.member: outcome for outcome in result.groups[0].outcomes}
    assert (outcomes["once"].state, outcomes["once"].failure.reason) == (mc.State.FAILED, "INTERRUPTED")
    assert outcomes["quick"].state is mc.State.SUCCEEDED
    assert site.starts("once") == 1


def test_another_server_on_the_same_file_takes_over_within_seconds(site: Site) -> None:
    site.two.start()
    with ask(site.one) as client:
        run_id = client.start("many").run_id
        until(lambda: len(site.marks()) == 3)
    with ask(site.two) as client, client.watch(run_id, deadline=PATIENCE) as stream:
        # It sees a run that the other one holds, and leaves it there.
        first = next(stream)
        assert isinstance(first.detail, mc.RunStarted)
        assert len({mark["pid"] for mark in site.marks()}) == 1
        site.one.kill()
        until(lambda: len({mark["pid"] for mark in site.marks()}) == 2)
        site.release()
        events = [first, *stream]
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert client.get(run_id).state is mc.State.SUCCEEDED
    marks = site.marks()
    # Three were interrupted, and nobody but the second server called anybody after that.
    assert len(marks) == 9
    assert [mark["pid"] == marks[0]["pid"] for mark in marks] == [True] * 3 + [False] * 6
    assert len(site.marks("end")) == 6


def test_two_servers_never_run_the_same_member(site: Site) -> None:
    site.two.start()
    site.release()
    with ask(site.one) as one, ask(site.two) as two:
        ids = [client.start("many").run_id for _ in range(8) for client in (one, two)]
        for run_id in ids:
            assert ended(two, run_id).state is mc.State.SUCCEEDED
    starts = [(mark["run"], mark["member"]) for mark in site.marks()]
    assert len(starts) == len(set(starts)) == 16 * 6


def test_a_caller_that_repeats_its_request_after_a_restart_gets_the_same_run(site: Site) -> None:
    errors: list[mc.MotetClientError] = []

    def call() -> None:
        try:
            with ask(site.one) as client:
                client.run("both", "hello", request_id="mine")
        except mc.MotetClientError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    until(lambda: site.starts("held"))
    site.one.kill()
    thread.join(PATIENCE)
    assert [type(error) for error in errors] == [mc.Unavailable]
    site.release()
    site.one.start()
    with ask(site.one) as client:
        result = client.run("both", "hello", request_id="mine")
        assert result.state is mc.State.SUCCEEDED
        assert [info.run_id for info in client.list_runs()] == [result.run_id]
        with pytest.raises(mc.FailedPrecondition):
            client.run("both", "another", request_id="mine")
    assert site.starts("held") == 2


def test_a_key_whose_caller_was_killed_is_free_again(site: Site) -> None:
    site.two.start()
    with ask(site.one) as client:
        first = client.start("keyed", "the same").run_id
        until(lambda: site.starts("held"))
    with ask(site.two) as client:
        second = client.start("keyed", "the same").run_id
        site.one.kill()
        until(lambda: site.starts("held") == 2)
        site.release()
        results = [ended(client, run_id).result for run_id in (first, second)]
    assert [result.state for result in results] == [mc.State.SUCCEEDED] * 2
    assert sorted(result.groups[0].outcomes[0].cached for result in results) == [False, True]
    assert site.starts("held") == 2


def test_one_request_id_on_two_servers_is_one_run(site: Site) -> None:
    site.two.start()
    site.release()
    started: list[mc.Started] = []

    def start(server: Any) -> None:
        with ask(server) as client:
            started.append(client.start("both", request_id="mine"))

    threads = [threading.Thread(target=start, args=(server,)) for server in [site.one, site.two] * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len({each.run_id for each in started}) == 1
    assert [each.existing for each in started].count(False) == 1
    with ask(site.two) as client:
        ended(client, started[0].run_id)
    assert (site.starts("quick"), site.starts("held")) == (1, 1)


def test_a_run_is_cancelled_through_the_other_server(site: Site) -> None:
    site.two.start()
    with ask(site.one) as one, ask(site.two) as two:
        run_id = one.start("both").run_id
        until(lambda: site.starts("held"))
        info = two.cancel(run_id)
        assert info.state is mc.State.CANCELLED
        assert {outcome.member: outcome.state for outcome in info.result.groups[0].outcomes} == {
            "quick": mc.State.SUCCEEDED,
            "held": mc.State.CANCELLED,
        }


def test_a_server_that_ends_in_order_leaves_nothing_to_go_on_with(site: Site) -> None:
    with ask(site.one) as client:
        run_id = client.start("both").run_id
        until(lambda: site.starts("held"))
        threading.Timer(0.2, site.release).start()
    site.one.stop()
    site.two.start()
    with ask(site.two) as client:
        info = client.get(run_id)
        assert info.state is mc.State.SUCCEEDED
    assert site.starts("held") == 1
