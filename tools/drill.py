"""The fault drill: a server with a store is killed with SIGKILL again and again while background runs go on. Then the store,
what watchers saw meanwhile and marks that the members left themselves are compared, and every broken promise is listed.

Run: python tools/drill.py [--kills 25] [--runs 20] [--seed N]. Exit code 1 when a promise was broken.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

import motet_client as mc
from motet.model.event import Event, MemberEnded
from motet.model.outcome import AttemptKind, Outcome
from motet.model.run import RunQuery, RunRecord
from motet.model.state import State
from motet.store.sqlite import SqliteStore
from motet.testing import check_run

PATIENCE: Final = 120.0
"""Seconds that the runs may take to end after the last kill."""
START_PATIENCE: Final = 60.0
"""Seconds that a server may take to start: it reads the store and continues what it finds there."""
MAX_LISTED: Final = 40
"""Broken promises that are printed; the rest is counted."""

CATALOG: Final = Path(__file__).with_name("drill_catalog")
"""What the servers serve: copied, since the members leave their marks beside it."""
TARGETS: Final[Sequence[mc.Plan | str]] = (
    "wide",
    "nested",
    mc.Sequence(
        [
            mc.Group("first", [mc.Member("work", replicas=6)], max_parallel=2),
            mc.Parallel([mc.Group("left", ["once", "pair"]), mc.Group("right", [mc.Member("tries"), "work"])]),
            mc.Group("last", ["work", "once"]),
        ]
    ),
    "once",
    "tries",
)
"""What is run, one kind after another."""
UNSAFE: Final = "once"
"""The agent that is not to be called twice."""


# ------------------------------------------------------------------------------------------------------- the evidence


@dataclass(frozen=True)
class Mark:
    """What a member wrote down itself."""

    what: str
    """start or end."""
    seat: str
    """run/parent/group/member."""
    attempt: int
    at: int
    """Nanoseconds, on the clock that all processes of the machine share."""


@dataclass(frozen=True)
class Kept:
    """A run as the store has it in the end."""

    record: RunRecord
    events: Sequence[Event]
    replayed: Sequence[mc.Event]
    """The same events as the API tells them."""


@dataclass
class Seen:
    """What a watcher was told of a run while servers came and went."""

    events: dict[int, mc.Event] = field(default_factory=dict)
    at: dict[int, int] = field(default_factory=dict)
    """When, by sequence number, as in marks."""


@dataclass
class Evidence:
    """All that the verdict rests on."""

    expected: int
    """Runs that were started."""
    runs: Mapping[str, Kept]
    seen: Mapping[str, Seen]
    marks: Sequence[Mark]
    kills: int = 0


def judge(evidence: Evidence) -> list[str]:
    """Every broken promise, as a sentence."""
    problems: list[str] = []
    if len(evidence.runs) != evidence.expected:
        problems.append(f"{evidence.expected} runs were started, the store has {len(evidence.runs)}")
    outcomes: dict[str, Outcome] = {}
    for run_id, kept in evidence.runs.items():
        problems += _run_problems(run_id, kept)
        for event in kept.events:
            if isinstance(event.detail, MemberEnded):
                outcomes[_seat(run_id, event)] = event.detail.outcome
    for run_id, seen in evidence.seen.items():
        problems += _seen_problems(run_id, seen, evidence.runs.get(run_id), evidence.marks)
    problems += _mark_problems(outcomes, evidence.marks)
    return problems


def _run_problems(run_id: str, kept: Kept) -> Iterator[str]:
    record = kept.record
    if not record.state.ended or record.result is None:
        yield f"{run_id}: it is {record.state} and has not ended"
        return
    numbers = [event.sequence for event in kept.events]
    if numbers != list(range(1, len(numbers) + 1)) or record.last_sequence != len(numbers):
        yield f"{run_id}: its events are not numbered 1 to {record.last_sequence}"
    if [event.sequence for event in kept.replayed] != numbers:
        yield f"{run_id}: the API tells {len(kept.replayed)} events, the store has {len(numbers)}"
    try:
        check_run(kept.events, record.result)
    except AssertionError as error:
        yield str(error)


def _seen_problems(run_id: str, seen: Seen, kept: Kept | None, marks: Sequence[Mark]) -> Iterator[str]:
    final = {} if kept is None else {event.sequence: event for event in kept.replayed}
    known: dict[str, int] = {}
    for sequence, event in seen.events.items():
        if final.get(sequence) != event:
            now = "is gone" if sequence not in final else "has changed"
            yield f"{run_id}: event {sequence} was recorded and {now}"
        if isinstance(event.detail, mc.MemberEnded):
            known[_seat(run_id, event)] = seen.at[sequence]
    for mark in marks:
        if mark.what == "start" and mark.seat in known and mark.at > known[mark.seat]:
            yield f"{mark.seat}: attempt {mark.attempt} was started after its outcome was recorded"


def _mark_problems(outcomes: Mapping[str, Outcome], marks: Iterable[Mark]) -> Iterator[str]:
    starts: defaultdict[str, list[Mark]] = defaultdict(list)
    ends: set[str] = set()
    for mark in marks:
        if mark.what == "start":
            starts[mark.seat].append(mark)
        else:
            ends.add(mark.seat)
    for seat, started in starts.items():
        outcome = outcomes.get(seat)
        if outcome is None:
            continue  # of a nested run that the crash took before it was recorded
        most = max(mark.attempt for mark in started)
        if most > outcome.attempts:
            yield f"{seat}: attempt {most} was made, its outcome tells of {outcome.attempts}"
        if outcome.agent == UNSAFE and len(started) > 1:
            yield f"{seat}: it is not to be called twice and was called {len(started)} times"
    for seat, outcome in outcomes.items():
        if outcome.agent != "pair" and outcome.state is State.SUCCEEDED and seat not in ends:
            yield f"{seat}: it has an answer, and no call of it came to its end"


def _seat(run_id: str, event: Event | mc.Event) -> str:
    return f"{run_id}/{event.parent}/{event.group}/{event.member}"


def table(evidence: Evidence) -> Iterator[str]:
    """What happened, in lines."""
    outcomes = [
        event.detail.outcome
        for kept in evidence.runs.values()
        for event in kept.events
        if isinstance(event.detail, MemberEnded)
    ]
    attempts = [attempt for outcome in outcomes for attempt in outcome.attempt_log]
    states = Counter(kept.record.state.value for kept in evidence.runs.values())
    rows = {
        "kills": evidence.kills,
        "runs": f"{len(evidence.runs)} ({', '.join(f'{count} {state}' for state, count in sorted(states.items()))})",
        "events": sum(len(kept.events) for kept in evidence.runs.values()),
        "outcomes": len(outcomes),
        "outcomes that watchers saw": sum(
            isinstance(event.detail, mc.MemberEnded)
            for seen in evidence.seen.values()
            for event in seen.events.values()
        ),
        "calls that members marked": sum(mark.what == "start" for mark in evidence.marks),
        "calls made again after a crash": sum(attempt.kind is AttemptKind.RESUME for attempt in attempts),
        "calls not made again": sum(
            outcome.failure is not None and outcome.failure.reason == "INTERRUPTED" for outcome in outcomes
        ),
    }
    width = max(map(len, rows))
    yield from (f"{name:<{width}}  {value}" for name, value in rows.items())


# ---------------------------------------------------------------------------------------------------------- the drill


class Server:
    """`motet serve` in a process of its own, again and again. Its store and its log outlive each."""

    def __init__(self, folder: Path, name: str = "server", *, slowest: float = 0.25) -> None:
        """`slowest` is in seconds, of a member's call."""
        self.folder = folder
        self.name = name
        self.address = ""
        """Empty while no process serves."""
        self._environment = {**os.environ, "DRILL_SLOWEST": str(slowest), "PYTHONDONTWRITEBYTECODE": "1"}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it serves. Raises RuntimeError with its log when it does not."""
        port_file = self.folder / f"{self.name}.port"
        port_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "motet_server.cli", "serve", str(self.folder / "catalog.toml")]
        command += ["--address", "127.0.0.1:0", "--port-file", str(port_file), "--store", str(self.folder / "runs.db")]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment)
        end = time.monotonic() + START_PATIENCE
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"the server did not start:\n{(self.folder / f'{self.name}.log').read_text()}")
            time.sleep(0.01)
        self.address = port_file.read_text().strip()

    def kill(self) -> None:
        """End it as a power cut would, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it as an administrator would."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        self.address = ""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


def write_catalog(folder: Path) -> None:
    """What the servers of a drill serve."""
    shutil.copytree(CATALOG, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "marks.jsonl").touch()


def read_marks(folder: Path) -> list[Mark]:
    """Whole lines only: a kill may cut the last one."""
    lines = (folder / "marks.jsonl").read_text().splitlines(keepends=True)
    return [Mark(**json.loads(line)) for line in lines if line.endswith("\n") and line.startswith("{")]


class Crowd:
    """The clients of a drill: one thread starts runs, and one for each run watches it; whatever happens to the server."""

    def __init__(self, server: Server, chance: random.Random, runs: int, pause: float) -> None:
        """Runs are started `pause` seconds apart on average."""
        self.seen: dict[str, Seen] = {}
        self.over = threading.Event()
        self._server = server
        self._pauses = [chance.uniform(0.0, 2 * pause) for _ in range(runs)]
        self._threads = [threading.Thread(target=self._start_all, daemon=True)]
        self._threads[0].start()

    def wait(self, seconds: float) -> bool:
        """Until every run has been started and watched to its end; False when the time is over."""
        end = time.monotonic() + seconds
        done = 0
        while done < len(self._threads):
            self._threads[done].join(max(0.0, end - time.monotonic()))
            if self._threads[done].is_alive():
                return False
            done += 1
        return True

    def _start_all(self) -> None:
        for number, pause in enumerate(self._pauses):
            started = self._insist(partial(_start, number))
            if started is None:
                return
            self.seen[started.run_id] = Seen()
            self._threads.append(threading.Thread(target=self._watch, args=(started.run_id,), daemon=True))
            self._threads[-1].start()
            self.over.wait(pause)

    def _watch(self, run_id: str) -> None:
        seen = self.seen[run_id]

        def follow(client: mc.Client) -> bool:
            with client.watch(run_id, max(seen.events, default=0), resume=False) as stream:
                for event in stream:
                    seen.at[event.sequence] = time.monotonic_ns()
                    seen.events[event.sequence] = event
            return True

        self._insist(follow)

    def _insist(self, work: Callable[[mc.Client], Any]) -> Any:
        """Do it with whichever server is there, until it works; None when the drill is over before."""
        while not self.over.is_set():
            address = self._server.address
            if address:
                try:
                    with mc.Client(address, timeout=PATIENCE) as client:
                        return work(client)
                except mc.MotetClientError as error:
                    if not isinstance(error, mc.Unavailable | mc.Cancelled):
                        raise
            self.over.wait(0.02)
        return None


def _start(number: int, client: mc.Client) -> mc.Started:
    return client.start(TARGETS[number % len(TARGETS)], "go", request_id=f"drill-{number}")


async def read_store(path: Path, replayed: Mapping[str, Sequence[mc.Event]]) -> dict[str, Kept]:
    """Everything that a store has. No server may have it open."""
    store = await SqliteStore.open(path)
    try:
        kept: dict[str, Kept] = {}
        for listed in (await store.list(RunQuery(limit=10_000))).runs:
            record = await store.get(listed.run_id)
            if record is not None:
                events = await store.events(record.run_id, 0, 1_000_000)
                kept[record.run_id] = Kept(record, events, replayed.get(record.run_id, ()))
        return kept
    finally:
        await store.aclose()


def drill(folder: Path, *, kills: int, runs: int, seed: int, say: Callable[[str], None] = print) -> Evidence:
    """Let servers die, and gather the evidence. Raises TimeoutError when the runs do not end."""
    chance = random.Random(seed)  # noqa: S311 - moments to kill at are no secret
    write_catalog(folder)
    server = Server(folder)
    crowd = Crowd(server, chance, runs, pause=1.6 * kills / runs)
    try:
        for number in range(1, kills + 1):
            server.start()
            time.sleep(chance.uniform(0.05, 1.2))
            server.kill()
            say(f"kill {number} of {kills}: {sum(len(seen.events) for seen in crowd.seen.values())} events seen")
        server.start()
        if not crowd.wait(PATIENCE):
            raise TimeoutError(f"the runs did not end within {PATIENCE:g} s; the store and the log are in {folder}")
        replayed: dict[str, Sequence[mc.Event]] = {}
        with mc.Client(server.address, timeout=PATIENCE) as client:
            for run_id in crowd.seen:
                with client.watch(run_id) as stream:
                    replayed[run_id] = list(stream)
        server.stop()
        kept = trio.run(read_store, folder / "runs.db", replayed)
    finally:
        crowd.over.set()
        server.kill()
    return Evidence(runs, kept, crowd.seen, read_marks(folder), kills)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"seed {seed}")
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="motet-drill-", ignore_cleanup_errors=True) as folder:
        evidence = drill(Path(folder), kills=given.kills, runs=given.runs, seed=seed)
    problems = judge(evidence)
    print("\n".join(table(evidence)))
    print(f"{time.monotonic() - begin:.0f} s, {len(problems) or 'no'} broken promises")
    for problem in problems[:MAX_LISTED]:
        print(f"- {problem}")
    if len(problems) > MAX_LISTED:
        print(f"... and {len(problems) - MAX_LISTED} more")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
