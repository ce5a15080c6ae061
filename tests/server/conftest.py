"""What the tests of the front share: a worker in threads of this process with an engine that echoes, small requests."""

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1.model_service_pb2 import TASK_EMBED
from loquor.v1.tensor_service_pb2 import Tensor
from loquor_server.caller import Caller
from loquor_server.pending_request import Answer, Call, PendingRequest
from loquor_worker.batch_work import BatchWork
from loquor_worker.engines import DeviceFailed, InvalidSubmission, Size
from loquor_worker.inbox import Inbox, Stop
from loquor_worker.link import Link
from loquor_worker.scheduler import Budget, Scheduler
from loquor_worker.worker import Progress, Worker

REFUSED_TOKEN = 999


def echo(submission: wire.Submission) -> wire.Outputs:
    """What the echoing engine answers: the token ids themselves."""
    return wire.Outputs(tensors=[Tensor(name="embedding", data=repr(list(submission.tokens.ids)).encode())])


class EchoEngine:
    """Answers a submission with its own token ids. A step lasts until `open` is set."""

    def __init__(self, batch_tokens: int = 64) -> None:
        self.open = threading.Event()
        self.open.set()
        self.dead = False
        self.batches: list[list[list[int]]] = []
        self.hello = wire.WorkerHello(
            task=TASK_EMBED, device="cpu", dtype="float32", sequence_tokens=32, batch_tokens=batch_tokens
        )

    def size(self, submission: wire.Submission) -> Size:
        if REFUSED_TOKEN in submission.tokens.ids:
            raise InvalidSubmission("tokens.ids: holds the token that is refused")
        return Size(1, len(submission.tokens.ids))

    def warm(self) -> None: ...

    def step(self, batch: Sequence[wire.Submission]) -> list[wire.Outputs]:
        self.batches.append([list(submission.tokens.ids) for submission in batch])
        self.open.wait(10)
        if self.dead:
            raise DeviceFailed
        return [echo(submission) for submission in batch]


class LocalWorker:
    """A worker's loop and link. Its supervisor sees it as any other worker."""

    def __init__(self, folder: Path, epoch: int, engine: EchoEngine, heartbeat_seconds: float = 0.05) -> None:
        self.address = f"unix:{folder / f'{epoch}.sock'}"
        self.epoch = epoch
        self.engine = engine
        self.progress = Progress()
        self._inbox = Inbox()
        self.link = Link(self.address, epoch, self._inbox, self.progress, heartbeat_seconds)
        self.link.open()
        scheduler = Scheduler(Budget(engine.hello.batch_tokens, 1000))
        self._loop = Worker(BatchWork(engine, scheduler), self._inbox, self.link, self.progress)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._gone: asyncio.Event | None = None

    def ready(self, submissions: int = 100) -> None:
        self._thread.start()
        self.link.ready(
            self.engine.hello, wire.Room(submissions=submissions, tokens=2 * self.engine.hello.batch_tokens)
        )

    def kill(self) -> None:
        """Hang up and stop the loop, whatever is under way."""
        self.engine.dead = True
        self.engine.open.set()
        self._inbox.put(Stop())
        if self._thread.ident is not None:
            self._thread.join(5)
        self.link.close(5)
        if self._gone is not None:
            self._gone.set()

    def _run(self) -> None:
        with contextlib.suppress(DeviceFailed):
            self._loop.run()

    async def exited(self) -> int:
        self._gone = self._gone or asyncio.Event()
        await self._gone.wait()
        return -9

    async def end(self, patience_seconds: float) -> int:
        self.kill()
        return 0


MakeWorker = Callable[..., LocalWorker]


@pytest.fixture
def make_worker(tmp_path: Path) -> Iterator[MakeWorker]:
    """Makes workers that listen, and are silent until `ready`."""
    workers: list[LocalWorker] = []
    epochs = itertools.count(1)

    def make(engine: EchoEngine | None = None, **options: float) -> LocalWorker:
        workers.append(LocalWorker(tmp_path, next(epochs), engine or EchoEngine(), **options))
        return workers[-1]

    yield make
    for worker in workers:
        worker.kill()


MakePending = Callable[..., PendingRequest]


def future_of(request: PendingRequest) -> "asyncio.Future[list[Answer]]":
    """What a request of tensors waits for."""
    assert isinstance(request.call, Call)
    return request.call.future


@pytest.fixture
def make_pending() -> MakePending:
    """Makes requests of one part: `make_pending([1, 2, 3], priority=1)`."""

    def make(ids: Sequence[int] = (1,), *, priority: int = 5) -> PendingRequest:
        call = Call(Caller("test", time.monotonic() + 60, priority), 1)
        submission = wire.Submission(tokens=wire.TokenInput(ids=ids))
        return PendingRequest(call, 0, submission, 1, len(ids))

    return make
