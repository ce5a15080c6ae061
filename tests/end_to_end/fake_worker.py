"""A worker whose engine is no model: a vector is made of the token ids, and some words make it die, hang, spin, fail or
take its time.

It is put together of the worker's own parts, as `loquor_worker.__main__` does it.
"""

import os
import re
import signal
import sys
import time
from array import array
from collections.abc import Sequence

from loquor.internal import logs, process, settings
from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1.model_service_pb2 import TASK_EMBED
from loquor.v1.tensor_service_pb2 import DATA_TYPE_FLOAT32, Tensor
from loquor_worker.config import WorkerConfig
from loquor_worker.engines import OutOfMemory, Size
from loquor_worker.inbox import Inbox, Stop
from loquor_worker.link import Link
from loquor_worker.loading import batches
from loquor_worker.worker import Progress, Worker

# Token ids of English words in the vocabulary of `minilm`.
POISON, HANG, SPIN, FAIL, LARGE, SLOW = 9947, 6865, 6714, 8246, 2312, 4030
DIMENSIONS = 4
SECONDS_PER_TOKEN, SLOW_SECONDS = 0.0001, 0.5


class FakeEngine:
    """The vector of a text is made of its token ids alone, so an answer shows whose it is."""

    def __init__(self) -> None:
        self.hello = wire.WorkerHello(
            task=TASK_EMBED,
            device="cpu",
            dtype="float32",
            sequence_tokens=256,
            batch_tokens=256,
            embedding_dimensions=DIMENSIONS,
        )

    def size(self, submission: wire.Submission) -> Size:
        return Size(1, len(submission.tokens.ids))

    def warm(self) -> None: ...

    def step(self, batch: Sequence[wire.Submission]) -> list[wire.Outputs]:
        ids = [id for submission in batch for id in submission.tokens.ids]
        if POISON in ids:
            os._exit(9)
        if HANG in ids:
            time.sleep(3600)
        if SPIN in ids:
            re.match(r"(a+)+$", "a" * 64 + "b")  # holds the interpreter for longer than anybody waits
        if FAIL in ids:
            raise ValueError("the engine fails on this batch")
        if LARGE in ids and len(batch) > 1:
            raise OutOfMemory
        time.sleep(SECONDS_PER_TOKEN * len(ids) + SLOW_SECONDS * (SLOW in ids))
        return [self._outputs(submission) for submission in batch]

    def _outputs(self, submission: wire.Submission) -> wire.Outputs:
        values = vector(submission.tokens.ids)
        return wire.Outputs(tensors=[Tensor(name="embedding", data_type=DATA_TYPE_FLOAT32, data=values.tobytes())])


def vector(ids: Sequence[int]) -> "array[float]":
    total = sum(position * id for position, id in enumerate(ids, 1))
    return array("f", (total // 1000**power % 1000 for power in range(DIMENSIONS)))


def main() -> int:
    config = settings.load_flags(WorkerConfig, sys.argv[1:], program="fake_worker", description=__doc__)
    process.guard(dies_with_parent=config.dies_with_parent)
    logs.configure(config.log_format, config.log_level)
    inbox, progress = Inbox(), Progress()
    signal.signal(signal.SIGTERM, lambda *_: inbox.put(Stop()))
    link = Link(config.address, config.epoch, inbox, progress, config.heartbeat_seconds)
    link.open()
    loaded = batches(config, FakeEngine(), {})
    link.ready(loaded.hello, loaded.room)
    Worker(loaded.work, inbox, link, progress).run()
    link.close(2.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
