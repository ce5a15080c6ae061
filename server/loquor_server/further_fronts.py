"""The further front processes on the server's port: started, told the placement, started again, drained.

The kernel spreads connections over all fronts. Each has its own queue and a stream to every worker.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog
from grpc import aio

from loquor.internal.channels import SERVER_OPTIONS
from loquor_server.catalog import Catalog
from loquor_server.child_process import ChildProcess
from loquor_server.config import ServerConfig
from loquor_server.metrics import NoMetrics
from loquor_server.model_service import ModelService
from loquor_server.placement import Placement
from loquor_server.rpc import Rpc

log = structlog.get_logger()

_PAUSE_SECONDS = 1.0
_CONTROL_SECONDS = 600.0


class FurtherFronts:
    """Those after the first."""

    def __init__(
        self, config: ServerConfig, catalog: Catalog, placement: Placement, sockets: Path, arguments: Sequence[str]
    ) -> None:
        self._config = config
        self._placement = placement
        self._address = f"unix:{sockets / 'fronts.sock'}"
        self._arguments = arguments
        self._keeping: list[asyncio.Task[None]] = []
        self._processes: dict[int, ChildProcess] = {}
        self._server = aio.server(options=SERVER_OPTIONS)
        control = ModelService(catalog, allows_control=True)
        rpc = Rpc(NoMetrics(), _CONTROL_SECONDS)
        self._server.add_generic_rpc_handlers((placement.handler(), control.handler(rpc)))

    async def start(self, address: str) -> None:
        """Start them on the first front's address."""
        self._server.add_insecure_port(self._address)
        await self._server.start()
        indices = range(1, self._config.fronts)
        self._keeping = [asyncio.create_task(self._keep(index, address)) for index in indices]

    async def gather(self) -> None:
        """Return once all of them serve what the first one serves."""
        await self._placement.gather(self._config.fronts - 1)

    def drain(self) -> None:
        """Start none again, and let each drain by itself."""
        for task in self._keeping:
            task.cancel()
        if self._keeping:
            self._keeping.clear()
            for process in self._processes.values():
                process.signal(signal.SIGTERM)

    async def close(self) -> None:
        """Wait for their end: a front that drains may need the workers. Then stop telling them anything."""
        self.drain()
        for process in self._processes.values():
            await process.exited()
        await self._server.stop(None)

    async def _keep(self, index: int, address: str) -> None:
        command = [sys.executable, "-m", "loquor_server.further_front", self._address, str(index)]
        overrides = ["--address", address, "--metrics-address", ""]
        while True:
            process = ChildProcess([*command, *self._arguments, *overrides])
            self._processes[index] = process
            log.info("front started", front=index, pid=process.pid)
            status = await process.exited()
            log.error("front lost", front=index, status=status)
            await asyncio.sleep(_PAUSE_SECONDS)
