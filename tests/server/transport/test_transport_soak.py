"""Many RPCs, half of which are cancelled, timed out or dropped: at the end nothing runs and nobody waits."""

import os
import random
from collections import Counter
from typing import Any

import grpc
import trio
from google.protobuf.wrappers_pb2 import StringValue

from motet_server.rpc import RpcContext, Send

TOTAL = int(os.environ.get("MOTET_SOAK", "3000"))
"""RPCs in all. The race that this looks for was first seen in 20,000: run those after a change of the transport."""
BATCH = 100


class Work:
    """A unary and a streaming handler that count those which run."""

    running = 0

    async def unary(self, request: StringValue, _context: RpcContext) -> StringValue:
        self.running += 1
        try:
            await trio.sleep(float(request.value))
            return request
        finally:
            self.running -= 1

    async def stream(self, request: StringValue, _context: RpcContext, send: Send) -> None:
        self.running += 1
        try:
            for _ in range(20):
                await send(request)
            await trio.sleep(float(request.value))
        finally:
            self.running -= 1


class Caller:
    """Makes batches of calls, the same each time, and counts how they end."""

    def __init__(self) -> None:
        self._dice = random.Random(1)  # noqa: S311 - the same dice each time
        self.codes: Counter[Any] = Counter()

    def batch(self, client: Any, droppable: Any) -> list[Any]:
        """One batch; returns the calls that are to be dropped with the connection of `droppable`."""
        waiting, dropped = [], []
        for _ in range(BATCH):
            delay = str(self._dice.choice([0, 0, 0.001, 0.01]))
            match self._dice.randrange(8):
                case 0 | 1 | 2 | 3:
                    waiting.append(client.future("Work", delay))
                case 4:
                    client.future("Work", delay).cancel()
                case 5:
                    waiting.append(client.future("Work", delay, timeout=self._dice.choice([0.001, 0.005, 0.01])))
                case 6:
                    self._cut_stream(client.stream("Stream", delay))
                case _:
                    dropped.append(droppable.future("Work", "30"))
        self.codes.update(call.code() for call in waiting)
        return dropped  # a future that nobody keeps is cancelled

    def _cut_stream(self, call: Any) -> None:
        if self._dice.random() < 0.5:
            next(call)
        call.cancel()


async def test_a_soak_with_half_its_calls_cut_off_leaves_no_handler(rig: Any) -> None:
    work, caller = Work(), Caller()
    async with rig.open(Work=work.unary, stream_Stream=work.stream) as transport:
        idle = await rig.tasks_in_loop(transport)
        with rig.client(transport) as client:
            for _ in range(TOTAL // BATCH):
                with rig.client(transport) as droppable:
                    dropped = await trio.to_thread.run_sync(caller.batch, client, droppable)
                assert all(call.done() for call in dropped)
        await rig.settled(transport, idle)
        assert work.running == 0
    assert caller.codes[grpc.StatusCode.OK] >= TOTAL // 3
    assert set(caller.codes) <= {grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED}
