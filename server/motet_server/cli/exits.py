"""The exit codes of the program, and the one table that leads to them. `docs/reference/cli.md` lists the same."""

from collections.abc import Iterable
from typing import Any, Final

from motet_server.cli.text import one_line

OK: Final = 0
"""The command did what it was asked; a run has an answer."""
FAILED: Final = 1
"""The run ended without an answer, or something broke."""
USAGE: Final = 2
"""The command line, the request or the catalog is wrong."""
TIMED_OUT: Final = 3
"""The run's deadline passed."""
UNAVAILABLE: Final = 4
"""The server cannot be reached or drains, its store does not answer, or a bound is reached."""
SIGNALLED: Final = 128
"""Added to the number of the signal that stopped the command: 130 for Ctrl-C, 143 for SIGTERM."""
INTERRUPTED: Final = SIGNALLED + 2
BROKEN_PIPE: Final = SIGNALLED + 13
"""Whoever read the output has gone."""

FLAGS: Final = {
    "limits.max_cost_nanos": "--max-cost",
    "limits.max_calls": "--max-calls",
    "limits.max_tokens": "--max-tokens",
    "limits.max_failure_rate": "--max-failure-rate",
    "limits.min_successes": "--min-successes",
    "tenant": "--tenant",
}
"""From fields of a request to the options that set them: what only the engine can judge still names the option."""

_STATES: Final = {"SUCCEEDED": OK, "TIMED_OUT": TIMED_OUT}

# By class name, because the engine's errors and the client's are two trees that mean the same.
_ERRORS: Final = {
    "InvalidRequest": USAGE,
    "InvalidArgument": USAGE,
    "FailedPrecondition": USAGE,
    "NotFound": USAGE,
    "Unauthenticated": USAGE,
    "PermissionDenied": USAGE,
    "RequestError": USAGE,
    "RequestIdReused": USAGE,
    "CatalogError": USAGE,
    "UsageError": USAGE,
    "DeadlineExceeded": TIMED_OUT,
    "Unavailable": UNAVAILABLE,
    "Exhausted": UNAVAILABLE,
    "LeaseLost": UNAVAILABLE,
    "Aborted": UNAVAILABLE,
    "ResourceExhausted": UNAVAILABLE,
    "BrokenPipeError": BROKEN_PIPE,
    "OSError": FAILED,
    "KeyboardInterrupt": INTERRUPTED,
    "MotetError": FAILED,
    "MotetClientError": FAILED,
}


class UsageError(Exception):
    """The command line is wrong; the message says how to put it right."""


def of_state(state: object) -> int:
    """The exit code of a run that ended in this state."""
    return _STATES.get(str(state), FAILED)


def of_error(error: BaseException) -> int | None:
    """The exit code of an error that is expected; None for one that is a defect of the program."""
    return next((_ERRORS[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _ERRORS), None)


def leaves(error: BaseException) -> Iterable[BaseException]:
    """The exceptions in a group, at any depth; the exception itself when it is not a group."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def sentences(error: BaseException) -> list[str]:
    """What to print of an error: a line for each mistake, with the name of the field or table."""
    parts: Any = getattr(error, "violations", None) or getattr(error, "problems", None)
    if parts:
        return [one_line(_violation(part)) for part in parts]
    return [one_line(str(getattr(error, "message", None) or error) or type(error).__name__)]


def _violation(part: Any) -> str:
    if hasattr(part, "table"):
        return str(part)
    field = FLAGS.get(part.field.removeprefix("request."), part.field)
    return f"{field}: {part.message}" if field else str(part.message)
