"""The worker's loop with an engine that echoes: every submission gets one result, whatever the engine does."""

from collections.abc import Callable, Sequence

import pytest

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1.tensor_service_pb2 import Tensor
from loquor_worker.batch_work import BatchWork
from loquor_worker.engines import DeviceFailed, InvalidSubmission, OutOfMemory, Size
from loquor_worker.inbox import Arrived, Cancelled, Gone, Inbox, Message, Stop
from loquor_worker.scheduler import Budget, Scheduler
from loquor_worker.worker import Progress, Worker


class Front:
    """A sender, and what was sent to it."""

    def __init__(self) -> None:
        self.steps: list[wire.StepResults] = []

    def results(self) -> dict[int, wire.Result]:
        found = [result for step in self.steps for result in step.results]
        assert len({result.id for result in found}) == len(found)
        return {result.id: result for result in found}


class Engine:
    """Echoes; `fails` may raise for a batch, given its ids."""

    hello = wire.WorkerHello()

    def __init__(self, fails: Callable[[list[int]], None]) -> None:
        self.batches: list[list[int]] = []
        self._fails = fails

    def size(self, submission: wire.Submission) -> Size:
        if not submission.tokens.ids:
            raise InvalidSubmission("tokens.ids: is empty")
        return Size(1, len(submission.tokens.ids))

    def warm(self) -> None: ...

    def step(self, batch: Sequence[wire.Submission]) -> list[wire.Outputs]:
        ids = [submission.id for submission in batch]
        self.batches.append(ids)
        self._fails(ids)
        return [wire.Outputs(tensors=[Tensor(data=bytes(submission.tokens.ids))]) for submission in batch]


class Outbox:
    def send(self, sender: object, results: wire.StepResults) -> None:
        assert isinstance(sender, Front)
        sender.steps.append(results)


def arrived(front: Front, *ids: int) -> Arrived:
    return Arrived(front, [wire.Submission(id=id, tokens=wire.TokenInput(ids=[id])) for id in ids], 0.0)


def run(*messages: Message, fails: Callable[[list[int]], None] = lambda _: None) -> tuple[Engine, Progress]:
    """Until all that these messages ask for is done."""
    inbox, engine, progress = Inbox(), Engine(fails), Progress()
    for message in (*messages, Stop()):
        inbox.put(message)
    Worker(BatchWork(engine, Scheduler(Budget(8, 100))), inbox, Outbox(), progress).run()
    return engine, progress


def test_every_submission_gets_its_own_outputs() -> None:
    front = Front()
    engine, progress = run(arrived(front, *range(1, 21)))
    assert {id: result.outputs.tensors[0].data for id, result in front.results().items()} == {
        id: bytes([id]) for id in range(1, 21)
    }
    assert [len(batch) for batch in engine.batches] == [8, 8, 4]
    assert progress.steps == 3
    assert progress.step_seconds() == 0.0
    assert [(step.step, step.batch_size, step.batch_tokens) for step in front.steps] == [
        (1, 8, 8),
        (2, 8, 8),
        (3, 4, 4),
    ]


def test_two_fronts_share_a_batch_and_get_their_own() -> None:
    one, other = Front(), Front()
    engine, _ = run(arrived(one, 1, 2), arrived(other, 1, 3))
    assert engine.batches == [[1, 2, 1, 3]]
    assert set(one.results()) == {1, 2}
    assert set(other.results()) == {1, 3}
    assert one.steps[0].batch_size == other.steps[0].batch_size == 4


def test_what_the_engine_refuses_never_runs() -> None:
    front = Front()
    bad = Arrived(front, [wire.Submission(id=9)], 0.0)
    engine, _ = run(bad, arrived(front, 1))
    assert engine.batches == [[1]]
    assert front.results()[9].failure.kind == wire.FAILURE_KIND_INVALID
    assert "tokens.ids" in front.results()[9].failure.message


def test_a_cancelled_submission_never_runs_and_says_so() -> None:
    front = Front()
    engine, _ = run(arrived(front, 1, 2, 3), Cancelled(front, [2, 77]))
    assert engine.batches == [[1, 3]]
    assert front.results()[2].failure.kind == wire.FAILURE_KIND_CANCELLED
    assert set(front.results()) == {1, 2, 3}


def test_what_a_gone_front_asked_never_runs() -> None:
    gone, front = Front(), Front()
    engine, _ = run(arrived(gone, 1, 2), arrived(front, 3), Gone(gone))
    assert engine.batches == [[3]]
    assert gone.steps == []


def test_one_that_fails_fails_alone() -> None:
    front = Front()

    def fails(ids: list[int]) -> None:
        if 5 in ids:
            raise ValueError("the words of a caller")

    run(arrived(front, *range(1, 9)), fails=fails)
    results = front.results()
    assert {id for id, result in results.items() if result.HasField("failure")} == {5}
    assert results[5].failure.kind == wire.FAILURE_KIND_ENGINE
    assert results[5].failure.message == ""


def test_a_batch_too_large_for_the_memory_is_run_in_parts() -> None:
    front = Front()

    def fails(ids: list[int]) -> None:
        if len(ids) > 2 or 7 in ids:
            raise OutOfMemory

    engine, progress = run(arrived(front, *range(1, 9)), fails=fails)
    results = front.results()
    assert {id for id, result in results.items() if result.HasField("failure")} == {7}
    assert results[7].failure.kind == wire.FAILURE_KIND_OUT_OF_MEMORY
    assert progress.steps == 1
    assert len(engine.batches) > 4


def test_a_device_beyond_use_ends_the_loop() -> None:
    def fails(_: list[int]) -> None:
        raise DeviceFailed

    with pytest.raises(DeviceFailed):
        run(arrived(Front(), 1), fails=fails)


def test_stop_finishes_what_waits() -> None:
    front = Front()
    run(arrived(front, *range(1, 31)))
    assert set(front.results()) == set(range(1, 31))
