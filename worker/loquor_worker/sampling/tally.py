"""Which tokens a text holds and how often each was written, kept up as the text grows."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
Counts = npt.NDArray[np.float32]

_ROOM = 64


class Tally:
    """A token of the prompt is known with a count of 0 until it is written."""

    def __init__(self, prompt: Iterable[int] = ()) -> None:
        known = np.unique(np.fromiter(prompt, dtype=np.int64))
        self._places = {id: place for place, id in enumerate(known.tolist())}
        self._ids = np.concatenate([known, np.zeros(_ROOM, np.int64)])
        self._counts = np.zeros(len(self._ids), np.float32)

    def write(self, ids: Iterable[int]) -> None:
        for id in ids:
            place = self._places.setdefault(id, len(self._places))
            if place == len(self._ids):
                self._grow()
            self._ids[place] = id
            self._counts[place] += 1

    def after(self, guesses: Sequence[int]) -> tuple[Ids, Counts]:
        """The known ids, each once, and their counts, as if the guesses were written. To be read only."""
        known = len(self._places)
        ids, counts = self._ids[:known], self._counts[:known]
        if not guesses:
            return ids, counts
        counts, new = counts.copy(), Counter[int]()
        for id in guesses:
            if id in self._places:
                counts[self._places[id]] += 1
            else:
                new[id] += 1
        added = np.fromiter(new.values(), dtype=np.float32)
        return np.concatenate([ids, np.fromiter(new, dtype=np.int64)]), np.concatenate([counts, added])

    def _grow(self) -> None:
        self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
        self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
