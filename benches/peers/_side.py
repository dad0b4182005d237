"""A process that measures one system, and the questions to it. Knows the pipe's protocol (`_worker.py`), not the system."""

import json
import os
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import trio

from peers._environments import plain
from peers._systems import System

BENCHES: Final = Path(__file__).resolve().parent.parent
PATIENCE: Final = 300.0
"""Seconds for one answer, agents made and run. A system that takes longer is reported as such."""


class NoAnswer(Exception):
    """The system could not do what it was asked. The message says why."""


class Side:
    """One system in a process of its own. It is started when first asked, and again after it was stopped."""

    def __init__(self, system: System, python: Path, nursery: trio.Nursery, home: Path, errors: IO[bytes]) -> None:
        """The process ends with the nursery. `home` is an empty folder that it takes for its user's; `errors` is an
        empty file, open to write and read."""
        self.system = system
        self._python = python
        self._nursery = nursery
        self._home = home
        self._process: trio.Process | None = None
        self._received = b""
        self._errors = errors
        self._said = 0
        """Bytes of errors before the last question."""

    async def hello(self) -> dict[str, Any]:
        """Its Python, versions and cases. Raises NoAnswer when the system does not even start."""
        self._received = b""
        self._listen()
        run = partial(
            trio.run_process,
            [str(self._python), "-m", self.system.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            check=False,
            cwd=BENCHES,
            # Nothing of the user's: a key or a setting must not switch on tracing or another loop in one of them.
            env={"PATH": os.defpath, "HOME": str(self._home), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self._process = await self._nursery.start(run)
        hello: dict[str, Any] = await self._answer()
        return hello

    async def ask(self, case: str, agents: int, calls: int) -> dict[str, float]:
        """Seconds of a call, `wall` and `cpu`, and the events heard in it. Raises NoAnswer."""
        if self._process is None:
            await self.hello()
        self._listen()
        assert self._process is not None and self._process.stdin is not None  # noqa: S101, PT018 - hello has started it
        question = json.dumps({"case": case, "agents": agents, "calls": calls}) + "\n"
        with suppress(trio.BrokenResourceError):  # it has ended, and why is told where its answer is missing
            await self._process.stdin.send_all(question.encode())
        answer: dict[str, float] = await self._answer()
        return answer

    async def _answer(self) -> Any:
        with trio.move_on_after(PATIENCE) as scope:
            line = await self._line()
        if scope.cancelled_caught:
            self._stop()
            raise NoAnswer(f"no answer within {PATIENCE:.0f} s")
        if not line:
            self._stop()
            # Read where it is: the process writes at the same position of the same open file.
            said = os.pread(self._errors.fileno(), 2**16, self._said)
            raise NoAnswer(f"the process ended: {plain(said.decode(errors='replace'))}")
        answer = json.loads(line)
        if "error" in answer:
            raise NoAnswer(plain(answer["error"]))
        return answer

    async def _line(self) -> bytes:
        assert self._process is not None and self._process.stdout is not None  # noqa: S101, PT018 - asked, so started
        while b"\n" not in self._received:
            more = await self._process.stdout.receive_some()
            if not more:
                return b""
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _listen(self) -> None:
        self._said = os.fstat(self._errors.fileno()).st_size

    def _stop(self) -> None:
        """Let go of the process, at once: it holds nothing that must be kept. The nursery waits for its end."""
        if self._process is not None:
            self._process.kill()
            self._process = None
