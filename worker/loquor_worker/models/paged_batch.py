"""Which rows of a step belong to which sequence, and where the keys and values before them lie.

It knows sizes and places only: no tensor, no weight, no cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class PagedBatch:
    """Sequence i runs `lengths[i]` rows, the first of them at position `starts[i]`, and has its tokens in `tables[i]`.

    The rows of the step are those of the sequences end to end. A table lists the numbers of a sequence's blocks, each
    of `block_tokens` tokens, with room for the rows of this step.
    """

    lengths: Sequence[int]
    starts: Sequence[int]
    tables: Sequence[Sequence[int]]
    block_tokens: int

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The row where each sequence starts, and the number of rows at the end."""
        return (0, *np.cumsum(self.lengths).tolist())

    @cached_property
    def totals(self) -> tuple[int, ...]:
        """Tokens of each sequence, those of this step included."""
        return tuple(start + length for start, length in zip(self.starts, self.lengths, strict=True))

    @property
    def longest(self) -> int:
        """The most rows of a sequence."""
        return max(self.lengths)

    def positions(self) -> npt.NDArray[np.int64]:
        """For each row its place in its sequence, from 0."""
        return np.concatenate(
            [np.arange(start, total, dtype=np.int64) for start, total in zip(self.starts, self.totals, strict=True)]
        )

    def slots(self) -> npt.NDArray[np.int64]:
        """For each row the slot of the cache that takes its key and value."""
        size = self.block_tokens
        parts = []
        for table, start, total in zip(self.tables, self.starts, self.totals, strict=True):
            if total - start == 1:
                parts.append(np.array([table[start // size] * size + start % size], dtype=np.int64))
            else:
                places = np.arange(start, total, dtype=np.int64)
                parts.append(np.asarray(table, dtype=np.int64)[places // size] * size + places % size)
        return np.concatenate(parts)

    def blocks_of(self, sequence: int) -> Sequence[int]:
        """The blocks that hold its tokens, without those that are room for later."""
        return self.tables[sequence][: -(-self.totals[sequence] // self.block_tokens)]
