"""Health (grpc.health.v1) and reflection, served on the transport's own loop: they answer while the engine is busy.

All methods of `Health` belong to that loop's thread and must not touch trio.
"""

from collections.abc import Sequence

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # ships no types
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]  # ships no types


class Health:
    """The state of each service, for balancers and probes: SERVING until it is shut, then NOT_SERVING for good."""

    def __init__(self, services: Sequence[str], *, with_reflection: bool = True) -> None:
        """`services` are full names; the empty name, the server as a whole, comes with them."""
        self._services = tuple(services)
        self._with_reflection = with_reflection
        self._servicer: health.aio.HealthServicer | None = None

    def register(self, server: grpc.aio.Server) -> None:
        """Add the servicers. Called in the loop's thread before the server starts."""
        # The servicer makes its locks where it is made, so it is made here.
        self._servicer = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        if self._with_reflection:
            reflection.enable_server_reflection((*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME), server)

    async def open(self) -> None:
        """Answer SERVING for each service. Until then only the server as a whole is known."""
        if self._servicer is not None:
            for name in self._services:
                await self._servicer.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def shut(self) -> None:
        """Answer NOT_SERVING from now on, and tell every watcher."""
        if self._servicer is not None:
            await self._servicer.enter_graceful_shutdown()
