"""One token for each row of logits, drawn with one number from 0 to 1 by the inverse of the distribution function.

The tokens of a row stand in one order only, the likeliest first and equal ones by id, so neither the device nor the
other rows can change what a number draws. The likeliest few are found on the device and go to the host in one transfer;
there the arithmetic is in float64. A row of which they are not enough follows as a whole; of it only those tokens are
sorted that the draw can reach.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from loquor_worker.generation.params import SamplingParams

Floats = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

_FEW = 64
# Under it every temperature is the same: what is not the likeliest has no probability left.
_LEAST_TEMPERATURE = 1e-6


@dataclass(frozen=True, slots=True)
class Chances:
    """How each row is drawn: one value a row. Greedy is a `top_k` of 1; a `top_k` of 0 is none."""

    temperature: Floats
    top_k: Ids
    top_p: Floats
    min_p: Floats
    uniform: Floats

    @classmethod
    def of(cls, params: Sequence[SamplingParams], uniforms: Sequence[float]) -> Self:
        return cls(
            np.array([1.0 if one.is_greedy else max(one.temperature, _LEAST_TEMPERATURE) for one in params]),
            np.array([1 if one.is_greedy else one.top_k for one in params]),
            np.array([one.top_p for one in params]),
            np.array([one.min_p for one in params]),
            np.array(uniforms),
        )

    def row(self, row: int) -> "Chances":
        one = slice(row, row + 1)
        return Chances(self.temperature[one], self.top_k[one], self.top_p[one], self.min_p[one], self.uniform[one])


def draw(logits: torch.Tensor, chances: Chances) -> list[int]:
    """The picked ids of float32 logits `[rows, vocabulary]` without NaN."""
    values, ids, totals = _likeliest(logits, chances)
    places, settled = _places(values, totals, chances)
    picked = ids[np.arange(len(ids)), places]
    if settled.all() or values.shape[1] == logits.shape[1]:
        return [int(id) for id in picked]
    open_rows = np.flatnonzero(~settled)
    whole = logits[torch.from_numpy(open_rows).to(logits.device)].cpu().numpy()
    for row, one in zip(open_rows.tolist(), whole, strict=True):
        picked[row] = _draw_of_whole(one, totals[row : row + 1], chances.row(row))
    return [int(id) for id in picked]


def _likeliest(logits: torch.Tensor, chances: Chances) -> tuple[Floats, Ids, Floats]:
    """Logits and ids of the few likeliest in each row, in order, and the row's sum of weights (the likeliest has 1)."""
    few = min(_FEW, logits.shape[1])
    values, ids = torch.topk(logits, few)
    if ((chances.top_k == 0) | (chances.top_k > few)).any():
        temperature = torch.from_numpy(chances.temperature.astype(np.float32)).to(logits.device)
        scaled = (logits - values[:, :1]).div_(temperature[:, None])
        totals = 1 / torch.softmax(scaled, dim=-1).amax(dim=-1, keepdim=True)
    else:
        totals = torch.zeros_like(values[:, :1])
    packed = torch.cat([values.double(), ids.double(), totals.double()], dim=1).cpu().numpy()
    sorted_values, sorted_ids = _in_order(packed[:, :few].astype(np.float32), packed[:, few:-1].astype(np.int64))
    return sorted_values, sorted_ids, packed[:, -1]


def _in_order(values: npt.NDArray[np.float32], ids: Ids) -> tuple[Floats, Ids]:
    """The largest value first, equal ones by id: as one integer each, which sort faster than pairs."""
    bits = (values + np.float32(0)).view(np.int32)
    falling = np.where(bits < 0, bits, bits ^ 0x7FFFFFFF).view(np.uint32)
    keys = np.sort((falling.astype(np.uint64) << np.uint64(32)) | ids.astype(np.uint64), axis=-1)
    sorted_falling = (keys >> np.uint64(32)).astype(np.uint32).view(np.int32)
    sorted_bits = np.where(sorted_falling < 0, sorted_falling, sorted_falling ^ 0x7FFFFFFF)
    return sorted_bits.view(np.float32).astype(np.float64), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _places(values: Floats, totals: Floats, chances: Chances) -> tuple[Ids, npt.NDArray[np.bool_]]:
    """The drawn place in each row's order, and whether tokens behind the known ones could not have changed it."""
    rows, known = np.arange(len(values)), values.shape[1]
    weights = np.exp((values - values[:, :1]) / chances.temperature[:, None])
    sums = np.cumsum(weights, axis=1)
    cut = (chances.top_k > 0) & (chances.top_k <= known)
    first = np.where(cut, chances.top_k, known)
    totals = np.where(cut, sums[rows, first - 1], totals)
    nucleus = np.where(chances.top_p < 1, _count(sums - weights < (chances.top_p * totals)[:, None]), known)
    near = _count(weights >= chances.min_p[:, None])
    kept = np.maximum(np.minimum(np.minimum(first, nucleus), near), 1)
    free = (chances.top_k == 0) & (chances.top_p >= 1) & (chances.min_p <= 0)
    mass = np.where(free, totals, sums[rows, kept - 1])
    places = np.minimum(_count(sums <= (chances.uniform * mass)[:, None]), kept - 1)
    # The last place that counts must stand above all that is not known; an equal one could have come before it.
    reach = np.where(free, places, kept - 1)
    settled = (values[rows, reach] > values[:, -1]) & (cut | (chances.top_k == 0))
    return places, settled


def _draw_of_whole(logits: npt.NDArray[np.float32], total: Floats, chances: Chances) -> int:
    reachable = np.flatnonzero(logits >= _floor(logits, float(total[0]), chances))
    values, ids = _in_order(logits[None, reachable], reachable[None])
    places, _ = _places(values, total, chances)
    return int(ids[0, places[0]])


def _floor(logits: npt.NDArray[np.float32], total: float, chances: Chances) -> np.float32:
    """A logit under which nothing is drawn from.

    Tokens that weigh less than `rest * total / size` weigh less than `rest * total` together, so those above it hold
    more than the rest of the mass. Halved, for the rounding of sums.
    """
    size, top_k = len(logits), int(chances.top_k[0])
    if top_k:
        kth = size - min(top_k, size)
        return np.float32(np.partition(logits, kth)[kth])
    rest = 1 - min(float(chances.top_p[0]), 1.0)
    if not rest and not chances.min_p[0]:
        rest = 1 - float(chances.uniform[0])
    weight = max(0.5 * rest * total / size, 0.5 * float(chances.min_p[0]))
    if weight <= 0 or not np.isfinite(weight):
        return np.float32(-np.inf)
    return np.float32(logits.max() + chances.temperature[0] * np.log(weight))


def _count(true: npt.NDArray[np.bool_]) -> Ids:
    """Of rows in which nothing true follows what is false."""
    return np.asarray(true.sum(axis=1), dtype=np.int64)
