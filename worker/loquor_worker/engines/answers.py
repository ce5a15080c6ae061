"""Turns what a head makes of hidden states into the outputs of each submission, one class a task.

It knows the names and types of the internal protocol's tensors. The order is that of the packing; the engine restores
the submissions' own.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from loquor.internal.v1.replica_service_pb2 import LABEL_SCORING_SOFTMAX, LabelScoring, Outputs, Submission, WorkerHello
from loquor.v1.tensor_service_pb2 import DATA_TYPE_FLOAT32, DATA_TYPE_INT32, Tensor
from loquor_worker.models.heads import EmbeddingHead, SequenceHead, TokenHead
from loquor_worker.models.packing import Packing

DATA_TYPES = {np.dtype("<f4"): DATA_TYPE_FLOAT32, np.dtype("<i4"): DATA_TYPE_INT32}


class Answers(Protocol):
    """The last part of a step."""

    def describe(self, hello: WorkerHello) -> None:
        """Write what the task adds to the hello."""
        ...

    def of(self, hidden: torch.Tensor, packing: Packing, submissions: Sequence[Submission]) -> Iterable[Outputs]:
        """The outputs of each sequence of the packing, in its order."""
        ...


def named(name: str, values: npt.NDArray[Any]) -> Tensor:
    """One tensor of the wire."""
    return Tensor(name=name, data_type=DATA_TYPES[values.dtype], shape=values.shape, data=values.tobytes())


class EmbeddingAnswers:
    """Task EMBED. `normalize` is what the model's files say, for submissions that do not say it."""

    def __init__(self, head: EmbeddingHead, dimensions: int, *, normalize: bool) -> None:
        self._head = head
        self._dimensions = dimensions
        self._normalize = normalize

    def describe(self, hello: WorkerHello) -> None:
        hello.embedding_dimensions = self._dimensions

    def of(self, hidden: torch.Tensor, packing: Packing, submissions: Sequence[Submission]) -> Iterable[Outputs]:
        normalize = torch.tensor([self._wants_norm(s) for s in submissions], device=hidden.device)
        rows = self._head(hidden, packing, normalize).cpu().numpy()
        return (Outputs(tensors=[named("embedding", row)]) for row in rows)

    def _wants_norm(self, submission: Submission) -> bool:
        tokens = submission.tokens
        return tokens.normalize if tokens.HasField("normalize") else self._normalize


class SequenceAnswers:
    """Task CLASSIFY."""

    def __init__(self, head: SequenceHead, labels: Sequence[str], scoring: LabelScoring) -> None:
        self._head = head
        self._labels = labels
        self._scoring = scoring

    def describe(self, hello: WorkerHello) -> None:
        hello.labels.extend(self._labels)
        hello.label_scoring = self._scoring

    def of(self, hidden: torch.Tensor, packing: Packing, submissions: Sequence[Submission]) -> Iterable[Outputs]:
        rows = self._head(hidden, packing).cpu().numpy()
        return (Outputs(tensors=[named("logits", row)]) for row in rows)


class TokenAnswers:
    """Task TAG_TOKENS."""

    def __init__(self, head: TokenHead, labels: Sequence[str]) -> None:
        self._head = head
        self._labels = labels

    def describe(self, hello: WorkerHello) -> None:
        hello.labels.extend(self._labels)
        hello.label_scoring = LABEL_SCORING_SOFTMAX

    def of(self, hidden: torch.Tensor, packing: Packing, submissions: Sequence[Submission]) -> Iterable[Outputs]:
        ids, scores = (values.cpu().numpy() for values in self._head(hidden))
        for start, end in zip(packing.offsets, packing.offsets[1:], strict=False):
            yield Outputs(tensors=[named("label_ids", ids[start:end]), named("scores", scores[start:end])])
