"""Logits of a classifier to scores, and scores to the best labels."""

import heapq
import math
from array import array
from collections.abc import Sequence

from loquor.internal.v1 import replica_service_pb2 as wire


def scores_of(logits: Sequence[float], scoring: wire.LabelScoring) -> list[float]:
    """One score a label, in the model's order: softmax, sigmoid of each, or the logits themselves."""
    if scoring == wire.LABEL_SCORING_SOFTMAX:
        highest = max(logits)
        weights = [math.exp(logit - highest) for logit in logits]
        total = sum(weights)
        return [weight / total for weight in weights]
    if scoring == wire.LABEL_SCORING_SIGMOID:
        return [_sigmoid(logit) for logit in logits]
    return list(logits)


def best_labels(scores: Sequence[float], labels: Sequence[str], count: int | None) -> list[tuple[str, float]]:
    """The labels of the highest scores, best first; all of them if `count` is None."""
    pairs = zip(labels, scores, strict=True)
    return heapq.nlargest(count or len(scores), pairs, key=lambda pair: pair[1])


def floats_of(data: bytes) -> "array[float]":
    """Little-endian float32 values as they come from a worker."""
    return array("f", data)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
