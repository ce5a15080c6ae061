"""What ModelStatistics reports: counts and nanoseconds of each version of each model, since the front started.

Steps and answers are counted whatever protocol asked for them; failures, only those of this one. A request counts once;
its texts or rows are inferences. Turning messages into tensors and back is not measured apart, so `compute_input` and
`compute_output` stay at 0 nanoseconds.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1.generation_pb2 import GenerationFinished
from loquor.v1.model_service_pb2 import TASK_INFER
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.pending_request import Answer
from loquor_server.served_model import ServedModel

_NANOSECONDS = 1_000_000_000


@dataclass(slots=True)
class Duration:
    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds

    @property
    def message(self) -> oip.StatisticDuration:
        return oip.StatisticDuration(count=self.count, ns=round(self.seconds * _NANOSECONDS))

    @property
    def unmeasured(self) -> oip.StatisticDuration:
        """Happened so often, for a time that nobody took."""
        return oip.StatisticDuration(count=self.count)


@dataclass(slots=True)
class _VersionStatistics:
    last_answer_milliseconds: int = 0
    inferences: int = 0
    steps: int = 0
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute: Duration = field(default_factory=Duration)
    batches: dict[int, Duration] = field(default_factory=lambda: defaultdict(Duration))


class InferenceStatistics:
    """Of all models; a `ModelObserver`. Nothing is forgotten: versions and sizes of batches bound what is held."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, int], _VersionStatistics] = defaultdict(_VersionStatistics)

    def stepped(self, model: ServedModel, results: wire.StepResults) -> None:
        """A step of the engine, or results without one, which carry no batch."""
        if not results.batch_size:
            return
        version = self._versions[model.name, model.version]
        version.steps += 1
        version.batches[results.batch_size].add(results.compute_seconds)

    def answered(self, model: ServedModel, answers: Sequence[Answer]) -> None:
        """One request, answered with one answer a text, or one for all its rows."""
        version = self._versions[model.name, model.version]
        version.last_answer_milliseconds = time.time_ns() // 1_000_000
        version.inferences += _inferences(model, answers)
        slowest = max(answers, key=lambda answer: answer.queue_seconds + answer.compute_seconds)
        version.queue.add(slowest.queue_seconds)
        version.compute.add(slowest.compute_seconds)
        version.success.add(slowest.queue_seconds + slowest.compute_seconds)

    def tokens_came(self, *_: object, **__: object) -> None:
        """Texts are counted when they are finished."""

    def generated(self, model: ServedModel, finished: GenerationFinished) -> None:
        """One text. It computes from its first step on, beside others and between them."""
        version = self._versions[model.name, model.version]
        version.last_answer_milliseconds = time.time_ns() // 1_000_000
        version.inferences += 1
        timings = finished.timings
        waited = timings.tokenization_seconds + timings.queue_seconds
        version.queue.add(timings.queue_seconds)
        version.compute.add(max(0.0, timings.total_seconds - waited))
        version.success.add(max(0.0, timings.total_seconds - timings.tokenization_seconds))

    def moved(self, model: ServedModel) -> None:
        """States are not statistics."""

    def failed(self, model_name: str, version: int, seconds: float) -> None:
        self._versions[model_name, version].fail.add(seconds)

    def message(self, name: str, version: int) -> oip.ModelStatistics:
        return _message(name, version, self._versions.get((name, version), _VersionStatistics()))


def _inferences(model: ServedModel, answers: Sequence[Answer]) -> int:
    if model.hello.task != TASK_INFER:
        return len(answers)
    return sum(answer.tensors[0].shape[0] for answer in answers if answer.tensors and answer.tensors[0].shape)


def _message(name: str, version: int, of: _VersionStatistics) -> oip.ModelStatistics:
    message = oip.ModelStatistics(
        name=name,
        version=str(version),
        last_inference=of.last_answer_milliseconds,
        inference_count=of.inferences,
        execution_count=of.steps,
        inference_stats=oip.InferStatistics(
            success=of.success.message,
            fail=of.fail.message,
            queue=of.queue.message,
            compute_input=of.success.unmeasured,
            compute_infer=of.compute.message,
            compute_output=of.success.unmeasured,
        ),
    )
    for size, compute in sorted(of.batches.items()):
        message.batch_stats.add(
            batch_size=size,
            compute_input=compute.unmeasured,
            compute_infer=compute.message,
            compute_output=compute.unmeasured,
        )
    return message
