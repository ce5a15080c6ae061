"""Sampling as it is written down, one row at a time with whole sorts, to compare with."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from loquor_worker.generation.params import SamplingParams

Floats = npt.NDArray[np.float64]


def adjusted(
    logits: npt.NDArray[np.float32], prompt: Sequence[int], output: Sequence[int], params: SamplingParams
) -> npt.NDArray[np.float32]:
    values = logits.astype(np.float32).copy()
    for id in set(prompt) | set(output):
        factor = np.float32(params.repetition_penalty)
        values[id] = values[id] / factor if values[id] > 0 else values[id] * factor
    for id in set(output):
        values[id] -= np.float32(params.presence_penalty + params.frequency_penalty * output.count(id))
    for id, bias in params.logit_bias.items():
        values[id] += np.float32(bias)
    return values


def barred(values: npt.NDArray[np.float32], ids: Sequence[int]) -> npt.NDArray[np.float32]:
    values = values.copy()
    values[list(ids)] = -np.inf
    return values


def distribution(values: npt.NDArray[np.float32], params: SamplingParams) -> tuple[list[int], Floats]:
    """Ids in order, and the probability of each that is left."""
    order = sorted(range(len(values)), key=lambda id: (-values[id], id))
    if params.temperature == 0:
        return order[:1], np.ones(1)
    scaled = values[order].astype(np.float64) / params.temperature
    weights = np.exp(scaled - scaled[0])
    if params.top_k:
        weights = weights[: params.top_k]
    probabilities = weights / weights.sum()
    left = len(probabilities)
    if params.top_p < 1:
        left = int(np.searchsorted(np.cumsum(probabilities), params.top_p - 1e-12)) + 1
    left = min(left, int((probabilities >= params.min_p * probabilities[0]).sum()))
    kept = probabilities[: max(left, 1)]
    return order[: len(kept)], kept / kept.sum()


def pick(values: npt.NDArray[np.float32], params: SamplingParams, uniform: float) -> int:
    ids, probabilities = distribution(values, params)
    place = int(np.searchsorted(np.cumsum(probabilities), uniform, side="right"))
    return ids[min(place, len(ids) - 1)]
