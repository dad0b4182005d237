"""Errors to statuses, by one table. Every status carries a google.rpc.ErrorInfo with the stable reason; what is not in
the table is INTERNAL, logged with an id that the caller gets, and tells nothing of itself."""

import json
import logging
import secrets
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # its package ships no types

from motet.errors import (
    AgentError,
    CatalogError,
    Exhausted,
    InvalidRequest,
    LeaseLost,
    MotetError,
    NotFound,
    RequestError,
    RequestIdReused,
    RunFailed,
    StoreFailed,
    Unavailable,
)
from motet.model import reason
from motet_server.auth import PermissionDenied, Unauthenticated
from motet_server.rpc import RpcStatus
from motet_server.wire import duration_to_pb, text_to_pb

DOMAIN: Final = "motet.dev"
# Clients take 8 KiB of trailing metadata, the details in base64 and the sentence percent-encoded: all of it is bounded.
MAX_SENTENCE: Final = 1000
"""Bytes of the sentence."""
MAX_TEXT: Final = 400
"""Bytes of one text in the details."""
MAX_FACTS: Final = 1200
"""Bytes of the facts in ErrorInfo, about."""
MAX_VIOLATIONS: Final = 2400
"""Bytes of the violations in BadRequest, about; ErrorInfo tells how many there are."""

_log = logging.getLogger("motet.server")

CODES: Final[Mapping[type[MotetError], grpc.StatusCode]] = {
    RequestError: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    RequestIdReused: grpc.StatusCode.FAILED_PRECONDITION,
    CatalogError: grpc.StatusCode.FAILED_PRECONDITION,
    Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    StoreFailed: grpc.StatusCode.UNAVAILABLE,
    LeaseLost: grpc.StatusCode.ABORTED,
    # These belong inside a run. One that gets here is a fault of this program, not of the caller.
    AgentError: grpc.StatusCode.INTERNAL,
    RunFailed: grpc.StatusCode.INTERNAL,
    MotetError: grpc.StatusCode.INTERNAL,
}
"""The table. A subclass without a row of its own has its parent's."""
OF_SERVER: Final[Mapping[type[MotetError], grpc.StatusCode]] = {
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
}
"""Rows for what the server alone raises: the engine does not ask who calls."""
_ALL: Final = {**CODES, **OF_SERVER}
BY_REASON: Final[Mapping[str, grpc.StatusCode]] = {reason.STORE_FULL: grpc.StatusCode.RESOURCE_EXHAUSTED}
"""Reasons that have another status than their error: a store without room is a bound that is reached."""


def to_status(error: Exception) -> RpcStatus:
    """The status that the caller of an RPC gets for an error. Logs what is INTERNAL, with its traceback."""
    cause = _alone(error)
    if isinstance(cause, MotetError):
        code = next(_ALL[kind] for kind in type(cause).__mro__ if kind in _ALL)
        if code is not grpc.StatusCode.INTERNAL:
            code = BY_REASON.get(cause.reason, code)
            return _status(code, cause.message, cause.reason, _facts(cause), _extras(cause, code))
    error_id = secrets.token_hex(8)
    _log.error("error %s in an RPC", error_id, exc_info=error)
    return _status(grpc.StatusCode.INTERNAL, "internal error", "INTERNAL", {"error_id": error_id})


def _alone(error: Exception) -> Exception:
    """The error inside groups of one: a nursery wraps the error of its only failed task."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _status(
    code: grpc.StatusCode, message: str, word: str, facts: Mapping[str, Any], extras: Iterable[Message] = ()
) -> RpcStatus:
    sentence = _cut(message, MAX_SENTENCE)
    status = status_pb2.Status(code=code.value[0], message=sentence)
    info = error_details_pb2.ErrorInfo(reason=_cut(word), domain=DOMAIN)
    for key, value in facts.items():
        if info.ByteSize() < MAX_FACTS:
            info.metadata[_cut(key)] = _cut(value if isinstance(value, str) else json.dumps(value, default=str))
    for detail in (info, *extras):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return RpcStatus(code, sentence, status.SerializeToString())


def _facts(error: MotetError) -> Mapping[str, Any]:
    return {"violations": len(error.violations)} if isinstance(error, InvalidRequest) else error.details


def _extras(error: MotetError, code: grpc.StatusCode) -> Iterator[Message]:
    if isinstance(error, InvalidRequest):
        bad = error_details_pb2.BadRequest()
        for violation in error.violations:
            if bad.ByteSize() < MAX_VIOLATIONS - 2 * MAX_TEXT:
                bad.field_violations.add(field=_cut(violation.field), description=_cut(violation.message))
        yield bad
        return
    seconds = _retry_after(error)
    if seconds is not None:
        yield error_details_pb2.RetryInfo(retry_delay=duration_to_pb(max(0.0, seconds)))
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        subject = error.details.get("subject") or error.details.get("tenant") or error.reason
        quota = error_details_pb2.QuotaFailure()
        quota.violations.add(subject=_cut(str(subject)), description=_cut(error.message))
        yield quota


def _retry_after(error: MotetError) -> float | None:
    """Seconds after which trying again may help; None when the error does not say."""
    seconds = error.retry_after if isinstance(error, Exhausted) else None
    told = error.details.get("retry_after_seconds") if seconds is None else seconds
    return float(told) if isinstance(told, int | float) else None


def _cut(text: str, most: int = MAX_TEXT) -> str:
    """The text in at most so many bytes of UTF-8."""
    encoded = text_to_pb(text).encode()
    return encoded.decode() if len(encoded) <= most else encoded[: most - 3].decode(errors="ignore") + "..."
