"""`motet serve --workers`: processes that serve one address together, started, replaced and drained as if they were one.

Each is a whole `motet serve` with an engine of its own; this file knows them by signals, pipes and exit codes only.
"""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import trio

from motet_server.cli import exits
from motet_server.cli.follow import SIGNALS
from motet_server.cli.output import say
from motet_server.cli.reserve import reserved
from motet_server.cli.secured import RELOAD
from motet_server.cli.worker import ORPHAN_BOUND

FIRST_PAUSE = 0.5
"""Seconds before a worker that ended is replaced; doubled each time that the one in its place does not last."""
LONGEST_PAUSE = 30.0
STEADY = 60.0
"""Seconds after which a worker has lasted, and the next pause is the first one again."""
OVERDUE = 60.0
"""Seconds after the grace in which cancelled members stop; a worker that takes longer hangs, and is killed."""
LEFT = "left before everything had stopped; members may still run"


def draining(number: int, grace: float) -> str:
    """What is said at the first signal."""
    return f"{signal.Signals(number).name}: draining for up to {grace:g} s; once more to stop at once"


def cores(*, pin: bool) -> list[int]:
    """The cores that this process may use when workers are to be kept on one each; else none. Raises UsageError."""
    if not pin:
        return []
    if not hasattr(os, "sched_getaffinity"):
        raise exits.UsageError("--pin: this system keeps no process on a core; leave it out")
    return sorted(os.sched_getaffinity(0))


async def supervise(
    catalog: str,
    words: Sequence[str],
    *,
    address: str,
    count: int,
    cores: Sequence[int],
    grace: float,
    tell: Callable[[str, int], None],
    reloads: bool = False,
) -> int:
    """Serve the catalog with so many processes until a signal drains them all. Returns the exit code.

    `words` are the options of each; they are dealt out over the `cores`, if any. With `reloads` SIGHUP is passed on to
    have files read again, and ends nothing. `tell` is called with the address and the number of continued runs once all
    are ready. When one ends before that, it has said why, all others are stopped and its exit code is returned. Raises
    UsageError and Unavailable for an address that cannot be shared or bound.
    """
    with trio.open_signal_receiver(*SIGNALS) as signals, reserved(address) as bound:
        # Where modules are found is handed on: without -P, -m puts the working directory before everything else.
        own = [] if sys.path[:1] == [os.getcwd()] else ["-P"]  # noqa: PTH109 - to be compared as it stands
        program = [sys.executable, *own, "-m", "motet_server.cli", "serve", f"--address={bound}", *words]
        crew = Crew(program, catalog, cores, grace, reloads=reloads)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crew.obey, signals)
            await crew.work(count, lambda continued: tell(bound, continued))
            nursery.cancel_scope.cancel()
    return crew.exit_code


@dataclass(slots=True)
class Worker:
    """A process that serves."""

    process: trio.Process
    lifeline: int
    """Write end of its standard input. It stops at once when this closes, as it does when the supervisor is gone."""
    ready: bool = False

    def hang_up(self) -> None:
        """Have it stop at once. May be called again."""
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1


class Crew:
    """The workers of one address."""

    def __init__(
        self, program: Sequence[str], catalog: str, cores: Sequence[int], grace: float, *, reloads: bool
    ) -> None:
        self._program = program
        self._catalog = catalog
        self._cores = cores
        self._grace = grace
        self._reloads = reloads
        self._reloaded = 0
        self._workers: dict[int, Worker] = {}
        self._continued = 0
        self._signals: list[int] = []
        self._ending = trio.Event()
        self._failed = exits.OK

    @property
    def exit_code(self) -> int:
        """Of the whole, once `work` has returned."""
        if self._failed or len(self._signals) < 2:
            return self._failed
        return exits.SIGNALLED + self._signals[1]

    async def obey(self, signals: AsyncIterator[int]) -> None:
        """Have all workers do what a signal asks for: drain, stop at once; the third leaves without waiting."""
        async for number in signals:
            if self._reloads and number == RELOAD:
                self._reloaded += 1
                for worker in self._workers.values():
                    if worker.ready:  # before that the signal would end it
                        worker.process.send_signal(number)
                continue
            self._signals.append(number)
            self._ending.set()
            if len(self._signals) == 1:
                say(draining(number, self._grace))
            elif len(self._signals) > 2:
                say(LEFT)
                self._send(signal.SIGKILL)
                os._exit(exits.SIGNALLED + number)
            self._send(number)

    async def work(self, count: int, tell: Callable[[int], None]) -> None:
        """Keep so many workers until a signal, or a failed start, has ended them all."""
        async with trio.open_nursery() as bounding:
            bounding.start_soon(self._kill_overdue)
            async with trio.open_nursery() as nursery:
                # The first by itself: it makes the store's file, and what is wrong with the catalog is said once.
                for numbers in (range(1, 2), range(2, count + 1)):
                    started = [trio.Event() for _ in numbers]
                    for number, event in zip(numbers, started, strict=True):
                        nursery.start_soon(self._keep, number, event)
                    for event in started:
                        await event.wait()
                if not self._ending.is_set():
                    tell(self._continued)
            bounding.cancel_scope.cancel()

    async def _keep(self, number: int, started: trio.Event) -> None:
        """A worker, and after it the next one. `started` is set once one is ready, or it is known that none will be."""
        pause = FIRST_PAUSE

        def ready(continued: int) -> None:
            if started.is_set():
                say(f"worker {number} is ready")
            self._continued += continued
            started.set()

        while not self._ending.is_set():
            since = trio.current_time()
            code, served = await self._live(number, ready)
            if self._ending.is_set():
                self._judge(number, code, served=served)
            elif not started.is_set():
                self._give_up(code)
            else:
                pause = FIRST_PAUSE if trio.current_time() - since >= STEADY else pause
                say(f"worker {number} {_how(code)}; another takes its place in {pause:g} s")
                with trio.move_on_after(pause):
                    await self._ending.wait()
                pause = min(2 * pause, LONGEST_PAUSE)
        started.set()

    async def _live(self, number: int, ready: Callable[[int], None]) -> tuple[int, bool]:
        """One worker from its start to its end. Returns how it ended, and whether it has served."""
        note, note_end = os.pipe()
        lifeline_end, lifeline = os.pipe()
        try:
            core = [f"--on-core={self._cores[(number - 1) % len(self._cores)]}"] if self._cores else []
            process = await trio.lowlevel.open_process(
                [*self._program, *core, f"--as-worker={note_end}", "--", self._catalog],
                stdin=lifeline_end,
                pass_fds=(note_end,),
                process_group=0,  # Ctrl-C in a terminal comes here, and from here once to each
            )
        except BaseException:
            os.close(note)
            os.close(lifeline)
            raise
        finally:
            os.close(note_end)
            os.close(lifeline_end)
        worker = self._workers[number] = Worker(process, lifeline)
        reloaded = self._reloaded

        def serves(continued: int) -> None:
            if self._reloaded != reloaded:  # it may have read the files before they changed
                process.send_signal(RELOAD)
            ready(continued)

        try:
            if self._ending.is_set():  # it has missed the signal, and serves nobody yet
                worker.hang_up()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_read_note, trio.lowlevel.FdStream(note), worker, serves)
                code = await process.wait()
                nursery.cancel_scope.cancel()
        finally:
            del self._workers[number]
            worker.hang_up()  # however the supervising ended, it leaves no process behind
            with trio.move_on_after(ORPHAN_BOUND, shield=True):
                await process.wait()
            if process.returncode is None:
                process.kill()
        return code, worker.ready

    def _give_up(self, code: int) -> None:
        """The start of the whole has failed, with a sentence from the worker itself unless a signal ended it."""
        if code < 0:
            say(f"a worker {_how(code)} before it was ready")
        self._failed = code if code > 0 else exits.FAILED
        self._ending.set()
        for worker in self._workers.values():
            worker.hang_up()

    def _judge(self, number: int, code: int, *, served: bool) -> None:
        """After one signal workers end with 0; after two also with that of either, since they may take them in any order."""
        several = self._signals if len(self._signals) > 1 else ()
        asked = {exits.OK, *(exits.SIGNALLED + number for number in several)}
        if served and code not in asked and not self._failed:
            say(f"worker {number} {_how(code)} before it had drained")
            self._failed = exits.FAILED

    async def _kill_overdue(self) -> None:
        await self._ending.wait()
        await trio.sleep(self._grace + OVERDUE)
        say(f"some members have not stopped {OVERDUE:g} s after the grace: their workers are killed")
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        for worker in self._workers.values():
            worker.process.send_signal(number)


async def _read_note(stream: trio.lowlevel.FdStream, worker: Worker, ready: Callable[[int], None]) -> None:
    """Wait for what a worker writes once it is ready; nothing when it ends before that."""
    note = b""
    async with stream:
        while data := await stream.receive_some():
            note += data
    if note:
        worker.ready = True
        ready(int(note.split()[-1]))


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
