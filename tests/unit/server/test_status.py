"""Each error has one status, with its reason; what is not meant for callers tells nothing."""

import logging
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # its package ships no types

from motet import errors
from motet.errors import (
    AgentError,
    CatalogError,
    CatalogProblem,
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
    Violation,
)
from motet_server.rpc import RpcStatus
from motet_server.status import CODES, to_status

Code = grpc.StatusCode


def details(status: RpcStatus) -> list[Any]:
    """The details of the status, unpacked."""
    kinds = ("ErrorInfo", "BadRequest", "RetryInfo", "QuotaFailure")
    found = []
    for packed in status_pb2.Status.FromString(status.details).details:
        message = getattr(error_details_pb2, next(kind for kind in kinds if packed.type_url.endswith(kind)))()
        packed.Unpack(message)
        found.append(message)
    return found


def subclasses(kind: type[MotetError]) -> Iterator[type[MotetError]]:
    yield kind
    for sub in kind.__subclasses__():
        yield from subclasses(sub)


def test_every_error_of_the_tree_has_a_row() -> None:
    own = {kind for kind in subclasses(MotetError) if kind.__module__ == errors.__name__}
    assert own == set(CODES)


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (InvalidRequest([Violation("plan", "is wrong")]), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
        (RequestError("no"), Code.INVALID_ARGUMENT, "INVALID_REQUEST"),
        (NotFound("no run", reason="RUN_NOT_FOUND"), Code.NOT_FOUND, "RUN_NOT_FOUND"),
        (RequestIdReused("taken"), Code.FAILED_PRECONDITION, "REQUEST_ID_REUSED"),
        (CatalogError([CatalogProblem("f", "t", "k", "m")]), Code.FAILED_PRECONDITION, "INVALID_CATALOG"),
        (Exhausted("full"), Code.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED"),
        (Exhausted("used up", reason="QUOTA_EXCEEDED"), Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"),
        (Unavailable("later"), Code.UNAVAILABLE, "DRAINING"),
        (StoreFailed("the disk is full", reason="STORE_FULL"), Code.RESOURCE_EXHAUSTED, "STORE_FULL"),
        (StoreFailed("no answer"), Code.UNAVAILABLE, "STORE_UNAVAILABLE"),
        (LeaseLost("taken over"), Code.ABORTED, "LEASE_LOST"),
    ],
)
def test_an_error_for_callers_has_its_code_and_its_reason(error: MotetError, code: Code, reason: str) -> None:
    status = to_status(error)
    info = details(status)[0]
    assert (status.code, info.reason, info.domain) == (code, reason, "motet.dev")
    assert status.message == error.message
    assert status_pb2.Status.FromString(status.details).code == code.value[0]


def test_a_wrong_request_names_each_field() -> None:
    status = to_status(InvalidRequest([Violation("a.b[0]", "is wrong"), Violation("c", "is missing")]))
    _, bad = details(status)
    assert [(v.field, v.description) for v in bad.field_violations] == [("a.b[0]", "is wrong"), ("c", "is missing")]


def test_a_thousand_violations_fit_into_the_metadata_and_are_counted() -> None:
    status = to_status(InvalidRequest([Violation(f"plan.group.members[{n}]", "\u4e16" * 600) for n in range(1000)]))
    info, bad = details(status)
    assert len(status.details) <= 5120
    assert len(status.message.encode()) <= 1000
    assert bad.field_violations[0].field == "plan.group.members[0]"
    assert info.metadata["violations"] == "1000"


def test_an_exhausted_bound_says_when_to_come_back_and_what_is_used_up() -> None:
    status = to_status(Exhausted("no room", reason="RUNS_FULL", retry_after=1.5, details={"limit": 10}))
    info, retry, quota = details(status)
    assert info.metadata["limit"] == "10"
    assert retry.retry_delay.ToMilliseconds() == 1500
    assert (quota.violations[0].subject, quota.violations[0].description) == ("RUNS_FULL", "no room")


def test_an_exhausted_bound_that_waiting_does_not_help_has_no_retry() -> None:
    assert [type(detail).__name__ for detail in details(to_status(Exhausted("no")))] == ["ErrorInfo", "QuotaFailure"]


def test_a_quota_that_is_used_up_names_its_tenant_and_when_it_comes_back() -> None:
    facts = {"tenant": "acme", "window": "hour", "what": "calls", "limit": 2, "used": 2, "retry_after_seconds": 90}
    info, retry, quota = details(to_status(Exhausted("used up", reason="QUOTA_EXCEEDED", details=facts)))
    assert {key: info.metadata[key] for key in ("tenant", "window", "used")} == {
        "tenant": "acme",
        "window": "hour",
        "used": "2",
    }
    assert retry.retry_delay.ToSeconds() == 90
    assert (quota.violations[0].subject, quota.violations[0].description) == ("acme", "used up")


def test_a_full_store_is_a_bound_and_one_that_does_not_answer_says_when_to_come_back() -> None:
    full = details(to_status(StoreFailed("the disk is full", reason="STORE_FULL")))
    assert [type(detail).__name__ for detail in full] == ["ErrorInfo", "QuotaFailure"]
    assert full[1].violations[0].subject == "STORE_FULL"
    _, retry = details(to_status(StoreFailed("no answer", details={"retry_after_seconds": 0.5})))
    assert retry.retry_delay.ToMilliseconds() == 500


def test_a_member_s_failure_of_that_name_is_internal_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "motet.server"):
        assert to_status(AgentError("secret", reason="STORE_FULL")).code is Code.INTERNAL


@pytest.mark.parametrize(
    "error",
    [ValueError("secret"), AgentError("secret"), RunFailed("secret", reason="X", result=None), MotetError("secret")],
)
def test_any_other_error_tells_nothing_but_an_id_that_the_log_has_too(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "motet.server"):
        status = to_status(error)
    info = details(status)[0]
    assert (status.code, status.message, info.reason) == (Code.INTERNAL, "internal error", "INTERNAL")
    assert b"secret" not in status.details
    assert info.metadata["error_id"] in caplog.text
    assert "secret" in caplog.text


def test_the_only_error_of_a_group_counts_as_itself() -> None:
    grouped = ExceptionGroup("tasks", [ExceptionGroup("tasks", [NotFound("gone")])])
    assert to_status(grouped).code is Code.NOT_FOUND


def test_several_errors_at_once_are_internal(caplog: pytest.LogCaptureFixture) -> None:
    status = to_status(ExceptionGroup("tasks", [NotFound("gone"), NotFound("gone too")]))
    assert status.code is Code.INTERNAL
    assert "gone too" in caplog.text
