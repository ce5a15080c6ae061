"""From settings to a model that can be served: its work, and what the fronts are told of it.

PyTorch is imported here and not before, so that a worker listens while that lasts.
"""

import time
from dataclasses import dataclass
from typing import Any

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_worker.batch_work import BatchWork
from loquor_worker.config import WorkerConfig
from loquor_worker.engines import Engine, LoadError
from loquor_worker.generation_work import GenerationWork
from loquor_worker.scheduler import Budget, Scheduler
from loquor_worker.work import Work

_UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class Loaded:
    """`room` is that of all fronts together."""

    work: Work[Any, Any]
    hello: wire.WorkerHello
    room: wire.Room


def load(config: WorkerConfig) -> Loaded:
    """The model, loaded and warm. Raises `LoadError`."""
    started = time.monotonic()
    try:
        import torch

        from loquor_worker.engines.load import is_generator, load_engine
        from loquor_worker.engines.load_generator import load_generator
    except ModuleNotFoundError as missing:
        raise LoadError(f"{missing.name} is missing; a worker needs: pip install 'loquor[worker]'") from None

    torch.set_num_threads(config.threads)
    imported = time.monotonic()
    task = None if config.task == "auto" else config.task
    device = config.device_of_replica
    engine: Engine | GenerationWork
    if is_generator(config.model_path, task):
        engine = load_generator(config.model_path, device=device, dtype=config.dtype, settings=config.generation)
    else:
        engine = load_engine(
            config.model_path,
            task=task,
            device=device,
            dtype=config.dtype,
            max_batch_tokens=config.max_batch_tokens or None,
            max_sequence_tokens=config.max_sequence_tokens or None,
        )
    loaded = time.monotonic()
    engine.warm()
    seconds = {"import": imported - started, "weights": loaded - imported, "warm": time.monotonic() - loaded}
    if isinstance(engine, GenerationWork):
        return Loaded(engine, _greeting(engine.hello, config, seconds), engine.room)
    return batches(config, engine, seconds)


def batches(config: WorkerConfig, engine: Engine, seconds: dict[str, float]) -> Loaded:
    """An engine that answers a submission in one step."""
    work = BatchWork(engine, Scheduler(budget_of(config, engine)))
    return Loaded(work, _greeting(engine.hello, config, seconds), room_of(config, engine))


def budget_of(config: WorkerConfig, engine: Engine) -> Budget:
    rows = config.max_batch_requests or _UNLIMITED
    return Budget(engine.hello.batch_tokens, rows, config.max_queue_delay_seconds)


def room_of(config: WorkerConfig, engine: Engine) -> wire.Room:
    """Two batches: one that runs and one that waits for it, so that the engine never waits for the front."""
    rows = min(config.max_batch_requests or engine.hello.batch_tokens, engine.hello.batch_tokens)
    return wire.Room(submissions=2 * rows, tokens=2 * engine.hello.batch_tokens)


def _greeting(hello: wire.WorkerHello, config: WorkerConfig, seconds: dict[str, float]) -> wire.WorkerHello:
    greeting = wire.WorkerHello()
    greeting.CopyFrom(hello)
    greeting.threads = config.threads
    greeting.start_seconds.update(seconds)
    return greeting
