"""The front's end of one worker's stream: what it runs, how much room it has, and what becomes of it.

A `Replica` outlives its workers. Each worker that takes the place is served by one `serve`, which dials it, hands over
what the router assigns, delivers what comes back, and ends when the worker does. It starts and kills no processes.
"""

import asyncio
import itertools
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import grpc

from loquor.internal import channels
from loquor.internal.protocol import PROTOCOL_VERSION, SERVE_METHOD
from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_server import errors
from loquor_server.outbox import Outbox
from loquor_server.pending_request import Answer, PendingRequest
from loquor_server.running import Running

# A worker beats while it loads, too, once it listens; reading a library from a cold disk can hold it up.
_START_SILENCE_SECONDS = 120.0
# What ends with so many lost workers is taken for the cause. Somebody who ends workers may hit a request twice.
_LOSSES, _LOSSES_FROM_OUTSIDE = 2, 3
_ENDED_FROM_OUTSIDE = {0, -signal.SIGTERM, -signal.SIGKILL}

ExitStatus: TypeAlias = Callable[[], Awaitable[int | None]]
_Stream: TypeAlias = "grpc.aio.StreamStreamCall[wire.ServeRequest, wire.ServeResponse]"


class ReplicaState(Enum):
    """STARTING -> READY (hello) -> DRAINING (drain); any -> LOST (stream ended) -> STARTING; any -> STOPPED (stop)."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    LOST = "lost"


_MOVES = {
    ReplicaState.STARTING: {ReplicaState.READY, ReplicaState.LOST, ReplicaState.STOPPED},
    ReplicaState.READY: {ReplicaState.DRAINING, ReplicaState.LOST, ReplicaState.STOPPED},
    ReplicaState.DRAINING: {ReplicaState.LOST, ReplicaState.STOPPED},
    ReplicaState.LOST: {ReplicaState.STARTING, ReplicaState.STOPPED},
    ReplicaState.STOPPED: set(),
}


class WorkerLost(Exception):
    """The worker died, went silent, stood still or spoke another protocol. The text is for the log."""


class LoadFailed(Exception):
    """The worker cannot load the model. The text is for the operator and names the file."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How long a worker may be silent, and how long one step of its engine may last, in seconds."""

    silence_seconds: float
    step_seconds: float


@dataclass(frozen=True, slots=True)
class ReplicaEvents:
    """Whom a replica tells: of room or readiness won, of a request to be queued again, of a step, of a new state."""

    changed: Callable[[], None]
    requeue: Callable[[PendingRequest], None]
    stepped: Callable[[wire.StepResults], None]
    moved: Callable[["Replica"], None]


class Replica:
    """A handle on one loaded copy of a model.

    `restarts` counts its workers after the first. `gave_up` is set by whoever starts them once a worker is not expected
    soon, and cleared by the next `hello`. `moved` is set, and replaced, at every move. `address` and `epoch` are those
    of its present worker.
    """

    def __init__(self, index: int, watch: Watch, events: ReplicaEvents) -> None:
        self.index = index
        self.state = ReplicaState.LOST
        self.hello: wire.WorkerHello | None = None
        self.address = ""
        self.epoch = 0
        self.running = Running()
        self.steps = 0
        self.load = wire.Load()
        self.restarts = 0
        self.gave_up = False
        self.moved = asyncio.Event()
        self._watch = watch
        self._events = events
        self._room = wire.Room()
        self._ids = itertools.count(1)
        self._outbox = Outbox()
        self._seen_at = 0.0
        self._step_seconds = 0.0

    def move(self, state: ReplicaState) -> None:
        if state is self.state:
            return
        if state not in _MOVES[self.state]:
            raise RuntimeError(f"replica {self.index} cannot move from {self.state.value} to {state.value}")
        self.state = state
        self.moved.set()
        self.moved = asyncio.Event()
        self._events.moved(self)

    # --- what the router sees ---

    @property
    def running_tokens(self) -> int:
        return self.running.tokens

    def has_room(self, pending: PendingRequest) -> bool:
        if self.state is not ReplicaState.READY:
            return False
        if not self.running:
            return True
        if self.running.alone or (pending.lost_workers and self.running.silent):
            return False
        return len(self.running) < self._room.submissions and self.running.tokens + pending.tokens <= self._room.tokens

    def assign(self, pending: PendingRequest) -> None:
        pending.submission.id = next(self._ids)
        pending.submission.alone = pending.lost_workers > 0
        pending.handed_at = time.monotonic()
        self.running.add(pending)
        self._outbox.submit(pending.submission)

    def flush(self) -> None:
        self._outbox.flush()

    def cancel(self, pending: PendingRequest) -> None:
        """Tell the worker to leave out a request that has ended. Its answer, if one still comes, is dropped."""
        if pending in self.running:
            self._outbox.cancel(pending.submission.id)

    # --- one worker's life ---

    async def serve(self, address: str, epoch: int, exit_status: ExitStatus) -> None:
        """Dial the worker and serve it until it ends or `stop` is called.

        Raises `WorkerLost` or `LoadFailed`; what was under way has then been queued again or ended. `exit_status` is
        asked then: the exit status of a worker that ended by itself, None of any other.
        """
        self.address, self.epoch = address, epoch
        self.move(ReplicaState.STARTING)
        channel = channels.open_channel(address)
        call = channel.stream_stream(SERVE_METHOD, _serialize, wire.ServeResponse.FromString)(wait_for_ready=True)
        self._seen_at = time.monotonic()
        tasks = [asyncio.create_task(step) for step in (self._read(call, epoch), self._write(call), self._guard())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            raise next(_loss(task) for task in tasks if task.done())
        finally:
            if self.state is not ReplicaState.STOPPED:
                self.move(ReplicaState.LOST)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            call.cancel()
            await channel.close()
            self._lose_running(await exit_status())

    async def drain(self) -> None:
        """Take nothing new, and return once all that runs has ended."""
        if self.state is ReplicaState.READY:
            self.move(ReplicaState.DRAINING)
        await self.running.idle()

    async def _read(self, call: "_Stream", epoch: int) -> None:
        while isinstance(response := await call.read(), wire.ServeResponse):
            self._seen_at = time.monotonic()
            if response.epoch != epoch:
                continue
            if response.HasField("room"):
                self._room = response.room
            self._take(response)
        if response is not grpc.aio.EOF:
            raise WorkerLost("it sent something that is no message")
        raise WorkerLost(f"the stream ended: {(await call.code()).name}")

    def _take(self, response: wire.ServeResponse) -> None:
        kind = response.WhichOneof("message")
        if kind == "results":
            self._deliver(response.results)
        elif kind == "heartbeat":
            self._step_seconds = response.heartbeat.step_seconds
        elif kind == "hello":
            self._greet(response.hello)
        elif kind == "failure":
            raise LoadFailed(response.failure.message)
        self._events.changed()

    def _greet(self, hello: wire.WorkerHello) -> None:
        if hello.protocol_version != PROTOCOL_VERSION:
            raise WorkerLost(f"it speaks protocol {hello.protocol_version}, this front {PROTOCOL_VERSION}")
        self.hello = hello
        self.gave_up = False
        self.steps = 0
        self._step_seconds = 0.0
        self.move(ReplicaState.READY)

    async def _write(self, call: "_Stream") -> None:
        await call.write(wire.ServeRequest(hello=wire.FrontHello(protocol_version=PROTOCOL_VERSION)))
        while True:
            for message in await self._outbox.next():
                await call.write(message)

    async def _guard(self) -> None:
        """End the stream of a worker that went silent or whose engine stands still."""
        while True:
            await asyncio.sleep(min(self._watch.silence_seconds, self._watch.step_seconds) / 4)
            starting = self.state is ReplicaState.STARTING
            patience = max(_START_SILENCE_SECONDS if starting else 0, self._watch.silence_seconds)
            if time.monotonic() - self._seen_at > patience:
                raise WorkerLost(f"it was silent for {patience} s")
            if not starting and self._step_seconds > self._watch.step_seconds:
                raise WorkerLost(f"its step lasted longer than {self._watch.step_seconds} s")

    # --- what comes back ---

    def _deliver(self, results: wire.StepResults) -> None:
        self.steps = results.step
        self._step_seconds = 0.0
        if results.HasField("load"):
            self.load = results.load
        for result in results.results:
            if result.HasField("tokens"):
                self._pass_on(result)
                continue
            pending = self.running.release(result.id)
            if pending is None:
                continue
            if result.WhichOneof("outcome") == "outputs":
                pending.call.answer(pending.index, self._answer(pending, result, results))
            else:
                self._fail(pending, result.failure)
        self._events.stepped(results)

    def _pass_on(self, result: wire.Result) -> None:
        """Tokens of a sequence that goes on, or its last ones."""
        pending = self.running.hear(result.id)
        if pending is None:
            return
        pending.call.take(result.tokens, pending.handed_at - pending.call.queued_at + result.wait_seconds)
        if result.tokens.finish:
            self.running.release(result.id)
        elif pending.ended:
            self.cancel(pending)

    def _answer(self, pending: PendingRequest, result: wire.Result, results: wire.StepResults) -> Answer:
        waited_here = pending.handed_at - pending.call.queued_at
        return Answer(
            result.outputs.tensors,
            waited_here + result.wait_seconds,
            results.compute_seconds,
            results.batch_size,
            results.batch_tokens,
        )

    def _fail(self, pending: PendingRequest, failure: wire.Failure) -> None:
        if failure.kind == wire.FAILURE_KIND_NO_ROOM:
            self._events.requeue(pending)
        elif failure.kind == wire.FAILURE_KIND_CANCELLED:
            pending.call.cancelled()
        elif failure.kind == wire.FAILURE_KIND_INVALID:
            pending.call.fail(errors.InvalidArgument("request", failure.message))
        elif failure.kind == wire.FAILURE_KIND_OUT_OF_MEMORY:
            pending.call.fail(errors.OutOfMemory("the request does not fit into the memory of the device"))
        else:
            pending.call.fail(errors.EngineFailed("the engine failed on this request; the server's log says why"))

    def _lose_running(self, exit_status: int | None) -> None:
        """Queue again what the worker had not answered; what was lost with too many workers is taken for the cause."""
        losses = _LOSSES_FROM_OUTSIDE if exit_status in _ENDED_FROM_OUTSIDE else _LOSSES
        unsent = self._outbox.clear()
        lost = self.running.lose()
        self.load = wire.Load()
        for pending in lost:
            if pending.call.begun:
                pending.call.fail(errors.Unavailable("the worker was lost, and the text had begun"))
                continue
            pending.lost_workers += pending.submission.id not in unsent
            if pending.lost_workers >= losses:
                reason = f"{pending.lost_workers} workers were lost while they ran this request"
                pending.call.fail(errors.Poisoned(reason))
            elif not pending.ended:
                self._events.requeue(pending)


def _loss(task: "asyncio.Task[None]") -> Exception:
    """Why a worker's stream is over. gRPC has many words for it: a status, a cancel, a call that has already ended."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, WorkerLost | LoadFailed):
        return error
    loss = WorkerLost(f"the stream ended: {_word(error)}")
    loss.__cause__ = error
    return loss


def _word(error: BaseException | None) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code().name
    return "CANCELLED" if error is None else type(error).__name__


def _serialize(request: wire.ServeRequest) -> bytes:
    return request.SerializeToString()
