"""The workers that are connected to one engine: who may connect under which name with which agents. Knows no messages."""

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import trio

from motet.agents._remote_book import Connection, Desk, Offer
from motet.agents._remote_lease import Hello, OfferedAgent, WorkerStatistics
from motet.errors import Exhausted, InvalidRequest, Unavailable, Violation
from motet.model.payload import parse_json

MAX_WORKERS: Final = 1000
"""Connections at once. To give a call away looks at each worker of its agent: just under 1 ms with so many."""
MAX_AGENTS: Final = 256
"""Agents of one worker."""
MAX_CAPACITY: Final = 100_000
"""Leases at once of one worker. More is a mistake of whoever wrote it: each is a call that runs."""
MAX_DESCRIPTION: Final = 10_000
"""Characters of an agent's description: it is kept for as long as the engine runs, and shown in lists."""
MAX_SCHEMA: Final = 64 * 1024
"""Characters of an agent's input schema, for the same reason."""
_log = logging.getLogger("motet.workers")


class Workers:
    """Lets workers in, tells their connections apart, and closes them. Used inside trio only."""

    def __init__(
        self,
        find: Callable[[str], tuple[Desk | None, Mapping[str, str]] | None],
        register: Callable[[OfferedAgent], Desk] | None = None,
        *,
        max_workers: int = MAX_WORKERS,
    ) -> None:
        """`find` tells the desk of an agent and the labels that a worker must have for it; no desk for an agent of another
        kind, None for a name that nobody has. `register` takes an agent of such a name; None refuses it."""
        self._find = find
        self._register = register
        self._max_workers = max_workers
        self._by_id: dict[str, Connection] = {}
        self._prefix = secrets.token_hex(4)
        # Later than every connection that an engine before this one has numbered, so that no old answer fits.
        self._epoch = time.time_ns() // 1_000_000
        self._closed = False
        self._empty = trio.Event()
        self._past = {"given": 0, "lost": 0}
        self.refused = 0
        """Answers for leases that were over."""
        self.reports_dropped = 0

    @property
    def connected(self) -> Mapping[str, Connection]:
        """By worker id."""
        return self._by_id

    def connect(self, hello: Hello) -> Connection:
        """Let a worker in, and give it what waits. An older connection of its id is dismissed: only one can be alive.

        Raises InvalidRequest, naming every wrong field; Exhausted above the most workers; Unavailable while closing.
        """
        if self._closed:
            raise Unavailable("the engine drains and takes no more workers; connect to another one, or later")
        desks = self._check(hello)
        old = self._by_id.get(hello.worker_id)
        if old is None and len(self._by_id) >= self._max_workers:
            raise Exhausted(
                f"there are {self._max_workers} workers already, the most that this engine takes",
                reason="TOO_MANY_WORKERS",
                retry_after=30.0,
            )
        if old is not None:
            _log.warning("worker %s has connected again; its older connection ends", hello.worker_id)
            self.disconnect(old, "it has connected again")
        self._epoch += 1
        connection = Connection(hello, self._epoch, self._prefix)
        for agent in hello.agents:
            if agent.name not in desks:
                desks[agent.name] = self._take(agent)
        self._by_id[hello.worker_id] = connection
        self._empty = trio.Event()
        connection.open([Offer(agent, desks[agent.name], connection) for agent in hello.agents])
        names = ", ".join(desks)
        _log.info("worker %s (%s) serves %s", hello.worker_id, hello.library or "library not told", names)
        return connection

    def disconnect(self, connection: Connection, why: str) -> None:
        """A worker is gone; its leases are lost. Twice is once."""
        if connection.gone:
            return
        leases = len(connection.leases)
        if leases:
            _log.warning("worker %s is gone (%s) with %d leases", connection.worker_id, why, leases)
        else:
            _log.info("worker %s is gone (%s)", connection.worker_id, why)
        connection.dismissed = why
        del self._by_id[connection.worker_id]
        connection.lose(why)
        self._past["given"] += connection.issued
        self._past["lost"] += connection.lost
        if not self._by_id:
            self._empty.set()

    async def drain(self) -> None:
        """Tell all workers that no more leases come, let none in, and wait until the last has left."""
        self._closed = True
        for connection in list(self._by_id.values()):
            connection.drain(told=True)
        if self._by_id:
            await self._empty.wait()

    def statistics(self) -> WorkerStatistics:
        """What is, and what was so far."""
        here = self._by_id.values()
        return WorkerStatistics(
            connected=len(self._by_id),
            leased=sum(len(each.leases) for each in here),
            given=self._past["given"] + sum(each.issued for each in here),
            lost=self._past["lost"],
            refused=self.refused,
            reports_dropped=self.reports_dropped,
        )

    def _take(self, agent: OfferedAgent) -> Desk:
        if self._register is None:
            raise RuntimeError("an agent that nobody knows passed the check")
        return self._register(agent)

    def _check(self, hello: Hello) -> dict[str, Desk]:
        """The desks of the agents that there are. Raises InvalidRequest."""
        wrong = list(_mistakes(hello))
        desks: dict[str, Desk] = {}
        for place, agent in enumerate(hello.agents[:MAX_AGENTS]):
            found = self._desk(agent, f"hello.agents[{place}]")
            if isinstance(found, Violation):
                wrong.append(found)
            elif found is not None:
                desks[agent.name] = found
        if wrong:
            raise InvalidRequest(wrong, reason="WORKER_REFUSED")
        return desks

    def _desk(self, agent: OfferedAgent, path: str) -> Desk | Violation | None:
        """Its desk; None for an agent that is to be registered."""
        found = self._find(agent.name)
        if found is None:
            return Violation(f"{path}.name", _unknown(agent.name)) if self._register is None else None
        desk, labels = found
        if desk is None:
            text = f"{agent.name} is an agent of the catalog that no worker can take over; offer another name"
            return Violation(f"{path}.name", text)
        if any(agent.labels.get(key) != value for key, value in labels.items()):
            needed = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
            return Violation(f"{path}.labels", f"{agent.name} is for workers with the labels {needed}")
        return desk


def _mistakes(hello: Hello) -> Iterator[Violation]:
    """What no engine takes."""
    if not (hello.worker_id.isprintable() and hello.library.isprintable()):
        yield Violation("hello.worker_id", "must be printable, as the library must: both go to logs")
    if not 0 <= hello.capacity <= MAX_CAPACITY:
        yield Violation("hello.capacity", f"must be between 0 and {MAX_CAPACITY}")
    if not 1 <= len(hello.agents) <= MAX_AGENTS:
        yield Violation("hello.agents", f"must be between 1 and {MAX_AGENTS}")
    seen: set[str] = set()
    for place, agent in enumerate(hello.agents[:MAX_AGENTS]):
        path = f"hello.agents[{place}]"
        if not 0 <= agent.capacity <= MAX_CAPACITY:
            yield Violation(f"{path}.capacity", f"must be between 0 and {MAX_CAPACITY}")
        if agent.name in seen:
            yield Violation(f"{path}.name", f"{agent.name} is offered twice")
        if len(agent.description) > MAX_DESCRIPTION:
            yield Violation(f"{path}.description", f"must have at most {MAX_DESCRIPTION} characters")
        if not _is_schema(agent.input_schema):
            text = f"must be empty, or a JSON Schema as JSON text of at most {MAX_SCHEMA} characters"
            yield Violation(f"{path}.input_schema", text)
        seen.add(agent.name)


def _is_schema(text: str) -> bool:
    try:
        return len(text) <= MAX_SCHEMA and (not text or isinstance(parse_json(text), dict | bool))
    except ValueError:
        return False


def _unknown(name: str) -> str:
    return (
        f'there is no agent {name!r} in the catalog; declare it with [agents.{name}] kind = "remote", or start the server '
        "so that workers may register agents"
    )
