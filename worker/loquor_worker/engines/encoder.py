"""The engine of models that read text: sequences packed end to end, one pass of the transformer, one answer each.

It knows tokens and tensors. It knows no file, no label's meaning and no task: `answers` makes the outputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from loquor.internal.v1.replica_service_pb2 import Outputs, Submission, TokenInput, WorkerHello
from loquor.v1.model_service_pb2 import Task
from loquor_worker.engines import InvalidSubmission, Size
from loquor_worker.engines.answers import Answers
from loquor_worker.engines.device import device_errors
from loquor_worker.models.packing import Packing
from loquor_worker.models.transformer import Transformer

WARM_LENGTHS = (1, 8, 32, 128)


@dataclass(frozen=True, slots=True)
class EncoderLimits:
    """Tokens in one sequence, and in one step."""

    sequence_tokens: int
    batch_tokens: int


class EncoderEngine:
    """One transformer and one task."""

    def __init__(self, task: Task, transformer: Transformer, answers: Answers, limits: EncoderLimits) -> None:
        self._task = task
        self._transformer = transformer
        self._answers = answers
        self._limits = limits
        self._types = transformer.config.token_types > 1
        tokens = transformer.embeddings.tokens.weight
        self._device, self._dtype = tokens.device, tokens.dtype

    @property
    def hello(self) -> WorkerHello:
        hello = WorkerHello(
            task=self._task,
            device=str(self._device),
            dtype=str(self._dtype).removeprefix("torch."),
            threads=torch.get_num_threads(),
            sequence_tokens=self._limits.sequence_tokens,
            batch_tokens=self._limits.batch_tokens,
            vocabulary_size=self._transformer.config.vocabulary_size,
        )
        self._answers.describe(hello)
        return hello

    def size(self, submission: Submission) -> Size:
        if not submission.HasField("tokens"):
            raise InvalidSubmission("tokens: this model takes tokens, not tensors")
        tokens = submission.tokens
        count, vocabulary = len(tokens.ids), self._transformer.config.vocabulary_size
        if not count:
            raise InvalidSubmission("tokens.ids: at least one id is required")
        if count > self._limits.sequence_tokens:
            raise InvalidSubmission(f"tokens.ids: {count} tokens, the model takes {self._limits.sequence_tokens}")
        if max(tokens.ids) >= vocabulary:
            raise InvalidSubmission(f"tokens.ids: {max(tokens.ids)} is not below the vocabulary's size, {vocabulary}")
        if tokens.HasField("pair_start") and tokens.pair_start > count:
            raise InvalidSubmission(f"tokens.pair_start: {tokens.pair_start} is behind the last of {count} tokens")
        return Size(rows=1, tokens=count)

    def warm(self) -> None:
        lengths = [min(length, self._limits.sequence_tokens) for length in WARM_LENGTHS]
        self.step([Submission(tokens=TokenInput(ids=[0] * length)) for length in lengths])

    def step(self, batch: Sequence[Submission]) -> list[Outputs]:
        order = sorted(range(len(batch)), key=lambda place: len(batch[place].tokens.ids))
        submissions = [batch[place] for place in order]
        with device_errors():
            outputs = self._run(submissions)
        restored = dict(zip(order, outputs, strict=True))
        return [restored[place] for place in range(len(batch))]

    @torch.inference_mode()
    def _run(self, submissions: Sequence[Submission]) -> list[Outputs]:
        """Submissions in order of length."""
        packing = Packing(tuple(len(submission.tokens.ids) for submission in submissions))
        ids = np.empty(packing.total, dtype=np.int64)
        for submission, start, end in zip(submissions, packing.offsets, packing.offsets[1:], strict=False):
            ids[start:end] = submission.tokens.ids
        hidden = self._transformer(
            self._moved(ids), self._moved(packing.positions()), self._token_types(submissions, packing), packing
        )
        return list(self._answers.of(hidden, packing, submissions))

    def _token_types(self, submissions: Sequence[Submission], packing: Packing) -> torch.Tensor | None:
        """None where all tokens are of the first type."""
        if not self._types or not any(submission.tokens.HasField("pair_start") for submission in submissions):
            return None
        types = np.zeros(packing.total, dtype=np.int64)
        for submission, start, end in zip(submissions, packing.offsets, packing.offsets[1:], strict=False):
            if submission.tokens.HasField("pair_start"):
                types[start + submission.tokens.pair_start : end] = 1
        return self._moved(types)

    def _moved(self, values: npt.NDArray[np.int64]) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device, non_blocking=True)
