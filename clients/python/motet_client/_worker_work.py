"""Runs the functions of a worker: blocking ones in a thread each, coroutine functions in one asyncio loop. Knows no
connection and no messages but the one that a call's end becomes."""

import asyncio
import inspect
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from motet_client._worker_call import CallCancelled, WorkerCall
from motet_proto.v1 import worker_service_pb2 as pb

Function = Callable[[WorkerCall], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSpec:
    """One agent that a worker offers."""

    name: str
    fn: Function
    version: str = ""
    description: str = ""
    input_schema: str = ""
    capacity: int = 1
    replay_safe: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_pb(self) -> pb.WorkerAgent:
        return pb.WorkerAgent(
            name=self.name,
            version=self.version,
            description=self.description,
            input_schema=self.input_schema,
            capacity=self.capacity,
            replay_safe=self.replay_safe,
            labels=self.labels,
        )


class Work:
    """One call that runs. `on_end` is called once, in some other thread, with the message that tells of its end."""

    def __init__(self, spec: AgentSpec, call: WorkerCall, most: int) -> None:
        self.spec = spec
        self.call = call
        self.cancelled_at: float | None = None
        """On the clock of `time.monotonic`, once it was."""
        self.detached = False
        """The engine was told that it could not be stopped."""
        self._most = most
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: "Loop", on_end: Callable[[pb.WorkerMessage], None]) -> None:
        fn = self.spec.fn
        if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None)):  # noqa: B004 - asked of objects too
            self._loop = loop.get()
            self._loop.call_soon_threadsafe(self._begin, on_end)
            return
        threading.Thread(target=self._run, args=(on_end,), name=f"motet-{self.spec.name}", daemon=True).start()

    def cancel(self) -> None:
        """Ask it to stop. Twice is once."""
        if self.cancelled_at is None:
            self.cancelled_at = time.monotonic()
            self.call.cancel()
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._cancel_task)

    def _run(self, on_end: Callable[[pb.WorkerMessage], None]) -> None:
        try:
            end = self._end(self.spec.fn(self.call), None)
        except BaseException as error:  # noqa: ASYNC103, BLE001 - the thread ends here; what it raised is the call's failure
            end = self._end(None, error)
        on_end(end)

    def _begin(self, on_end: Callable[[pb.WorkerMessage], None]) -> None:
        def ended(task: "asyncio.Task[Any]") -> None:
            if task.cancelled():
                on_end(self._end(None, CallCancelled("the task was cancelled")))
            elif (error := task.exception()) is not None:
                on_end(self._end(None, error))
            else:
                on_end(self._end(task.result(), None))

        self._task = asyncio.get_running_loop().create_task(self._run_coroutine())
        self._task.add_done_callback(ended)
        if self.cancelled_at is not None:
            self._task.cancel()

    async def _run_coroutine(self) -> object:
        try:
            return await self.spec.fn(self.call)
        except (SystemExit, KeyboardInterrupt) as error:
            # They would end the loop, and with it the other calls.
            raise RuntimeError(f"the function raised {error!r}") from error

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self, value: object, error: BaseException | None) -> pb.WorkerMessage:
        if self.cancelled_at is not None:
            return self.call.stopped(time.monotonic() - self.cancelled_at)
        return self.call.replied(value, self._most) if error is None else self.call.failed(error)


class Loop:
    """An asyncio loop in a thread of its own, made when the first coroutine function is called."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def get(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="motet-asyncio", daemon=True)
            self._thread.start()
        return self._loop

    def close(self, patience: float) -> None:
        """Cancel what runs in it, and end it; a task that does not end is left after `patience` seconds."""
        if self._loop is None or self._thread is None:
            return
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None

        async def finish() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=patience)
            loop.stop()

        # The loop keeps no reference to a task: this one has to last until it has stopped the loop.
        future = asyncio.run_coroutine_threadsafe(finish(), loop)
        thread.join(patience + 1.0)
        if not thread.is_alive():
            future.cancel()
            loop.close()
