"""One front: the services around a catalog on one gRPC server, with health, reflection and metrics.

It starts listening, serves, drains and closes when it is told to. It starts no process and reads no signal.
"""

import asyncio
import contextlib
import gc
import os
import time
from collections.abc import Coroutine
from enum import Enum

import structlog
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from loquor.internal import logs
from loquor_server import language_service, model_service, tensor_service
from loquor_server.catalog import Catalog
from loquor_server.config import ServerConfig, split_address
from loquor_server.credentials import add_port
from loquor_server.errors import StartFailed
from loquor_server.generation_service import GenerationService
from loquor_server.health import Health
from loquor_server.language_service import LanguageService
from loquor_server.metrics import Metrics
from loquor_server.model_service import ModelService
from loquor_server.open_inference.log_settings import Logging
from loquor_server.open_inference.service import SERVICE_NAME as OPEN_INFERENCE
from loquor_server.open_inference.service import ServerControl
from loquor_server.open_inference.service import handlers as open_inference_handlers
from loquor_server.open_inference.statistics import InferenceStatistics
from loquor_server.rpc import Rpc
from loquor_server.served_model import ServedModel
from loquor_server.tensor_service import TensorService

log = structlog.get_logger()

_LAG_PERIOD_SECONDS = 0.1
_LAG_WINDOW = 10
_GRACE_SECONDS = 1.0


class FrontState(Enum):
    """STARTING -> SERVING (every model ready) -> DRAINING (a signal) -> STOPPED."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPED = "stopped"


class Changes:
    """A `ModelObserver` that wakes whoever follows the states of models and replicas."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def stepped(self, *_: object) -> None: ...

    def answered(self, *_: object) -> None: ...

    def tokens_came(self, *_: object, first: bool) -> None: ...

    def generated(self, *_: object) -> None: ...

    def moved(self, _: ServedModel) -> None:
        self.event.set()


class Front:
    """`metrics`, `statistics` and `changes` observe the catalog's models; the front shows what they know."""

    def __init__(
        self,
        config: ServerConfig,
        catalog: Catalog,
        metrics: Metrics,
        statistics: InferenceStatistics,
        changes: Changes,
    ) -> None:
        self.state = FrontState.STARTING
        self.address = config.address
        self.metrics_address = config.metrics_address
        self._config = config
        self._metrics = metrics
        self._changes = changes
        self._names = [language_service.NAME, tensor_service.NAME, model_service.NAME, OPEN_INFERENCE]
        self._health = Health(catalog, self._names)
        self._rpc = Rpc(metrics, config.default_deadline_seconds)
        self._server = aio.server(options=_server_options(config))
        self._background: list[asyncio.Task[None]] = []
        metrics.watch(catalog)
        self._add_services(catalog, statistics)

    async def start(self) -> None:
        """Listen: health and reflection answer at once, models when they are loaded. Raises `StartFailed`."""
        self.address = add_port(self._server, self._config)
        self.metrics_address = self._serve_metrics()
        await self._health.refresh()  # gRPC's own servicer begins with SERVING
        await self._server.start()
        self._in_background(self._follow_health())
        self._in_background(self._measure_lag())

    async def serve(self) -> None:
        """Say that everything is ready."""
        gc.freeze()  # what is there by now stays, so the collector need not look at it again
        self.state = FrontState.SERVING
        self._health.started = True
        await self._health.refresh()

    async def drain(self) -> None:
        """Say that it is not serving, serve on while balancers notice, refuse new calls, finish those under way."""
        self.state = FrontState.DRAINING
        log.info("draining")
        self._health.draining = True
        await self._health.refresh()
        await asyncio.sleep(self._config.drain_delay_seconds)
        self._rpc.drain()
        until = time.monotonic() + self._config.drain_seconds
        while self._rpc.under_way and time.monotonic() < until:
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self._server.stop(_GRACE_SECONDS if self.state is FrontState.DRAINING else 0)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.state = FrontState.STOPPED

    def _add_services(self, catalog: Catalog, statistics: InferenceStatistics) -> None:
        control = self._config.allows_model_control
        generation = GenerationService(catalog)
        about = ServerControl(
            version=self._metrics.version,
            is_ready=lambda: self._health.ready,
            allows_model_control=control,
            logging=Logging(self._config.log_level, self._config.log_format, logs.set_level),
        )
        self._server.add_generic_rpc_handlers(
            (
                LanguageService(catalog, generation).handler(self._rpc),
                TensorService(catalog).handler(self._rpc),
                ModelService(catalog, control).handler(self._rpc),
                *open_inference_handlers(self._rpc, catalog, statistics, about, generation),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, self._server)
        if self._config.reflection:
            health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
            reflection.enable_server_reflection((*self._names, health_name, reflection.SERVICE_NAME), self._server)

    def _serve_metrics(self) -> str:
        if not self._config.metrics_address:
            return ""
        host, port = split_address(self._config.metrics_address, "metrics_address")
        try:
            page, _ = start_http_server(port, host, self._metrics.registry)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise StartFailed(f"metrics_address: cannot listen on {self._config.metrics_address}: {reason}") from None
        return f"{self._config.metrics_address.rpartition(':')[0]}:{page.server_port}"

    def _in_background(self, work: Coroutine[object, object, None]) -> None:
        self._background.append(asyncio.create_task(work))

    async def _follow_health(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changes.event.wait(), 1.0)
            self._changes.event.clear()
            await self._health.refresh()

    async def _measure_lag(self) -> None:
        while True:
            longest = 0.0
            for _ in range(_LAG_WINDOW):
                before = time.monotonic()
                await asyncio.sleep(_LAG_PERIOD_SECONDS)
                longest = max(longest, time.monotonic() - before - _LAG_PERIOD_SECONDS)
            self._metrics.loop_lag.set(longest)


def _server_options(config: ServerConfig) -> list[tuple[str, int]]:
    longest = int(config.default_deadline_seconds * 1000)
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", config.max_concurrent_streams),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.server_handshake_timeout_ms", 5000),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.max_connection_age_ms", int(config.connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", max(longest, 60_000)),
        ("grpc.so_reuseport", int(config.fronts > 1)),
    ]
