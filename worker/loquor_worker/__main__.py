"""One worker process: `python -m loquor_worker`, started by the server. Composes link, engine and loop."""

import signal
import sys
import time
from collections.abc import Callable

from loquor.internal import logs, process, settings
from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_worker.batch_work import BatchWork
from loquor_worker.config import WorkerConfig
from loquor_worker.engines import DeviceFailed, Engine, LoadError
from loquor_worker.inbox import Inbox, Stop
from loquor_worker.link import Link
from loquor_worker.scheduler import Budget, Scheduler
from loquor_worker.worker import Progress, Worker

EXIT_LOAD_FAILED, EXIT_DEVICE_FAILED = 3, 4

_UNLIMITED = 1 << 30
# The server may still be reading its own modules when a worker has already failed.
_FRONT_PATIENCE_SECONDS = 10.0

Loader = Callable[[WorkerConfig], tuple[Engine, dict[str, float]]]


def main() -> int:
    """Serve a model until SIGTERM."""
    return serve(load)


def serve(load: Loader) -> int:
    """Serve the engine that `load` gives, as the command line says, until SIGTERM.

    The exit status is 0, 3 if the model cannot be loaded, 4 if the device is beyond use.
    """
    config = settings.load_flags(WorkerConfig, sys.argv[1:], program="python -m loquor_worker", description=__doc__)
    process.guard(dies_with_parent=config.dies_with_parent)
    process.keep_memory_private()
    logs.configure(config.log_format, config.log_level)
    inbox, progress = Inbox(), Progress()
    signal.signal(signal.SIGTERM, lambda *_: inbox.put(Stop()))
    link = Link(config.address, config.epoch, inbox, progress, config.heartbeat_seconds)
    link.open()
    try:
        engine, seconds = load(config)
    except LoadError as error:
        link.fail(str(error), _FRONT_PATIENCE_SECONDS)
        link.close(2.0)
        return EXIT_LOAD_FAILED
    scheduler = Scheduler(budget_of(config, engine))
    link.ready(greeting_of(engine, config, seconds), room_of(config, engine))
    try:
        Worker(BatchWork(engine, scheduler), inbox, link, progress).run()
    except DeviceFailed:
        return EXIT_DEVICE_FAILED
    link.close(2.0)
    return 0


def load(config: WorkerConfig) -> tuple[Engine, dict[str, float]]:
    """The engine, loaded and warm, and the seconds that each phase took. Raises `LoadError`."""
    started = time.monotonic()
    try:
        import torch

        from loquor_worker.engines.load import load_engine
    except ModuleNotFoundError as missing:
        raise LoadError(f"{missing.name} is missing; a worker needs: pip install 'loquor[worker]'") from None

    torch.set_num_threads(config.threads)
    imported = time.monotonic()
    engine = load_engine(
        config.model_path,
        task=None if config.task == "auto" else config.task,
        device=config.device_of_replica,
        dtype=config.dtype,
        max_batch_tokens=config.max_batch_tokens or None,
        max_sequence_tokens=config.max_sequence_tokens or None,
    )
    loaded = time.monotonic()
    engine.warm()
    warm = time.monotonic()
    return engine, {"import": imported - started, "weights": loaded - imported, "warm": warm - loaded}


def greeting_of(engine: Engine, config: WorkerConfig, seconds: dict[str, float]) -> wire.WorkerHello:
    hello = wire.WorkerHello()
    hello.CopyFrom(engine.hello)
    hello.threads = config.threads
    hello.start_seconds.update(seconds)
    return hello


def budget_of(config: WorkerConfig, engine: Engine) -> Budget:
    rows = config.max_batch_requests or _UNLIMITED
    return Budget(engine.hello.batch_tokens, rows, config.max_queue_delay_seconds)


def room_of(config: WorkerConfig, engine: Engine) -> wire.Room:
    """Two batches: one that runs and one that waits for it, so that the engine never waits for the front."""
    rows = min(config.max_batch_requests or engine.hello.batch_tokens, engine.hello.batch_tokens)
    return wire.Room(submissions=2 * rows, tokens=2 * engine.hello.batch_tokens)


if __name__ == "__main__":
    sys.exit(main())
