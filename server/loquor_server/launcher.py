"""Which workers to start for a model, and with what command line.

It is light to import, so that the first workers can be started before the rest of the server is read. It does not wait
for workers and does not watch them.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loquor_server.repository import ModelFolder, ModelSettings
from loquor_server.worker_process import SocketDirectory, WorkerProcess

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A version that is to be served, and how."""

    folder: ModelFolder
    settings: ModelSettings


class Launcher:
    """Starts worker processes on this machine."""

    def __init__(self, sockets: SocketDirectory, *, log_format: str, log_level: str) -> None:
        self._sockets = sockets
        self._log_arguments = ["--log-format", log_format, "--log-level", log_level]
        self._workers = 0
        self._prepared: dict[tuple[str, int, int], list[WorkerProcess]] = defaultdict(list)

    def prepare(self, plans: Sequence[ModelPlan]) -> None:
        """Start the first workers of these models; `launch` hands them out."""
        self._workers = sum(plan.settings.replicas for plan in plans)
        for plan in plans:
            for replica in range(plan.settings.replicas):
                key = (plan.folder.name, plan.folder.version, replica)
                self._prepared[key].append(self._start(plan, replica))

    async def launch(self, plan: ModelPlan, replica: int) -> WorkerProcess:
        prepared = self._prepared[plan.folder.name, plan.folder.version, replica]
        return prepared.pop() if prepared else self._start(plan, replica)

    def kill_prepared(self) -> None:
        """End what was prepared and never launched."""
        for processes in self._prepared.values():
            for process in processes:
                process.kill()
        self._prepared.clear()

    def _start(self, plan: ModelPlan, replica: int) -> WorkerProcess:
        settings = plan.settings
        workers = max(self._workers, settings.replicas)
        arguments = {
            "--model": plan.folder.name,
            "--model-path": str(plan.folder.path),
            "--replica": str(replica),
            "--task": settings.task or "auto",
            "--device": settings.device,
            "--dtype": settings.dtype,
            "--threads": str(settings.threads or share_of_cores(workers)),
            "--max-batch-tokens": str(settings.max_batch_tokens),
            "--max-batch-requests": str(settings.max_batch_requests),
            "--max-sequence-tokens": str(settings.max_sequence_tokens),
            "--max-queue-delay-seconds": str(settings.max_queue_delay_seconds),
            "--kv-cache-bytes": str(settings.kv_cache_bytes),
            "--kv-block-tokens": str(settings.kv_block_tokens),
            "--prefix-cache": str(settings.prefix_cache).lower(),
            "--draft-tokens": str(settings.draft_tokens),
        }
        return WorkerProcess(
            self._sockets, [*self._log_arguments, *(part for pair in arguments.items() for part in pair)]
        )


def share_of_cores(workers: int) -> int:
    """Threads for each of so many workers on the cores that this process may use."""
    return max(1, _cores() // max(1, workers))


def _cores() -> int:
    """Those of the scheduler's affinity, or of the container's quota if that is less."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _QUOTA.read_text().split()
    except OSError:
        return cores
    return cores if quota == "max" else min(cores, max(1, int(quota) // int(period)))
