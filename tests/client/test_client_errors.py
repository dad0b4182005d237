"""From a status to an error: the table, the details as google's own code writes them, and rubbish."""

from importlib import import_module
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

import motet_client
from motet_client import MotetClientError, Violation
from motet_client._health import _request, _response
from motet_client._status import ERRORS, fields, make_error

google = import_module("google.rpc.error_details_pb2")


def status(*details: Any) -> bytes:
    message = import_module("google.rpc.status_pb2").Status(
        code=3, message="a message of some length, so that fields of every kind are passed over"
    )
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        message.details.append(packed)
    return bytes(message.SerializeToString())


def test_every_error_is_a_code_of_grpc_and_has_one_class() -> None:
    assert set(ERRORS) <= {code.name for code in grpc.StatusCode}
    kinds = {kind for kind in MotetClientError.__subclasses__() if kind is not motet_client.RunFailed}
    assert kinds == set(ERRORS.values())


@pytest.mark.parametrize("code", [code.name for code in grpc.StatusCode])
def test_every_code_becomes_an_error_that_names_it(code: str) -> None:
    error = make_error(code, "no")
    assert type(error) is ERRORS.get(code, MotetClientError)
    assert (error.code, error.reason, error.message, str(error)) == (code, code, "no", "no")


def test_details_are_read_as_google_writes_them() -> None:
    error = make_error(
        "RESOURCE_EXHAUSTED",
        "no",
        status(
            google.ErrorInfo(reason="QUOTA", domain="motet.dev", metadata={"tenant": "t", "leer": ""}),
            google.DebugInfo(detail="passed over"),
            google.QuotaFailure(violations=[google.QuotaFailure.Violation(subject="calls", description="used up")]),
            google.BadRequest(
                field_violations=[
                    google.BadRequest.FieldViolation(field="a", description="ä is wrong", reason="R"),
                    google.BadRequest.FieldViolation(field="b"),
                ]
            ),
            google.RetryInfo(retry_delay=Duration(seconds=2, nanos=1_000_000)),
        ),
    )
    assert (error.reason, error.metadata, error.retry_after) == ("QUOTA", {"tenant": "t", "leer": ""}, 2.001)
    assert error.violations == (Violation("calls", "used up"), Violation("a", "ä is wrong"), Violation("b", ""))


@given(st.binary(max_size=200))
def test_rubbish_in_place_of_details_is_left_out(rubbish: bytes) -> None:
    assert make_error("INTERNAL", "no", rubbish).code == "INTERNAL"


@given(st.data())
def test_details_that_are_cut_short_never_raise(data: Any) -> None:
    whole = status(google.ErrorInfo(reason="R", metadata={"a": "b"}), google.RetryInfo(retry_delay=Duration(seconds=1)))
    assert make_error("INTERNAL", "no", whole[: data.draw(st.integers(0, len(whole)))]).message == "no"


@pytest.mark.parametrize("message", [b"\x08", b"\x0a\x05ab", b"\x0b", b"\x09abc", b"\xff" * 11])
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"short|in use|ten bytes"):
        list(fields(message))


def test_numbers_of_every_width_are_passed_over() -> None:
    assert list(fields(b"\x09" + bytes(8) + b"\x15" + bytes(4) + b"\x18\x96\x01")) == [
        (1, bytes(8)),
        (2, bytes(4)),
        (3, 150),
    ]


def test_health_messages_are_those_of_grpc() -> None:
    health = import_module("grpc_health.v1.health_pb2")
    assert health.HealthCheckRequest.FromString(_request("motet.v1.RunService")).service == "motet.v1.RunService"
    assert _request("") == health.HealthCheckRequest().SerializeToString()
    for word in ("UNKNOWN", "SERVING", "NOT_SERVING"):
        assert (
            _response(
                health.HealthCheckResponse(
                    status=health.HealthCheckResponse.ServingStatus.Value(word)
                ).SerializeToString()
            )
            == word
        )
