"""From a failed RPC to one of the client's errors. Reads the few google.rpc details that Motet sends, by hand: their
generated code lives in a package that the client does not need otherwise."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError

from motet_client import _errors as errors

STATUS_KEY: Final = "grpc-status-details-bin"

ERRORS: Final[dict[str, type[errors.MotetClientError]]] = {
    kind.default_code: kind
    for kind in (
        errors.InvalidArgument,
        errors.NotFound,
        errors.FailedPrecondition,
        errors.Aborted,
        errors.ResourceExhausted,
        errors.DeadlineExceeded,
        errors.Cancelled,
        errors.Unavailable,
        errors.Unauthenticated,
        errors.PermissionDenied,
        errors.Internal,
    )
}


def error_from(rpc: grpc.RpcError) -> errors.MotetClientError:
    """The client's error for a failed call of `grpc` or `grpc.aio`."""
    call: Any = rpc
    code = call.code()
    trailing: Sequence[tuple[str, str | bytes]] = call.trailing_metadata() or ()
    status = next((value for key, value in trailing if key == STATUS_KEY), b"")
    return make_error(
        code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN",
        call.details() or "the call failed and the server did not say why",
        status if isinstance(status, bytes) else b"",
    )


def make_error(code: str, message: str, status: bytes = b"") -> errors.MotetClientError:
    """`status` is a serialized google.rpc.Status, or empty. Details that cannot be read are left out."""
    details = _Details()
    try:
        details.read(status)
    except (ValueError, DecodeError):
        details = _Details()
    kind = ERRORS.get(code, errors.MotetClientError)
    return kind(
        message,
        code=code,
        reason=details.reason,
        violations=details.violations,
        retry_after=details.retry_after,
        metadata=details.metadata,
    )


class _Details:
    """What a google.rpc.Status carries beyond code and message."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.metadata: dict[str, str] = {}
        self.violations: list[errors.Violation] = []
        self.retry_after: float | None = None

    def read(self, status: bytes) -> None:
        for detail in _all(status, 3):
            kind = _text(detail, 1).rpartition("/")[2]
            value = next(_all(detail, 2), b"")
            if kind == "google.rpc.ErrorInfo":
                self.reason = _text(value, 1) or None
                self.metadata = {_text(entry, 1): _text(entry, 2) for entry in _all(value, 3)}
            elif kind in ("google.rpc.BadRequest", "google.rpc.QuotaFailure"):
                # Field and subject, and both descriptions, have the same numbers.
                self.violations += [errors.Violation(_text(each, 1), _text(each, 2)) for each in _all(value, 1)]
            elif kind == "google.rpc.RetryInfo":
                self.retry_after = Duration.FromString(next(_all(value, 1), b"")).ToNanoseconds() / 1e9


def _text(message: bytes, number: int) -> str:
    return next(_all(message, number), b"").decode()


def _all(message: bytes, number: int) -> Iterator[bytes]:
    """Every length-delimited value of the field with this number."""
    return (value for key, value in fields(message) if key == number and isinstance(value, bytes))


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and raw values of a protobuf message. Raises ValueError when it is not one."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            number, at = _varint(message, at)
            yield key >> 3, number
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} is not in use")
        if at + size > len(message):
            raise ValueError("the message is cut short")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("the message is cut short")
        byte = message[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise ValueError("a number has more than ten bytes")
