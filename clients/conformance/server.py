"""The server that the scenarios are played against: the real one, with their catalog. Knows no client.

Usage: server.py [--address 127.0.0.1:0] [--port-file FILE]. Prints "serving on ADDRESS"; ends when standard input does, or on SIGTERM.
"""

import argparse
import math
import signal
from collections import Counter
from pathlib import Path

import trio
from scripted import Broken, Digest, Echo, Repeat, Scripted

import motet
import motet_server
from motet.agents.remote import RemoteAgent
from motet.model.run import RunRecord, RunRequest

REMOTE = ("shout", "refuse", "sleep", "report", "resist")
"""Agents that only workers have."""
STOP_GRACE = 1.0
"""Seconds that members have to stop, so that a scenario can do without."""
QUEUE_TIMEOUT = 0.5
"""Seconds that calls wait for a worker that is not there."""
KNOWN = "conformance-known"
"""A request id that belongs to a run since the server's start: of `echoes`, with the input `known`."""
AWAY = "store-away"
"""Label of runs that the store cannot take: `always`, or how often it fails before it can."""


class FailingStore(motet.MemoryStore):
    """Fails for the runs that ask for it, so that a client sees UNAVAILABLE from a server that is there."""

    def __init__(self) -> None:
        super().__init__()
        self._failed: Counter[str] = Counter()

    async def create(self, record: RunRecord, request: RunRequest | None = None) -> RunRecord | None:
        told = record.labels.get(AWAY)
        if told is not None:
            times = math.inf if told == "always" else int(told)
            self._failed[record.request_id] += 1
            if not record.request_id or self._failed[record.request_id] <= times:
                raise motet.StoreFailed("the store is away; try again")
        return await super().create(record, request)


def make_catalog() -> motet.Catalog:
    catalog = motet.Catalog()
    catalog.add(Echo(), Scripted(), Digest(), Repeat(), Broken())
    catalog.add(*(RemoteAgent(name, queue_timeout=QUEUE_TIMEOUT, replay_safe=True) for name in REMOTE))
    catalog.group("echoes", ["echo", motet.Member("echo", "again")])
    catalog.group("digest", ["digest"], aggregation="first")
    catalog.group(
        "panel",
        [motet.Member("scripted", name, variables={"script": _script(says)}) for name, says in PANEL.items()],
        aggregation=motet.Aggregation("vote", early_stop=False),
        description="Two against one",
    )
    catalog.add(motet.GroupAgent("board", catalog.groups["panel"].group))
    catalog.add_tenant("spent", motet.TenantBounds(per_day=motet.Quota(calls=0)))
    catalog.add_tenant("small", motet.TenantBounds(limits=motet.Limits(max_calls=1)))
    return catalog


PANEL = {"ada": "yes", "ben": "yes", "cem": "no"}


def _script(says: str) -> motet.Payload:
    return motet.Payload.of({"reply": says})


async def serve(address: str, port_file: Path | None) -> None:
    async with (
        motet.open_engine(make_catalog(), stop_grace=STOP_GRACE, store=FailingStore()) as engine,
        motet_server.serve(engine, address) as server,
        trio.open_nursery() as nursery,
    ):
        await engine.start("echoes", "known", request_id=KNOWN)
        print(f"serving on {server.address}", flush=True)
        if port_file is not None:
            await trio.Path(port_file).write_text(server.address)
        nursery.start_soon(_parent, nursery.cancel_scope)
        nursery.start_soon(_signal, nursery.cancel_scope)


async def _parent(scope: trio.CancelScope) -> None:
    """Whoever started this has gone when standard input ends: nothing is left behind."""
    async with trio.lowlevel.FdStream(0) as stream:
        while await stream.receive_some():
            pass
    scope.cancel()


async def _signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        await anext(signals)
    scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--address", default="127.0.0.1:0")
    parser.add_argument("--port-file", type=Path)
    given = parser.parse_args()
    trio.run(serve, given.address, given.port_file)


if __name__ == "__main__":
    main()
