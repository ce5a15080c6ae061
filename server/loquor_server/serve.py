"""Composes the server: catalog, services, health and metrics around one gRPC server; starts, serves, drains, stops."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from enum import Enum
from importlib import metadata

import structlog
import uvloop
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from loquor_server import language_service, model_service, tensor_service
from loquor_server.catalog import Catalog
from loquor_server.config import ServerConfig, split_address
from loquor_server.errors import RequestError, StartFailed
from loquor_server.health import Health
from loquor_server.language_service import LanguageService
from loquor_server.launcher import Launcher, ModelPlan
from loquor_server.metrics import Metrics
from loquor_server.model_service import ModelService
from loquor_server.observers import Observers
from loquor_server.plan import Planner
from loquor_server.rpc import Rpc
from loquor_server.tensor_service import TensorService
from loquor_server.tokenization import TokenizerPool

log = structlog.get_logger()

_WORKER_PATIENCE_SECONDS = 5.0
_LAG_PERIOD_SECONDS = 0.1
_LAG_WINDOW = 10
_GRACE_SECONDS = 1.0


class ServerState(Enum):
    """STARTING -> SERVING (every model ready) -> DRAINING (a signal) -> STOPPED."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    STOPPED = "stopped"


def run(config: ServerConfig, planner: Planner, plans: Sequence[ModelPlan], launcher: Launcher) -> int:
    """Serve until a signal ends it, and return the exit status. Raises `StartFailed`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, planner, plans, launcher))


async def _serve(config: ServerConfig, planner: Planner, plans: Sequence[ModelPlan], launcher: Launcher) -> int:
    server = Server(config, planner, launcher)
    stop = asyncio.Event()
    _stop_on_signals(stop)
    try:
        await server.start()
        starting = asyncio.create_task(server.load(plans))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            print(server.ready_line(), flush=True)  # noqa: T201 - the line that others wait for
            await stop.wait()
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await server.drain()
    finally:
        await server.close()
    return 0


class Server:
    """One front and the workers that it started."""

    def __init__(self, config: ServerConfig, planner: Planner, launcher: Launcher) -> None:
        self.state = ServerState.STARTING
        self._config = config
        self._metrics = Metrics(metadata.version("loquor"))
        self._changed = asyncio.Event()
        observers = Observers(self._metrics, _Waker(self._changed))
        self._pool = TokenizerPool(config.tokenizer_threads)
        self._catalog = Catalog(
            planner.repository, planner.plan, launcher.launch, self._pool, observers, config.silence_seconds
        )
        self._metrics.watch(self._catalog)
        self._rpc = Rpc(self._metrics, config.default_deadline_seconds)
        self._names = [language_service.NAME, tensor_service.NAME, model_service.NAME]
        self._health = Health(self._catalog, self._names)
        self._server = aio.server(options=_server_options(config))
        self._background: list[asyncio.Task[None]] = []
        self._address = config.address
        self._metrics_address = config.metrics_address

    async def start(self) -> None:
        """Listen: health and reflection answer at once, models when they are loaded. Raises `StartFailed`."""
        control = self._config.allows_model_control
        self._server.add_generic_rpc_handlers(
            (
                LanguageService(self._catalog).handler(self._rpc),
                TensorService(self._catalog).handler(self._rpc),
                ModelService(self._catalog, control).handler(self._rpc),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health.servicer, self._server)
        if self._config.reflection:
            health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
            reflection.enable_server_reflection((*self._names, health_name, reflection.SERVICE_NAME), self._server)
        self._address = self._bind()
        self._metrics_address = self._serve_metrics()
        await self._server.start()
        self._background = [asyncio.create_task(step) for step in (self._follow_health(), self._measure_lag())]

    async def load(self, plans: Sequence[ModelPlan]) -> None:
        """Load all of these at once, then serve. Raises `StartFailed`."""
        try:
            async with asyncio.TaskGroup() as group:
                for plan in plans:
                    group.create_task(self._catalog.load(plan, keep_others=True))
        except* RequestError as failures:
            raise StartFailed(str(failures.exceptions[0])) from None
        self.state = ServerState.SERVING
        self._health.started = True
        await self._health.refresh()

    async def drain(self) -> None:
        """Say that it is not serving, serve on while balancers notice, refuse new calls, finish those under way."""
        self.state = ServerState.DRAINING
        log.info("draining")
        self._health.draining = True
        await self._health.refresh()
        await asyncio.sleep(self._config.drain_delay_seconds)
        self._rpc.drain()
        until = time.monotonic() + self._config.drain_seconds
        while self._rpc.under_way and time.monotonic() < until:
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self._server.stop(_GRACE_SECONDS if self.state is ServerState.DRAINING else 0)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._catalog.close(_WORKER_PATIENCE_SECONDS)
        self._pool.close()
        self.state = ServerState.STOPPED
        log.info("stopped")

    def ready_line(self) -> str:
        names = ", ".join(sorted(self._catalog.names())) or "no model"
        page = f", metrics on http://{self._metrics_address}/metrics" if self._metrics_address else ""
        return f"loquor is ready: serving {names} on {self._address}{page}"

    def _bind(self) -> str:
        try:
            port = self._server.add_insecure_port(self._config.address)
        except RuntimeError:
            raise StartFailed(f"address: cannot listen on {self._config.address}: it is taken or not ours") from None
        if self._config.address.startswith("unix:"):
            return self._config.address
        return f"{self._config.address.rpartition(':')[0]}:{port}"

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

    async def _follow_health(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 1.0)
            self._changed.clear()
            await self._health.refresh()

    async def _measure_lag(self) -> None:
        while True:
            longest = 0.0
            for _ in range(_LAG_WINDOW):
                before = time.monotonic()
                await asyncio.sleep(_LAG_PERIOD_SECONDS)
                longest = max(longest, time.monotonic() - before - _LAG_PERIOD_SECONDS)
            self._metrics.loop_lag.set(longest)


class _Waker:
    """Wakes whoever follows states, when a model or a replica moves."""

    def __init__(self, changed: asyncio.Event) -> None:
        self._changed = changed

    def stepped(self, *_: object) -> None: ...

    def answered(self, *_: object) -> None: ...

    def moved(self, _: object) -> None:
        self._changed.set()


def _stop_on_signals(stop: asyncio.Event) -> None:
    """The first signal drains; the second leaves at once, and the workers die with this process."""

    def received() -> None:
        if stop.is_set():
            log.warning("second signal: leaving at once")
            sys.stderr.flush()
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, received)


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
