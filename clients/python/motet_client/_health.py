"""grpc.health.v1, of which one call is enough: its generated code lives in a package that the client does not need."""

from typing import Any, Final

from motet_client._status import fields

METHOD: Final = "/grpc.health.v1.Health/Check"
STATES: Final = {1: "SERVING", 2: "NOT_SERVING"}


def method(channel: Any) -> Any:
    """The callable of Health.Check: takes a service's name, returns its state as a word."""
    return channel.unary_unary(METHOD, request_serializer=_request, response_deserializer=_response)


def _request(service: str) -> bytes:
    name = service.encode()[:127]  # One byte of length is enough for the name of a service.
    return bytes((10, len(name))) + name if name else b""


def _response(message: bytes) -> str:
    state = dict(fields(message)).get(1, 0)
    return STATES.get(state, "UNKNOWN") if isinstance(state, int) else "UNKNOWN"
