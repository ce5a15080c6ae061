"""What is changed in the logits before a token is drawn, gathered row by row and applied to all rows at once."""

import numpy as np
import numpy.typing as npt
import torch

from loquor_worker.sampling.tally import Counts, Ids

Bits = npt.NDArray[np.uint8]

# Where a logit is no number, or too large for arithmetic. What is barred is lower still.
_HIGHEST, _LOWEST = 1e30, -1e30
# What each byte of a mask adds to eight logits: several times faster than to fill by a mask of bits that look random.
_ADDED = torch.tensor([[0.0 if byte >> bit & 1 else -torch.inf for bit in range(8)] for byte in range(256)])


class Adjustments:
    """Of logits `[rows, vocabulary]`. Within one row and one kind, each id at most once."""

    def __init__(self, vocabulary_size: int) -> None:
        self._vocabulary_size = vocabulary_size
        self._penalties: list[tuple[Ids, float, Counts]] = []
        self._biases: list[tuple[Ids, npt.NDArray[np.float32]]] = []
        self._barred: list[Ids] = []
        self._masks: list[tuple[int, Bits]] = []

    def penalize(self, row: int, ids: Ids, repetition: float, off: Counts) -> None:
        """Divide positive logits by `repetition`, multiply others with it, then take `off` from them."""
        self._penalties.append((self._flat(row, ids), repetition, off))

    def bias(self, row: int, ids: Ids, values: npt.NDArray[np.float32]) -> None:
        self._biases.append((self._flat(row, ids), values))

    def bar(self, row: int, ids: Ids) -> None:
        self._barred.append(self._flat(row, ids))

    def mask(self, row: int, allowed: Bits) -> None:
        """Bar what has no bit; the lowest bit of a byte first."""
        self._masks.append((row, allowed))

    def apply(self, logits: torch.Tensor) -> None:
        """In place. Where anything is changed, nothing is NaN any more, and only what is barred is infinite."""
        flat = logits.view(-1)
        if self._penalties:
            self._apply_penalties(flat)
        if self._biases:
            index = _moved(np.concatenate([ids for ids, _ in self._biases]), logits)
            flat[index] += _moved(np.concatenate([values for _, values in self._biases]), logits)
        logits.nan_to_num_(nan=_LOWEST, posinf=_HIGHEST, neginf=_LOWEST).clamp_(_LOWEST, _HIGHEST)
        if self._barred:
            flat[_moved(np.concatenate(self._barred), logits)] = -torch.inf
        if self._masks:
            self._apply_masks(logits)

    def _apply_penalties(self, flat: torch.Tensor) -> None:
        index = _moved(np.concatenate([ids for ids, _, _ in self._penalties]), flat)
        repetitions = [np.full(len(ids), repetition, np.float32) for ids, repetition, _ in self._penalties]
        repetition = _moved(np.concatenate(repetitions), flat)
        off = _moved(np.concatenate([off for _, _, off in self._penalties]), flat)
        values = flat[index]
        flat[index] = torch.where(values > 0, values / repetition, values * repetition) - off

    def _apply_masks(self, logits: torch.Tensor) -> None:
        rows = torch.tensor([row for row, _ in self._masks], device=logits.device)
        bits = np.stack([allowed for _, allowed in self._masks])
        off = _ADDED.to(logits.device).index_select(0, _moved(bits, logits).int().view(-1))
        logits.index_add_(0, rows, off.view(len(rows), -1)[:, : self._vocabulary_size])

    def _flat(self, row: int, ids: Ids) -> Ids:
        return ids + row * self._vocabulary_size


def _moved(values: npt.NDArray[np.generic], beside: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(values).to(beside.device, non_blocking=True)
