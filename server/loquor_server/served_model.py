"""One loaded version of a model: its queue, its replicas, its permits and its tokenizer.

`run` is the one way in for every service: parts of a request go in, answers come out. It knows neither messages of the
public protocols nor processes.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1.generation_pb2 import GenerationFinished
from loquor_server import errors
from loquor_server.admission import Admission
from loquor_server.caller import Caller
from loquor_server.chat_template import ChatTemplates
from loquor_server.pending_request import Answer, Call, PendingRequest
from loquor_server.replica import Replica, ReplicaEvents, ReplicaState, Watch
from loquor_server.repository import ModelFolder, ModelSettings
from loquor_server.request_queue import RequestQueue
from loquor_server.router import Router
from loquor_server.tokenization import TextTokenizer
from loquor_server.writing import ReadLimits, Writing

_FOREVER_SECONDS = 1e9


class ModelState(Enum):
    """LOADING -> READY (all replicas ready) -> DRAINING -> UNLOADED; LOADING -> FAILED."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    UNLOADED = "unloaded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Part:
    """What one text or one set of tensors asks of a model, in tokens (or rows)."""

    submission: wire.Submission
    rows: int
    tokens: int


class ModelObserver(Protocol):
    """Whom a model tells what happened, for metrics and health."""

    def stepped(self, model: "ServedModel", results: wire.StepResults) -> None: ...
    def answered(self, model: "ServedModel", answers: Sequence[Answer]) -> None: ...
    def moved(self, model: "ServedModel") -> None: ...
    def tokens_came(self, model: "ServedModel", count: int, seconds: float, *, first: bool) -> None: ...
    def generated(self, model: "ServedModel", finished: GenerationFinished) -> None: ...


class ServedModel:
    """Loaded, or being loaded or unloaded."""

    def __init__(
        self,
        folder: ModelFolder,
        settings: ModelSettings,
        tokenizer: TextTokenizer | None,
        observer: ModelObserver,
        silence_seconds: float,
        chat_templates: ChatTemplates | None = None,
    ) -> None:
        self.name = folder.name
        self.version = folder.version
        self.settings = settings
        self.tokenizer = tokenizer
        self.chat_templates = chat_templates
        self.state = ModelState.LOADING
        self.reason = ""
        self.admission = Admission(settings.max_queue_requests, settings.max_queue_tokens)
        self._read_limits = ReadLimits(settings.max_unread_tokens, settings.slow_reader_seconds)
        self._users = 0
        self._observer = observer
        self._queue = RequestQueue()
        self._router = Router(self._queue)
        events = ReplicaEvents(self._router.wake, self._requeue, self._stepped, self._replica_moved)
        watch = Watch(silence_seconds, settings.step_deadline_seconds)
        self.replicas = [Replica(index, watch, events) for index in range(settings.replicas)]
        for replica in self.replicas:
            self._router.add(replica)

    @property
    def hello(self) -> wire.WorkerHello:
        """What the model is, as its workers say. Raises `Unavailable` before the first one is ready."""
        for replica in self.replicas:
            if replica.hello is not None:
                return replica.hello
        raise errors.Unavailable(f"model {self.name!r} is loading")

    @property
    def ready(self) -> bool:
        """Whether some replica would answer now."""
        return self.state is ModelState.READY and any(r.state is ReplicaState.READY for r in self.replicas)

    @property
    def queued_requests(self) -> int:
        return self.admission.requests - sum(replica.running.rows for replica in self.replicas)

    @property
    def queued_tokens(self) -> int:
        return self.admission.tokens - sum(replica.running_tokens for replica in self.replicas)

    def move(self, state: ModelState, reason: str = "") -> None:
        self.state = state
        self.reason = reason
        self._observer.moved(self)

    async def run(self, parts: Sequence[Part], caller: Caller) -> list[Answer]:
        """Run all parts and return their answers in order, or raise the one error that ends the request."""
        self._check_serving()
        with self.in_use(), self.admission.permit(caller, sum(p.rows for p in parts), sum(p.tokens for p in parts)):
            call = Call(caller, len(parts))
            pending = [PendingRequest(call, i, p.submission, p.rows, p.tokens) for i, p in enumerate(parts)]
            for request in pending:
                self._queue.push(request)
            self._router.wake()
            try:
                answers = await self._ending(call)
            finally:
                if not call.complete:
                    self._cancel(pending)
        self._observer.answered(self, answers)
        return answers

    @contextmanager
    def writing(self, parts: Sequence[Part], caller: Caller) -> Iterator[Writing]:
        """Have a sequence written on for each part. What has not ended when the block is left is cancelled.

        The permit is given back, and a drain waits no longer, once all have ended: a caller who does not read what was
        written keeps nobody else from the model. Raises the error that refuses the request; what fails later, the
        sequences say.
        """
        self._check_serving()
        rows, tokens = sum(part.rows for part in parts), sum(part.tokens for part in parts)
        with ExitStack() as held:
            held.enter_context(self.in_use())
            held.enter_context(self.admission.permit(caller, rows, tokens, estimates=False))
            writing = Writing(caller, len(parts), self._read_limits, held.close)
            pending = [
                PendingRequest(sequence, 0, part.submission, part.rows, part.tokens)
                for sequence, part in zip(writing, parts, strict=True)
            ]
            for request in pending:
                self._queue.push(request)
            self._router.wake()
            timer = asyncio.get_running_loop().call_later(min(caller.seconds_left(), _FOREVER_SECONDS), writing.expire)
            try:
                yield writing
            finally:
                timer.cancel()
                writing.close()
                self._cancel(pending)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold the model from finding it to the answer, so that a drain waits for requests that tokenize, too."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1

    async def drain(self) -> None:
        """Return once every request that found the model before has ended; none waits for workers that never come."""
        while self._users:
            if all(replica.gave_up for replica in self.replicas):
                self.end(f"no replica of model {self.name!r} is ready")
            await asyncio.sleep(0.01)
        await asyncio.gather(*(replica.drain() for replica in self.replicas))

    def end(self, reason: str) -> None:
        """Fail what still waits: no worker will come any more."""
        for pending in self._queue.drain():
            pending.call.fail(errors.Unavailable(reason))

    async def _ending(self, call: Call) -> list[Answer]:
        timer = asyncio.get_running_loop().call_later(min(call.caller.seconds_left(), _FOREVER_SECONDS), call.expire)
        try:
            return await call.future
        finally:
            timer.cancel()

    def _check_serving(self) -> None:
        if self.state not in (ModelState.READY, ModelState.DRAINING):
            raise errors.Unavailable(f"model {self.name!r} is {self.state.value}")
        if all(replica.gave_up for replica in self.replicas):
            raise errors.Unavailable(f"no replica of model {self.name!r} is ready")

    def note_tokens(self, count: int, seconds: float, *, first: bool) -> None:
        """Tokens of one text came, so long after its admission if they are the first, else after those before them."""
        self._observer.tokens_came(self, count, seconds, first=first)

    def note_generated(self, finished: GenerationFinished) -> None:
        """One text is finished."""
        self._observer.generated(self, finished)

    def _cancel(self, pending: Sequence[PendingRequest]) -> None:
        for request in pending:
            for replica in self.replicas:
                replica.cancel(request)

    def _requeue(self, pending: PendingRequest) -> None:
        self._queue.push(pending)
        self._router.wake()

    def _stepped(self, results: wire.StepResults) -> None:
        self.admission.note_answer(results.batch_tokens, queued=self._queue.first() is not None)
        self._observer.stepped(self, results)

    def _replica_moved(self, replica: Replica) -> None:
        self._observer.moved(self)
