"""The command agent: a program that answers a call through its standard streams and exit code, never through a shell.

What it knows of processes is in `_processgroup`, what it knows of arguments in `_argv`.
"""

import errno
import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import trio

from motet.agents import _argv
from motet.agents._card import checked, digest, place_of
from motet.agents._processgroup import REAP_SECONDS, Capture, ProcessGroup
from motet.errors import AgentError
from motet.model.agent import AgentInfo, AgentKind, Reply
from motet.model.payload import Payload
from motet.model.rate import Breaker, Rate
from motet.model.reason import INPUT_INVALID, OUTPUT_INVALID
from motet.ports import Call

COMMAND_NOT_FOUND: Final = "COMMAND_NOT_FOUND"
"""The program is not there. Details: `program`."""
COMMAND_NOT_STARTED: Final = "COMMAND_NOT_STARTED"
"""The system refused to start it. Details: `errno` (its name, such as `EACCES`)."""
COMMAND_FAILED: Final = "COMMAND_FAILED"
"""It ended with an exit code that is not one of `ok_exit_codes`. Details: `exit_code` or `signal`, and `stderr`."""
OUTPUT_TOO_LARGE: Final = "OUTPUT_TOO_LARGE"
"""It wrote more than `max_output_bytes` and was stopped. Details: `max_output_bytes`."""

InputMode = Literal["stdin", "argument", "none"]
OutputMode = Literal["text", "json", "bytes"]

INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
"""What programs need to work at all; secrets of the server's environment stay in the server."""
_STDERR_KEPT: Final = 64 * 1024
_STDERR_TOLD: Final = 4 * 1024
_OUTPUT_TOLD: Final = 200
_INLINE: Final = 256 * 1024
"""Output up to this size is decoded at once (about 2 ms of JSON); larger output goes to a thread."""
_PASSING: Final = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ETXTBSY})
"""Refusals that may be over in a moment."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a program ended, as a `parse` function receives it."""

    argv: tuple[str, ...]
    """As it was started: the first element is the program's path."""
    exit_code: int
    """Negative for the signal that ended it."""
    stdout: bytes
    stderr: bytes
    """At most its last 64 KiB."""


class CommandAgent:
    """Runs a program for each call, in a process group of its own, and makes its output the reply.

    `argv[0]` is looked up at each call, in PATH of the program's environment and beside this Python, so tools of the same
    virtualenv are found. `{input}` (with `input="argument"`) and `{variable}` in later elements are replaced by text; a
    literal brace is written twice. Besides `inherit_env` and `env` the program sees MOTET_RUN_ID, MOTET_GROUP,
    MOTET_MEMBER, MOTET_DEPTH, MOTET_IDEMPOTENCY_KEY when the call has one and, when there is a deadline, MOTET_TIME_LEFT
    in seconds.

    When it is cancelled the group gets SIGTERM, `term_grace` seconds later SIGKILL. A process that leaves the group (its
    own `setsid`) is beyond reach. `parse`, a function of a CommandResult, runs in a thread, and what it returns becomes
    the output instead of `output`'s reading of stdout. `term_grace` and `timeout` are in seconds. What is not named here
    goes on the card as it is: `AgentInfo` says what it means. Raises ValueError, which names the parameter, when one is
    wrong.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        input: InputMode = "stdin",
        output: OutputMode = "text",
        parse: Callable[[CommandResult], object] | None = None,
        ok_exit_codes: Sequence[int] = (0,),
        env: Mapping[str, str] | None = None,
        inherit_env: Sequence[str] = INHERITED,
        cwd: str | os.PathLike[str] | None = None,
        term_grace: float = 2.0,
        max_output_bytes: int = 16 * 2**20,
        description: str = "",
        max_parallel: int | None = None,
        provider: str = "",
        timeout: float | None = None,
        replay_safe: bool | None = None,
        labels: Mapping[str, str] | None = None,
        version: str = "",
        estimated_cost_nanos: int | None = None,
        estimated_tokens: int | None = None,
        rate: Rate | None = None,
        weight: float = 1.0,
        breaker: Breaker | None = None,
    ) -> None:
        self._elements = _argv.parse(argv)
        self.argv = tuple(argv)
        _check_choice("input", input, get_args(InputMode))
        _check_choice("output", output, get_args(OutputMode))
        takes_input = any(_argv.INPUT in element.names for element in self._elements)
        if input == "argument" and not takes_input:
            raise ValueError("argv: with input='argument' one element must contain {input}")
        if input != "argument" and takes_input:
            raise ValueError(f"argv: {{input}} is filled with input='argument' only, not with input={input!r}")
        for key, value in (env or {}).items():
            if not key or "=" in key or "\0" in key + value:
                raise ValueError(f"env: {key!r} cannot be set; no '=' in the name, no NUL in name or value")
        if not (math.isfinite(term_grace) and term_grace >= 0):
            raise ValueError("term_grace: must be a number of seconds, 0 or more")
        if max_output_bytes < 1:
            raise ValueError("max_output_bytes: must be at least 1")
        if max_parallel is not None and max_parallel < 1:
            raise ValueError("max_parallel: must be at least 1, or None for no bound")
        self._input = input
        self._output = output
        self._parse = parse
        self._ok_exit_codes = frozenset(ok_exit_codes)
        self._env = dict(env or {})
        self._inherit_env = tuple(inherit_env)
        self._cwd = None if cwd is None else os.fspath(cwd)
        if self._cwd is not None and "\0" in self._cwd:
            raise ValueError("cwd: must have no NUL character")
        self._term_grace = term_grace
        self._max_output_bytes = max_output_bytes
        self.info = checked(
            AgentInfo(
                name=name,
                kind=AgentKind.COMMAND,
                description=description,
                version=version,
                max_parallel=max_parallel,
                provider=provider,
                timeout=timeout,
                replay_safe=replay_safe,
                labels=dict(labels or {}),
                estimated_cost_nanos=estimated_cost_nanos,
                estimated_tokens=estimated_tokens,
                rate=rate,
                weight=weight,
                breaker=breaker,
            )
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """What its answers depend on, beside the input: a call that is made once is told from others by it."""
        return {
            "argv": self.argv,
            "input": self._input,
            "output": self._output,
            "parse": place_of(self._parse) if self._parse is not None else "",
            "ok_exit_codes": sorted(self._ok_exit_codes),
            "env": digest(self._env),
            "cwd": self._cwd or "",
        }

    async def call(self, call: Call, /) -> Reply:
        env = self._environment(call)
        data, arguments = self._given(call)
        stdout, stderr = Capture(self._max_output_bytes), Capture(_STDERR_KEPT, tail=True)
        try:
            argv = (self._find_program(env), *arguments)
            group = await ProcessGroup.start(
                argv, env=env, cwd=self._cwd, feeds=self._input == "stdin", stdout=stdout, stderr=stderr
            )
        except OSError as error:
            raise self._not_started(error) from error
        try:
            await group.communicate(data)
            if stdout.overflowed:
                raise AgentError(
                    f"command '{self.info.name}' wrote more than {self._max_output_bytes} bytes and was stopped; "
                    "raise the agent's max_output_bytes or make it say less",
                    reason=OUTPUT_TOO_LARGE,
                    details={"max_output_bytes": self._max_output_bytes},
                )
        finally:
            if not group.ended:
                with trio.move_on_after(self._term_grace + REAP_SECONDS + 1.0, shield=True):
                    call.stop_detail = await group.stop(self._term_grace)
                if not call.stop_detail:
                    call.detached = f"process {group.pid} of command '{self.info.name}', which did not end on SIGKILL"
            exit_code = group.close()
        assert exit_code is not None  # noqa: S101 - communicate returned, so the leader has ended
        result = CommandResult(argv, exit_code, stdout.content, stderr.content)
        if exit_code not in self._ok_exit_codes:
            raise self._failed(result)
        return Reply(await self._read(call, result), metadata={"exit_code": exit_code})

    # ---------------------------------------------------------------------------------------------- what goes in

    def _environment(self, call: Call) -> dict[str, str]:
        env = {key: os.environ[key] for key in self._inherit_env if key in os.environ}
        env.update(self._env)
        env["MOTET_RUN_ID"] = call.run_id
        env["MOTET_GROUP"] = call.group
        env["MOTET_MEMBER"] = call.member
        env["MOTET_DEPTH"] = str(call.depth)
        if call.idempotency_key:
            env["MOTET_IDEMPOTENCY_KEY"] = call.idempotency_key
        left = call.time_left()
        if math.isfinite(left):
            env["MOTET_TIME_LEFT"] = f"{left:.3f}"
        return env

    def _given(self, call: Call) -> tuple[bytes, list[str]]:
        """What goes to stdin, and the arguments after argv[0]. Raises AgentError INPUT_INVALID."""

        def value(name: str) -> str:
            payload = call.input if name == _argv.INPUT else call.variable_payloads.get(name)
            if payload is None:
                raise AgentError(f"command '{self.info.name}' needs the variable '{name}'", reason=INPUT_INVALID)
            return payload.text

        try:
            data = call.input.data if self._input == "stdin" else b""
            arguments = _argv.fill(self._elements[1:], value)
        except UnicodeError as error:
            message = f"command '{self.info.name}' cannot take this input: it is not UTF-8 text"
            raise AgentError(message, reason=INPUT_INVALID) from error
        return data, arguments

    def _find_program(self, env: Mapping[str, str]) -> str:
        program = self._elements[0].literals[0]
        if os.sep in program:
            path = Path(self._cwd or "", program).absolute()
            if path.exists():
                return str(path)
        else:
            # Relative folders in PATH are passed over: the program would depend on where it happens to run.
            folders = [folder for folder in env.get("PATH", os.defpath).split(os.pathsep) if Path(folder).is_absolute()]
            folders.append(str(Path(sys.executable).parent))
            if found := shutil.which(program, path=os.pathsep.join(folders)):
                return found
        raise AgentError(
            f"the program '{program}' of command '{self.info.name}' was not found; install it, or give its path in argv",
            reason=COMMAND_NOT_FOUND,
            details={"program": program},
        )

    def _not_started(self, error: OSError) -> AgentError:
        number = error.errno or 0
        return AgentError(
            f"command '{self.info.name}' could not be started: {error.strerror or error}",
            reason=COMMAND_NOT_STARTED,
            details={"errno": errno.errorcode.get(number, str(number))},
            retryable=number in _PASSING,
        )

    # --------------------------------------------------------------------------------------------- what comes out

    def _failed(self, result: CommandResult) -> AgentError:
        details: dict[str, Any] = {}
        if result.exit_code < 0:
            try:
                ending = signal.Signals(-result.exit_code).name
            except ValueError:  # a real-time signal
                ending = f"signal {-result.exit_code}"
            details["signal"] = ending
            how = f"was ended by {ending}"
        else:
            details["exit_code"] = result.exit_code
            how = f"ended with exit code {result.exit_code}"
        details["stderr"] = result.stderr[-_STDERR_TOLD:].decode(errors="replace")
        lines = details["stderr"].strip().splitlines()
        why = f": {lines[-1][:_OUTPUT_TOLD]}" if lines else ""
        return AgentError(f"command '{self.info.name}' {how}{why}", reason=COMMAND_FAILED, details=details)

    async def _read(self, call: Call, result: CommandResult) -> Payload:
        if self._parse is None:
            if len(result.stdout) <= _INLINE:
                return self._interpret(result)
            return await trio.to_thread.run_sync(self._interpret, result)
        running = False

        def parse() -> Payload:
            nonlocal running
            running = True
            try:
                return self._interpret(result)
            finally:
                running = False

        try:
            return await trio.to_thread.run_sync(parse, abandon_on_cancel=True)
        finally:
            if running:  # cancelled, and a thread cannot be stopped: the receipt says so
                call.detached = f"parse function of command '{self.info.name}'"

    def _interpret(self, result: CommandResult) -> Payload:
        try:
            if self._parse is not None:
                return Payload.of(self._parse(result))
            if self._output == "bytes":
                return Payload.from_bytes(result.stdout)
            if self._output == "json":
                return Payload.from_json_text(result.stdout.decode())
            return Payload.from_text(result.stdout.decode(errors="replace"))
        except AgentError:
            raise
        except Exception as error:
            what = "its parse function failed" if self._parse is not None else "it did not write JSON"
            raise AgentError(
                f"the output of command '{self.info.name}' is not usable: {what} ({type(error).__name__}: {error})",
                reason=OUTPUT_INVALID,
                details={"output": result.stdout[: 4 * _OUTPUT_TOLD].decode(errors="replace")[:_OUTPUT_TOLD]},
            ) from error


def _check_choice(parameter: str, value: object, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{parameter}: must be one of {', '.join(map(repr, choices))}, not {value!r}")
