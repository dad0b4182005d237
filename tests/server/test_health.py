"""Health and reflection, which answer beside the engine."""

import threading
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # ships no types
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # type: ignore[import-untyped]  # ships no types
    ProtoReflectionDescriptorDatabase,
)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def check(rig: Any, service: str = "") -> Any:
    request = health_pb2.HealthCheckRequest(service=service)
    return health_pb2_grpc.HealthStub(rig.channel).Check(request, timeout=20).status


@pytest.mark.parametrize("service", ["", "motet.v1.RunService", "motet.v1.CatalogService"])
async def test_a_service_is_healthy_until_the_server_drains(rig: Any, service: str) -> None:
    assert await rig.thread(check, rig, service) == SERVING
    await rig.server.drain(0)
    assert await rig.thread(check, rig, service) == NOT_SERVING


async def test_a_service_that_is_not_served_is_not_found(rig: Any) -> None:
    refusal = await rig.refused(check, rig, "motet.v1.NoService")
    assert refusal.code is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_of_health_hears_of_the_drain(rig: Any) -> None:
    call = health_pb2_grpc.HealthStub(rig.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await rig.thread(next, call)).status == SERVING
    await rig.server.drain(0)
    assert (await rig.thread(next, call)).status == NOT_SERVING
    call.cancel()


async def test_health_answers_while_the_engine_is_busy(rig: Any) -> None:
    statuses = [await rig.thread(check, rig)]
    thread = threading.Thread(target=lambda: statuses.append(check(rig)))
    thread.start()
    thread.join(20)  # blocks trio's own thread, as a greedy agent would
    assert statuses == [SERVING, SERVING]


async def test_reflection_lists_every_service_and_describes_it(rig: Any) -> None:
    database = ProtoReflectionDescriptorDatabase(rig.channel)
    services = await rig.thread(database.get_services)
    assert set(services) == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "motet.v1.CatalogService",
        "motet.v1.RunService",
        "motet.v1.WorkerService",
    }
    described = await rig.thread(database.FindFileContainingSymbol, "motet.v1.RunService")
    assert described.package == "motet.v1"
