"""Composes the server: the first front with the workers that it starts, and the further fronts if there are any."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import structlog
import uvloop

from loquor_server.catalog import Catalog
from loquor_server.config import ServerConfig
from loquor_server.errors import RequestError, StartFailed
from loquor_server.front import Changes, Front
from loquor_server.further_fronts import FurtherFronts
from loquor_server.launcher import Launcher, ModelPlan
from loquor_server.metrics import Metrics
from loquor_server.observers import Observers
from loquor_server.open_inference.statistics import InferenceStatistics
from loquor_server.placement import Placement
from loquor_server.plan import Planner
from loquor_server.tokenization import TokenizerPool

log = structlog.get_logger()

_WORKER_PATIENCE_SECONDS = 5.0


def run(
    config: ServerConfig,
    planner: Planner,
    plans: Sequence[ModelPlan],
    launcher: Launcher,
    sockets: Path,
    arguments: Sequence[str],
) -> int:
    """Serve until a signal ends it, and return the exit status. Raises `StartFailed`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        server = runner.run(_compose(config, planner, launcher, sockets, arguments))
        return runner.run(_serve(server, plans, sockets))


class Server:
    """What runs in the first process."""

    def __init__(self, front: Front, catalog: Catalog, pool: TokenizerPool, further: FurtherFronts | None) -> None:
        self.front = front
        self._catalog = catalog
        self._pool = pool
        self._further = further

    async def start(self) -> None:
        """Listen. Raises `StartFailed`."""
        await self.front.start()
        if self._further is not None:
            await self._further.start(self.front.address)

    async def load(self, plans: Sequence[ModelPlan]) -> None:
        """Load all of these at once, then serve. Raises `StartFailed`."""
        try:
            async with asyncio.TaskGroup() as group:
                for plan in plans:
                    group.create_task(self._catalog.load(plan, keep_others=True))
        except* RequestError as failures:
            raise StartFailed(str(failures.exceptions[0])) from None
        if self._further is not None:
            await self._further.gather()
        await self.front.serve()

    async def drain(self) -> None:
        if self._further is not None:
            self._further.drain()
        await self.front.drain()

    async def close(self) -> None:
        if self._further is not None:
            await self._further.close()
        await self.front.close()
        await self._catalog.close(_WORKER_PATIENCE_SECONDS)
        self._pool.close()
        log.info("stopped")

    def ready_line(self) -> str:
        names = ", ".join(sorted(self._catalog.names())) or "no model"
        page = f", metrics on http://{self.front.metrics_address}/metrics" if self.front.metrics_address else ""
        return f"loquor is ready: serving {names} on {self.front.address}{page}"


async def _compose(
    config: ServerConfig, planner: Planner, launcher: Launcher, sockets: Path, arguments: Sequence[str]
) -> Server:
    placement = Placement()
    metrics = Metrics(metadata.version("loquor"), placement.pages if config.fronts > 1 else None)
    statistics, changes = InferenceStatistics(), Changes()
    pool = TokenizerPool(config.tokenizer_threads)
    catalog = Catalog(
        planner.repository,
        planner.plan,
        launcher.launch,
        pool,
        Observers(metrics, statistics, changes, placement),
        config.silence_seconds,
        placement.settle,
    )
    placement.watch(catalog)
    front = Front(config, catalog, metrics, statistics, changes)
    further = FurtherFronts(config, catalog, placement, sockets, arguments) if config.fronts > 1 else None
    return Server(front, catalog, pool, further)


async def _serve(server: Server, plans: Sequence[ModelPlan], sockets: Path) -> int:
    stop = stop_event(lambda: shutil.rmtree(sockets, ignore_errors=True))
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


def stop_event(leave: Callable[[], None] = lambda: None) -> asyncio.Event:
    """Set by the first signal, which drains; the second leaves at once, and the workers die with this process.

    `leave` is called before that, to take along what would be left.
    """
    stop = asyncio.Event()

    def received() -> None:
        if stop.is_set():
            log.warning("second signal: leaving at once")
            sys.stderr.flush()
            leave()
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, received)
    return stop
