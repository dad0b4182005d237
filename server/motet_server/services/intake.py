"""From a message to a checked request: validation, decoding, and what travels beside the message as metadata."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import trio
from google.protobuf.message import Message

from motet.errors import InvalidRequest, Violation
from motet.model.result import RunResult
from motet.model.run import RunRequest
from motet_proto.v1 import run_service_pb2
from motet_server import validation, wire_requests, wire_results
from motet_server.auth import tenant_for
from motet_server.rpc import RpcContext

DEPTH_KEY: Final = "motet-depth"
"""Metadata key under which the depth of nested runs travels from server to server."""
MAX_DEPTH: Final = 1_000_000
"""Far above what any engine allows, and small enough to be counted on."""
LARGE_REQUEST: Final = 128 * 1024
"""Bytes above which a request is read in a thread: about 3 ms of work that would hold up every other run."""
LARGE_RESULT: Final = 1000
"""Members above which a result is written in a thread, for the same reason."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Intake:
    """Reads requests by one set of bounds."""

    max_plan_depth: int = validation.MAX_PLAN_DEPTH
    expressions: bool = True
    """Callers may send CEL."""

    def check(self, message: Message) -> None:
        """Raises InvalidRequest, naming every wrong field."""
        validation.validate(message, max_plan_depth=self.max_plan_depth)

    async def read(self, message: Message, request: run_service_pb2.RunRequest, context: RpcContext) -> RunRequest:
        """Check the message and give the run request in it, on the account of the caller's tenant. Raises InvalidRequest,
        naming every wrong field, and PermissionDenied for another's tenant."""
        depth = depth_from(context.metadata)

        def decode() -> RunRequest:
            self.check(message)
            if not self.expressions:
                validation.refuse_expressions(request.plan)
            return wire_requests.run_request_from_pb(request, depth=depth)

        decoded = await _run(decode, large=message.ByteSize() > LARGE_REQUEST)
        tenant = tenant_for(context.caller, decoded.tenant)
        return decoded if tenant == decoded.tenant else replace(decoded, tenant=tenant)


async def write_result(result: RunResult, response: Callable[..., T], **fields: object) -> T:
    """The response that has this result, and other fields of it."""
    return await _run(
        lambda: response(result=wire_results.run_result_fields(result), **fields),
        large=result.stats.members > LARGE_RESULT,
    )


def depth_from(metadata: Mapping[str, str]) -> int:
    """The depth of the run that is asked for: one more than that of the run that the caller is in, 0 when it is in none.
    Raises InvalidRequest for what is not a depth."""
    text = metadata.get(DEPTH_KEY)
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < len(str(MAX_DEPTH))):
        raise InvalidRequest(
            [Violation(DEPTH_KEY, "this metadata must be a whole number of 0 or more, or be left out")]
        )
    return int(text) + 1


@contextmanager
def within(field: str) -> Iterator[None]:
    """The engine names fields from the run request on; name them from the message that holds it in `field`."""
    try:
        yield
    except InvalidRequest as error:
        violations = [Violation(f"{field}.{found.field}", found.message) for found in error.violations]
        raise InvalidRequest(violations, reason=error.reason) from None


async def _run(work: Callable[[], T], *, large: bool) -> T:
    return await trio.to_thread.run_sync(work) if large else work()
