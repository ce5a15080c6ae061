"""Submissions that one step answers: encoders and exported modules, batched in order of arrival."""

from collections.abc import Sequence as Items

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_worker.engines import Engine
from loquor_worker.scheduler import Scheduler
from loquor_worker.sequence import Sender, Sequence
from loquor_worker.work import Told


class BatchWork:
    """A `Work` of one engine and its scheduler."""

    def __init__(self, engine: Engine, scheduler: Scheduler) -> None:
        self._engine = engine
        self._scheduler = scheduler

    def __len__(self) -> int:
        return len(self._scheduler)

    def admit(self, sender: Sender, submission: wire.Submission, at: float) -> None:
        self._scheduler.add(Sequence(sender, submission, self._engine.size(submission), at))

    def cancel(self, sender: Sender, id: int) -> bool:
        return self._scheduler.cancel(sender, id) is not None

    def forget(self, sender: Sender) -> None:
        self._scheduler.forget(sender)

    def delay_seconds(self, now: float) -> float:
        return self._scheduler.delay_seconds(now)

    def schedule(self, now: float) -> Items[Sequence]:
        return self._scheduler.schedule(now)

    def run(self, items: Items[Sequence]) -> Items[wire.Outputs]:
        return self._engine.step([sequence.submission for sequence in items])

    def commit(self, items: Items[Sequence], outputs: Items[wire.Outputs | wire.Failure], started: float) -> list[Told]:
        self._scheduler.finish(items)
        return [
            Told(sequence.sender, _result(sequence, output, started))
            for sequence, output in zip(items, outputs, strict=True)
        ]

    def size(self, items: Items[Sequence]) -> tuple[int, int]:
        return sum(sequence.size.rows for sequence in items), sum(sequence.size.tokens for sequence in items)

    def load(self) -> None:
        """A step's size says it all."""

    def rest(self) -> None:
        """Nothing is kept between two steps."""


def _result(sequence: Sequence, output: wire.Outputs | wire.Failure, started: float) -> wire.Result:
    result = wire.Result(id=sequence.submission.id, wait_seconds=started - sequence.arrived_at)
    if isinstance(output, wire.Outputs):
        result.outputs.CopyFrom(output)
    else:
        result.failure.CopyFrom(output)
    return result
