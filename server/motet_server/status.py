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
    MotetError,
    NotFound,
    RequestError,
    RequestIdReused,
    RunFailed,
    Unavailable,
)
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
    # These belong inside a run. One that gets here is a fault of this program, not of the caller.
    AgentError: grpc.StatusCode.INTERNAL,
    RunFailed: grpc.StatusCode.INTERNAL,
    MotetError: grpc.StatusCode.INTERNAL,
}
"""The table. A subclass without a row of its own has its parent's."""


def to_status(error: Exception) -> RpcStatus:
    """The status that the caller of an RPC gets for an error. Logs what is INTERNAL, with its traceback."""
    cause = _alone(error)
    if isinstance(cause, MotetError):
        code = next(CODES[kind] for kind in type(cause).__mro__ if kind in CODES)
        if code is not grpc.StatusCode.INTERNAL:
            return _status(code, cause.message, cause.reason, _facts(cause), _extras(cause))
    error_id = secrets.token_hex(8)
    _log.error("error %s in an RPC", error_id, exc_info=error)
    return _status(grpc.StatusCode.INTERNAL, "internal error", "INTERNAL", {"error_id": error_id})


def _alone(error: Exception) -> Exception:
    """The error inside groups of one: a nursery wraps the error of its only failed task."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _status(
    code: grpc.StatusCode, message: str, reason: str, facts: Mapping[str, Any], extras: Iterable[Message] = ()
) -> RpcStatus:
    sentence = _cut(message, MAX_SENTENCE)
    status = status_pb2.Status(code=code.value[0], message=sentence)
    info = error_details_pb2.ErrorInfo(reason=_cut(reason), domain=DOMAIN)
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


def _extras(error: MotetError) -> Iterator[Message]:
    if isinstance(error, InvalidRequest):
        bad = error_details_pb2.BadRequest()
        for violation in error.violations:
            if bad.ByteSize() < MAX_VIOLATIONS - 2 * MAX_TEXT:
                bad.field_violations.add(field=_cut(violation.field), description=_cut(violation.message))
        yield bad
    elif isinstance(error, Exhausted):
        if error.retry_after is not None:
            yield error_details_pb2.RetryInfo(retry_delay=duration_to_pb(max(0.0, error.retry_after)))
        quota = error_details_pb2.QuotaFailure()
        quota.violations.add(
            subject=_cut(str(error.details.get("subject", error.reason))), description=_cut(error.message)
        )
        yield quota


def _cut(text: str, most: int = MAX_TEXT) -> str:
    """The text in at most so many bytes of UTF-8."""
    encoded = text_to_pb(text).encode()
    return encoded.decode() if len(encoded) <= most else encoded[: most - 3].decode(errors="ignore") + "..."
