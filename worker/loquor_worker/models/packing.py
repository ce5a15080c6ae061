"""How the sequences of a batch lie end to end in one tensor of rows, without padding.

It knows lengths only. Sequences come in order of length, so that those of one length stand together and can be run as
one dense block.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Run:
    """Neighbouring sequences of one length."""

    start: int
    count: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.count * self.length


@dataclass(frozen=True)
class Packing:
    """Lengths in tokens, ascending, each at least 1."""

    lengths: tuple[int, ...]

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """The row where each sequence starts, and the number of rows at the end."""
        return tuple(accumulate(self.lengths, initial=0))

    @property
    def total(self) -> int:
        return self.offsets[-1]

    @property
    def longest(self) -> int:
        return self.lengths[-1]

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        return tuple(self._runs())

    def _runs(self) -> Iterator[Run]:
        start = 0
        for length, group in groupby(self.lengths):
            run = Run(start, sum(1 for _ in group), length)
            yield run
            start = run.end

    def positions(self) -> npt.NDArray[np.int64]:
        """For each row its place in its sequence, from 0."""
        starts = np.repeat(np.array(self.offsets[:-1], dtype=np.int64), self.lengths)
        return np.arange(self.total, dtype=np.int64) - starts
