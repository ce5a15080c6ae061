"""A replica against a real link on a real socket: what runs, what is lost, what a worker may say."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest

from loquor.internal.protocol import PROTOCOL_VERSION, SERVE_METHOD
from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_server.errors import EngineFailed, InvalidArgument, Poisoned
from loquor_server.pending_request import PendingRequest
from loquor_server.replica import LoadFailed, Replica, ReplicaEvents, ReplicaState, Watch, WorkerLost
from tests.server.conftest import future_of

Make = Callable[..., PendingRequest]
MakeWorker = Callable[..., Any]

PATIENT = Watch(5.0, 5.0)


class Stage:
    """A replica and what it told."""

    def __init__(self, watch: Watch = PATIENT) -> None:
        self.requeued: list[PendingRequest] = []
        self.steps: list[wire.StepResults] = []
        self.states: list[ReplicaState] = []
        events = ReplicaEvents(lambda: None, self.requeued.append, self.steps.append, self._moved)
        self.replica = Replica(0, watch, events)

    def _moved(self, replica: Replica) -> None:
        self.states.append(replica.state)

    def serve(self, worker: "Placed", status: int | None = 1) -> "asyncio.Task[None]":
        """Until the worker is lost, which then has ended with this exit status."""

        async def exit_status() -> int | None:
            return status

        return asyncio.create_task(self.replica.serve(worker.address, worker.epoch, exit_status))

    async def until(self, state: ReplicaState) -> None:
        async with asyncio.timeout(5):
            while self.replica.state is not state:
                await self.replica.moved.wait()

    def run(self, *requests: PendingRequest) -> None:
        for request in requests:
            assert self.replica.has_room(request)
            self.replica.assign(request)
        self.replica.flush()

    async def end(self, serving: "asyncio.Task[None]") -> None:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


class Placed(Protocol):
    """A worker that listens."""

    address: str
    epoch: int


async def answer(request: PendingRequest) -> bytes:
    async with asyncio.timeout(5):
        (only,) = await future_of(request)
    return only.tensors[0].data


async def test_answers_come_back_to_their_own_requests(make_worker: MakeWorker, make_pending: Make) -> None:
    stage, worker = Stage(), make_worker()
    serving = stage.serve(worker)
    worker.ready()
    await stage.until(ReplicaState.READY)
    requests = [make_pending([n, n + 1]) for n in range(20)]
    stage.run(*requests)
    assert (stage.replica.running.rows, stage.replica.running.tokens) == (20, 40)
    assert [await answer(request) for request in requests] == [b"[%d, %d]" % (n, n + 1) for n in range(20)]
    assert (stage.replica.running.rows, stage.replica.running.tokens, len(stage.replica.running)) == (0, 0, 0)
    assert stage.replica.steps >= 1
    await stage.end(serving)


async def test_it_takes_only_what_the_worker_has_room_for(make_worker: MakeWorker, make_pending: Make) -> None:
    stage, worker = Stage(), make_worker()
    serving = stage.serve(worker)
    assert not stage.replica.has_room(make_pending())
    worker.engine.open.clear()
    worker.ready(submissions=3)
    await stage.until(ReplicaState.READY)
    stage.run(make_pending([1] * 100), make_pending([1] * 28))
    assert not stage.replica.has_room(make_pending([1]))  # 128 tokens are two batches of this worker
    stage.replica.running.tokens = 0
    stage.run(make_pending())
    assert not stage.replica.has_room(make_pending())  # three submissions
    worker.engine.open.set()
    await stage.end(serving)


async def test_what_the_engine_refuses_is_the_callers_fault(make_worker: MakeWorker, make_pending: Make) -> None:
    stage, worker = Stage(), make_worker()
    serving = stage.serve(worker)
    worker.ready()
    await stage.until(ReplicaState.READY)
    refused, fine = make_pending([999]), make_pending([1])
    stage.run(refused, fine)
    assert await answer(fine) == b"[1]"
    with pytest.raises(InvalidArgument):
        await answer(refused)
    await stage.end(serving)


async def test_a_cancelled_request_never_reaches_the_engine(make_worker: MakeWorker, make_pending: Make) -> None:
    stage, worker = Stage(), make_worker()
    serving = stage.serve(worker)
    worker.engine.open.clear()
    worker.ready()
    await stage.until(ReplicaState.READY)
    running, waiting = make_pending([1]), make_pending([2])
    stage.run(running)
    await until(lambda: worker.engine.batches == [[[1]]])
    stage.run(waiting)
    future_of(waiting).cancel()
    stage.replica.cancel(waiting)
    await asyncio.sleep(0.05)
    worker.engine.open.set()
    assert await answer(running) == b"[1]"
    await until(lambda: not stage.replica.running)
    assert worker.engine.batches == [[[1]]]
    await stage.end(serving)


async def test_a_lost_workers_requests_are_queued_again_and_those_not_sent_are_untouched(
    make_worker: MakeWorker, make_pending: Make
) -> None:
    stage, worker = Stage(), make_worker()
    serving = stage.serve(worker)
    worker.engine.open.clear()
    worker.ready()
    await stage.until(ReplicaState.READY)
    sent, gone, unsent = (make_pending([n]) for n in (1, 2, 3))
    stage.run(sent, gone)
    await until(lambda: len(worker.engine.batches) == 1)
    future_of(gone).cancel()
    stage.replica.assign(unsent)  # and not flushed
    worker.engine.batches.clear()
    await asyncio.to_thread(worker.kill)
    with pytest.raises(WorkerLost):
        await serving
    assert stage.requeued == [sent, unsent]
    assert (sent.lost_workers, unsent.lost_workers) == (1, 0)
    assert (stage.replica.running.rows, stage.replica.running.tokens) == (0, 0)
    assert stage.states == [ReplicaState.STARTING, ReplicaState.READY, ReplicaState.LOST]


@pytest.mark.parametrize(
    ("lost", "status", "poisoned"),
    [(1, 9, True), (1, -11, True), (1, None, True), (1, 0, False), (1, -15, False), (1, -9, False), (2, -9, True)],
)
async def test_what_was_lost_once_runs_alone_and_what_was_lost_often_is_taken_for_the_cause(
    make_worker: MakeWorker, make_pending: Make, lost: int, status: int | None, poisoned: bool
) -> None:
    """Twice is too often, but where the worker may have been ended by somebody: then three times."""
    stage, worker = Stage(), make_worker()
    serving = stage.serve(worker, status)
    worker.engine.open.clear()
    worker.ready()
    await stage.until(ReplicaState.READY)
    suspect, other = make_pending([1]), make_pending([2])
    suspect.lost_workers = lost
    stage.run(suspect)
    assert not stage.replica.has_room(other)
    await until(lambda: len(worker.engine.batches) == 1)
    await asyncio.to_thread(worker.kill)
    with pytest.raises(WorkerLost):
        await serving
    assert suspect.lost_workers == lost + 1
    assert stage.requeued == ([] if poisoned else [suspect])
    if poisoned:
        with pytest.raises(Poisoned, match=f"{lost + 1} workers"):
            await answer(suspect)


async def test_the_next_worker_serves_the_same_replica(make_worker: MakeWorker, make_pending: Make) -> None:
    stage = Stage()
    for token in (1, 2):
        worker = make_worker()
        serving = stage.serve(worker)
        worker.ready()
        await stage.until(ReplicaState.READY)
        request = make_pending([token])
        stage.run(request)
        assert await answer(request) == b"[%d]" % token
        await asyncio.to_thread(worker.kill)
        with pytest.raises(WorkerLost):
            await serving


async def test_a_silent_worker_is_lost(make_worker: MakeWorker) -> None:
    stage, worker = Stage(Watch(0.4, 5.0)), make_worker(heartbeat_seconds=100.0)
    serving = stage.serve(worker)
    worker.ready()
    async with asyncio.timeout(3):
        with pytest.raises(WorkerLost, match="silent"):
            await serving


async def test_an_engine_that_stands_still_is_lost(make_worker: MakeWorker, make_pending: Make) -> None:
    stage, worker = Stage(Watch(5.0, 0.3)), make_worker()
    serving = stage.serve(worker)
    worker.engine.open.clear()
    worker.ready()
    await stage.until(ReplicaState.READY)
    await asyncio.sleep(0.5)  # without a step under way, no time is too long
    assert not serving.done()
    request = make_pending()
    stage.run(request)
    async with asyncio.timeout(3):
        with pytest.raises(WorkerLost, match="step"):
            await serving
    assert stage.requeued == [request]


async def test_a_worker_that_cannot_load_says_why(make_worker: MakeWorker) -> None:
    stage, worker = Stage(), make_worker()
    serving = stage.serve(worker)
    await asyncio.to_thread(worker.link.fail, "model.safetensors: too short", 5.0)
    with pytest.raises(LoadFailed, match=r"model\.safetensors"):
        await serving


async def test_drain_waits_for_what_runs_and_takes_nothing_new(make_worker: MakeWorker, make_pending: Make) -> None:
    stage, worker = Stage(), make_worker()
    serving = stage.serve(worker)
    worker.engine.open.clear()
    worker.ready()
    await stage.until(ReplicaState.READY)
    request = make_pending()
    stage.run(request)
    draining = asyncio.create_task(stage.replica.drain())
    await asyncio.sleep(0.05)
    assert not draining.done()
    assert not stage.replica.has_room(make_pending())
    worker.engine.open.set()
    async with asyncio.timeout(5):
        await draining
    assert request.call.ended
    await stage.end(serving)


async def test_an_illegal_move_raises() -> None:
    with pytest.raises(RuntimeError, match="from lost to ready"):
        Stage().replica.move(ReplicaState.READY)


# --- workers that lie ---

Speak = Callable[["grpc.aio.ServicerContext[bytes, bytes]", AsyncIterator[bytes]], Awaitable[None]]


class Liar:
    """A worker that says whatever a test wants, byte for byte."""

    epoch = 7

    def __init__(self, folder: Path, speak: Speak) -> None:
        self.address = f"unix:{folder / 'liar.sock'}"
        self._speak = speak

    async def __aenter__(self) -> "Liar":
        async def serve(requests: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
            await self._speak(context, requests)

        self._server = grpc.aio.server()
        service, name = SERVE_METHOD.strip("/").split("/")
        method: Any = grpc.stream_stream_rpc_method_handler(serve)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {name: method}),))
        self._server.add_insecure_port(self.address)
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(0)


def greeting(epoch: int = Liar.epoch, version: int = PROTOCOL_VERSION) -> bytes:
    hello = wire.WorkerHello(protocol_version=version)
    return wire.ServeResponse(epoch=epoch, hello=hello, room=wire.Room(submissions=9, tokens=99)).SerializeToString()


def results(*outcomes: wire.Result, epoch: int = Liar.epoch) -> bytes:
    step = wire.StepResults(step=1, batch_size=1, batch_tokens=1, results=outcomes)
    return wire.ServeResponse(epoch=epoch, results=step).SerializeToString()


def output(id: int, data: bytes = b"right") -> wire.Result:
    result = wire.Result(id=id)
    result.outputs.tensors.add(data=data)
    return result


async def test_another_protocol_is_refused_with_both_versions(tmp_path: Path) -> None:
    async def speak(context: "grpc.aio.ServicerContext[bytes, bytes]", _: AsyncIterator[bytes]) -> None:
        await context.write(greeting(version=41))
        await asyncio.sleep(5)

    async with Liar(tmp_path, speak) as liar:
        with pytest.raises(WorkerLost, match=rf"41.* {PROTOCOL_VERSION}"):
            await Stage().serve(liar)


async def test_words_of_another_epoch_and_answers_to_nothing_are_dropped(tmp_path: Path, make_pending: Make) -> None:
    async def speak(context: "grpc.aio.ServicerContext[bytes, bytes]", requests: AsyncIterator[bytes]) -> None:
        await context.write(greeting())
        async for data in requests:
            for submission in wire.ServeRequest.FromString(data).submissions.submissions:
                await context.write(results(output(submission.id, b"late"), epoch=6))
                await context.write(results(output(12345, b"stray")))
                await context.write(results(output(submission.id), output(submission.id, b"twice")))

    stage = Stage()
    async with Liar(tmp_path, speak) as liar:
        serving = stage.serve(liar)
        await stage.until(ReplicaState.READY)
        request = make_pending()
        stage.run(request)
        assert await answer(request) == b"right"
        assert stage.replica.running.rows == 0
        await stage.end(serving)


async def test_a_result_without_an_outcome_fails_its_request_alone(tmp_path: Path, make_pending: Make) -> None:
    async def speak(context: "grpc.aio.ServicerContext[bytes, bytes]", requests: AsyncIterator[bytes]) -> None:
        await context.write(greeting())
        async for data in requests:
            ids = [submission.id for submission in wire.ServeRequest.FromString(data).submissions.submissions]
            if ids:
                await context.write(results(wire.Result(id=ids[0]), output(ids[1])))

    stage = Stage()
    async with Liar(tmp_path, speak) as liar:
        serving = stage.serve(liar)
        await stage.until(ReplicaState.READY)
        empty, fine = make_pending(), make_pending()
        stage.run(empty, fine)
        assert await answer(fine) == b"right"
        with pytest.raises(EngineFailed):
            await answer(empty)
        await stage.end(serving)


async def test_bytes_that_are_no_message_lose_the_worker(tmp_path: Path, make_pending: Make) -> None:
    async def speak(context: "grpc.aio.ServicerContext[bytes, bytes]", _: AsyncIterator[bytes]) -> None:
        await context.write(greeting())
        await context.write(b"\xff\xff\xff")
        await asyncio.sleep(5)

    stage = Stage()
    async with Liar(tmp_path, speak) as liar:
        async with asyncio.timeout(2):
            with pytest.raises(WorkerLost, match="no message"):
                await stage.serve(liar)


@pytest.mark.parametrize("code", [grpc.StatusCode.CANCELLED, grpc.StatusCode.INTERNAL, grpc.StatusCode.OK])
async def test_whatever_status_ends_the_stream_the_worker_is_lost(
    tmp_path: Path, make_pending: Make, code: grpc.StatusCode
) -> None:
    async def speak(context: "grpc.aio.ServicerContext[bytes, bytes]", requests: AsyncIterator[bytes]) -> None:
        await context.write(greeting())
        await anext(requests)
        await anext(requests)
        if code is not grpc.StatusCode.OK:
            await context.abort(code)

    stage = Stage()
    async with Liar(tmp_path, speak) as liar:
        serving = stage.serve(liar)
        await stage.until(ReplicaState.READY)
        request = make_pending()
        stage.run(request)
        async with asyncio.timeout(2):
            with pytest.raises(WorkerLost):
                await serving
    assert stage.requeued == [request]


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0.005)


def test_no_thread_is_left() -> None:
    assert [thread.name for thread in threading.enumerate() if thread.name == "link"] == []
