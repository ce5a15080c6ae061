"""Log-probabilities of the model's own distribution, for the rows that ask for them.

Made before the logits are changed for the draw, and read after it, when the picked ids are known.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from loquor_worker.generation.step import TokenLogprob


class Logprobs:
    """`asked` says for which rows of the logits, with how many alternatives each."""

    def __init__(self, logits: torch.Tensor, asked: Mapping[int, int]) -> None:
        self._rows, self._alternatives = list(asked), list(asked.values())
        index = torch.tensor(self._rows, device=logits.device)
        self._all = torch.log_softmax(logits[index].nan_to_num_(nan=-1e30, posinf=1e30, neginf=-1e30), dim=-1)
        self._values, self._ids = torch.topk(self._all, min(max(self._alternatives), logits.shape[1]))

    def of(self, picked: Sequence[int]) -> dict[int, TokenLogprob]:
        """By row, for the id that was picked in each row of the logits."""
        chosen = torch.tensor([[picked[row]] for row in self._rows], device=self._all.device)
        parts = [self._all.gather(1, chosen).double(), self._values.double(), self._ids.double()]
        packed = torch.cat(parts, dim=1).cpu().numpy()
        most = self._ids.shape[1]
        return {
            row: _logprob(float(values[0]), values[1 : 1 + most], values[1 + most :].astype(np.int64), alternatives)
            for row, values, alternatives in zip(self._rows, packed, self._alternatives, strict=True)
        }


def _logprob(chosen: float, values: np.ndarray, ids: np.ndarray, alternatives: int) -> TokenLogprob:
    order = np.lexsort((ids, -values))[:alternatives]
    return TokenLogprob(chosen, ids[order].tolist(), values[order].tolist())
