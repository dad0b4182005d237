"""What is sent, made from what the caller gave: requests, deadlines, metadata. Pure; the three doors share it."""

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypedDict

import grpc

from motet_client._errors import InvalidArgument, Unavailable, Violation
from motet_client._info import MapInput
from motet_client._plan import Limits, Plan
from motet_client._result import State
from motet_client._security import TOKEN_KEY, Tls, name_option, token_metadata
from motet_client._security import credentials as credentials_of
from motet_client._wire_plan import to_limits, to_plan
from motet_client._wire_results import STATES
from motet_client._wire_values import number_of, to_duration, to_payload, to_payloads
from motet_proto.v1 import run_service_pb2 as pb

GRACE: Final = 5.0
"""Seconds that a call outlives its run's timeout, so that the partial result of a run that timed out still arrives."""
LONGEST_DELAY: Final = 5.0
"""Seconds beyond which a wait that the server asks for is the caller's to decide on."""
RETRY_DELAYS: Final = (0.1, 0.4)
"""Waits before the second and third try of a call that met UNAVAILABLE and may be repeated without harm: a read, or a run
that its request_id keeps single."""
MAX_MESSAGE: Final = 256 * 1024 * 1024
"""Bytes of one answer. gRPC's own default, 4 MiB, is less than the result of a group of a few thousand members."""
DEPTH_KEY: Final = "motet-depth"
DEPTH_VARIABLE: Final = "MOTET_DEPTH"

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
GivenMetadata: TypeAlias = Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]]


class MapOptions(TypedDict, total=False):
    """What a run may be given besides its target and input. All may be left out."""

    variables: Mapping[str, object]
    """Values that members see by name: a str, bytes, a Payload or any JSON value each."""
    session_id: str
    """The conversation this run belongs to; empty means none."""
    tenant: str
    """On whose account the run is: quotas and idempotency keys are each tenant's own. Empty means nobody's."""
    timeout: float | None
    """Seconds for the whole run; 0 means already over, None no bound. The call itself may take 5 s more."""
    limits: Limits | None
    """Bounds of the run; None means the catalog's."""
    labels: Mapping[str, str]
    """Kept with the run and given back."""
    deadline: float | None
    """Seconds for the call, in place of the bound that follows from `timeout`; the server ends the run with it."""


class RunOptions(MapOptions, total=False):
    """What a run may be given besides its target and input. All may be left out."""

    request_id: str
    """The caller's key, which makes a repeat safe: the same key with the same request joins the run it started."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client was made with."""

    target: str
    """Address of the server, such as `127.0.0.1:50061`."""
    timeout: float | None
    """Seconds for runs and calls that have no bound of their own; None means none."""
    metadata: Metadata = field(repr=False)
    """Sent with each call, the token included."""
    options: tuple[tuple[str, Any], ...]
    """Channel arguments of gRPC."""
    credentials: grpc.ChannelCredentials | None
    """None means a channel without TLS."""

    @classmethod
    def make(
        cls,
        target: str,
        timeout: float | None,
        metadata: GivenMetadata | None,
        options: Mapping[str, Any] | None,
        credentials: grpc.ChannelCredentials | None,
        *,
        tls: Tls | bool | None = None,
        token: str | None = None,
    ) -> "Settings":
        if credentials is not None and tls is not None:
            raise _invalid("tls", "give either this or credentials")
        pairs = make_metadata(metadata)
        if token is not None and any(key == TOKEN_KEY for key, _ in pairs):
            raise _invalid("token", f"give either this or the metadata {TOKEN_KEY}")
        bounds = {"grpc.max_receive_message_length": MAX_MESSAGE, "grpc.max_send_message_length": MAX_MESSAGE}
        with naming("timeout"):
            to_duration(timeout)
        return cls(
            target,
            timeout,
            (*pairs, *token_metadata(token)),
            tuple((bounds | name_option(tls) | dict(options or {})).items()),
            credentials_of(tls) if credentials is None else credentials,
        )

    def deadline(self, given: float | None = None) -> float | None:
        """Seconds for a call that is not a run."""
        return _bound(self.timeout if given is None else given)

    def run(self, target: Plan | str, input: object, options: RunOptions) -> tuple[pb.RunRequest, float | None]:
        """The request of a run that ends with its call, and the seconds for that call."""
        bounded: RunOptions = {**options, "timeout": self._timeout_of(options)}
        request, deadline = make_run(target, input, **bounded)
        timeout = bounded["timeout"]
        if deadline is None and timeout is not None:
            deadline = max(0.0, timeout) + GRACE
        return request, _bound(deadline)

    def map(self, target: Plan | str, max_in_flight: int, options: MapOptions) -> tuple[pb.MapRunRequest, float | None]:
        """The first message of a map, and the seconds for the whole of it."""
        bounded: MapOptions = {**options, "timeout": self._timeout_of(options)}
        return map_open(target, max_in_flight, bounded)

    def _timeout_of(self, options: MapOptions) -> float | None:
        timeout = options.get("timeout")
        return self.timeout if timeout is None else timeout


class Tries:
    """The tries of one call within one deadline."""

    def __init__(self, deadline: float | None, *, safe: bool) -> None:
        """Without `safe` there is one."""
        self._end = None if deadline is None else time.monotonic() + deadline
        self._delays = list(reversed(RETRY_DELAYS)) if safe else []

    def deadline(self) -> float | None:
        """Seconds for the next try."""
        return None if self._end is None else max(0.0, self._end - time.monotonic())

    def wait(self, error: Unavailable) -> float:
        """Seconds before the next try, not less than the server says. Raises `error` when there is none in time."""
        if not self._delays:
            raise error
        delay = max(self._delays.pop(), error.retry_after or 0.0)
        left = self.deadline()
        if delay > LONGEST_DELAY or (left is not None and delay >= left):
            raise error
        return delay


def _bound(seconds: float | None) -> float | None:
    return None if seconds == math.inf else seconds


def make_run(
    target: Plan | str,
    input: object,
    *,
    variables: Mapping[str, object] | None = None,
    session_id: str = "",
    tenant: str = "",
    timeout: float | None = None,
    limits: Limits | None = None,
    labels: Mapping[str, str] | None = None,
    request_id: str = "",
    deadline: float | None = None,
) -> tuple[pb.RunRequest, float | None]:
    """A request and its deadline. Raises InvalidArgument for values that have no place in a message."""
    request = pb.RunRequest()
    if isinstance(target, str):
        with naming("group_name"):
            request.group_name = target
    else:
        with naming("plan"):
            request.plan.CopyFrom(to_plan(target))
    with naming("input"):
        request.input.CopyFrom(to_payload(input))
    with naming("variables"):
        request.MergeFrom(pb.RunRequest(variables=to_payloads(variables or {})))
    with naming("timeout"):
        request.MergeFrom(pb.RunRequest(timeout=to_duration(timeout)))
    with naming("limits"):
        request.MergeFrom(pb.RunRequest(limits=to_limits(limits)))
    with naming("labels"):
        request.labels.update(labels or {})
    with naming("session_id"):
        request.session_id = session_id
    with naming("tenant"):
        request.tenant = tenant
    with naming("request_id"):
        request.request_id = request_id
    with naming("deadline"):
        to_duration(deadline)
    return request, deadline


def map_open(target: Plan | str, max_in_flight: int, options: MapOptions) -> tuple[pb.MapRunRequest, float | None]:
    """The first message of a map, and the seconds for the whole of it."""
    request, deadline = make_run(target, "", **options)
    request.ClearField("input")
    if max_in_flight < 1:
        raise _invalid("max_in_flight", "it is the most runs at once and must be at least 1")
    with naming("max_in_flight"):
        opening = pb.MapOpen(request=request, max_in_flight=max_in_flight)
    return pb.MapRunRequest(open=opening), _bound(deadline)


def map_input(given: object, index: int) -> pb.MapRunRequest:
    """The message for one input. Raises InvalidArgument."""
    item = given if isinstance(given, MapInput) else MapInput(given)
    with naming(f"inputs[{index}]"):
        return pb.MapRunRequest(
            input=pb.MapInput(id=item.id, input=to_payload(item.payload), variables=to_payloads(item.variables))
        )


def list_request(states: Iterable[State | str], labels: Mapping[str, str] | None, page_size: int) -> pb.ListRunsRequest:
    """The first page's request. Raises InvalidArgument."""
    with naming("states"):
        numbers = [number_of(STATES, State(state)) for state in states]
    with naming("labels"):
        request = pb.ListRunsRequest(states=numbers, labels=dict(labels or {}))
    with naming("page_size"):
        request.page_size = page_size
    return request


def limits_request(tenant: str) -> pb.ListLimitsRequest:
    """Raises InvalidArgument."""
    with naming("tenant"):
        return pb.ListLimitsRequest(tenant=tenant)


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Turns what cannot be made into a message into an InvalidArgument that names the field."""
    try:
        yield
    except RecursionError:
        raise _invalid(field, "it is nested too deep") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise _invalid(field, str(error)) from error


def _invalid(field: str, message: str) -> InvalidArgument:
    violation = Violation(field, message)
    return InvalidArgument(str(violation), reason="INVALID_REQUEST", violations=[violation])


def make_metadata(given: GivenMetadata | None, environment: Mapping[str, str] = os.environ) -> Metadata:
    """The pairs to send with each call. A program that Motet started sends the depth it was given, so that depth is not
    lost on the way; of two depths the deeper goes. Raises InvalidArgument."""
    pairs = [(key.lower(), value) for key, value in (given.items() if isinstance(given, Mapping) else given or ())]
    depths = [value for key, value in pairs if key == DEPTH_KEY]
    inherited = environment.get(DEPTH_VARIABLE, "")
    if inherited:
        depths.append(inherited)
    with naming(DEPTH_KEY):
        depth = max(map(int, depths), default=None)
    others = tuple((key, value) for key, value in pairs if key != DEPTH_KEY)
    return others if depth is None else (*others, (DEPTH_KEY, str(depth)))
