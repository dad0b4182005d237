"""Turns words of the command line into values. Every mistake is a UsageError that names the option."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from motet import Limits
from motet._duration import parse_duration
from motet.model.payload import EMPTY, Payload
from motet_server.cli.exits import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A run as the command line asks for it."""

    group: str
    input: Payload = EMPTY
    variables: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    timeout: float | None = None
    """Seconds; None means no bound."""
    tenant: str = ""
    """On whose account; empty means nobody's."""
    limits: Limits | None = None
    session: str = ""
    """The session that members continue, in groups with `preserve_session`; empty means none."""


def pairs(option: str, words: Iterable[str] | None) -> dict[str, str]:
    """`name=value` words as a dict; the value may hold further `=`."""
    made: dict[str, str] = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise UsageError(f"{option}: {word!r} is not name=value")
        if name in made:
            raise UsageError(f"{option}: {name!r} is given twice")
        made[name] = value
    return made


def duration(option: str, word: str | None) -> float | None:
    """Seconds of `30`, `30s` or `1m30s`; None for None."""
    if word is None:
        return None
    try:
        return parse_duration(word)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def session(word: str | None) -> str:
    """The id of a session; empty for none. Raises UsageError."""
    if word is not None and not word.strip():
        raise UsageError("--session: must not be empty; leave it out for a run without a session")
    return word or ""


def depth() -> int:
    """The depth of a run of this process: one more than that of the run that it was started in, which Motet tells the
    commands that it starts in MOTET_DEPTH; 0 when it was started in none."""
    word = os.environ.get("MOTET_DEPTH", "").strip()
    if not word:
        return 0
    if not (word.isascii() and word.isdigit() and len(word) < 10):
        raise UsageError(f"MOTET_DEPTH: {word[:20]!r} is not a whole number from 0 on; unset it")
    return int(word) + 1


async def read_input(words: str | None, file: str | None, *, json: bool) -> Payload:
    """The input: given as words, in a file, or on standard input for `-`. Bytes that are not UTF-8 stay bytes."""
    if words is not None and file is not None:
        raise UsageError("INPUT, --input-file: give one of the two")
    if words is not None and words != "-":
        payload = Payload.from_text(words)
    elif words == "-" or file == "-":
        # A read of a pipe that nobody writes to cannot be interrupted; the thread is left, the process ends without it.
        payload = _decoded(await trio.to_thread.run_sync(_read_stdin, abandon_on_cancel=True))
    elif file is not None:
        try:
            payload = _decoded(await trio.to_thread.run_sync(Path(file).read_bytes, abandon_on_cancel=True))
        except OSError as error:
            raise UsageError(f"--input-file: cannot read {file!r}: {error.strerror}") from None
    else:
        payload = EMPTY
    if not json:
        return payload
    try:
        return Payload.from_json_text(payload.text)
    except ValueError as error:
        raise UsageError(f"--json-input: the input is not JSON: {error}") from None


def _read_stdin() -> bytes:
    # Not sys.stdin: a thread left in it holds its lock, on which the interpreter's shutdown fails.
    with open(0, "rb", closefd=False) as stream:
        return stream.read()


def _decoded(data: bytes) -> Payload:
    try:
        return Payload.from_text(data.decode())
    except UnicodeDecodeError:
        return Payload.from_bytes(data)
