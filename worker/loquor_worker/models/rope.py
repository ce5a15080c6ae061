"""How fast the elements of a head turn with the position, and how families stretch that to longer texts.

It knows no row and no file. Frequencies are computed in float32, step by step as where the models were trained.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Stretch(Protocol):
    """Makes frequencies for texts longer than those that a model was first trained on."""

    @property
    def amplitude(self) -> float:
        """What sine and cosine are multiplied by."""
        ...

    def of(self, plain: Tensor, rope: "Rope", longest: int) -> Tensor:
        """The frequencies in place of the plain ones, for sequences of up to `longest` tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Rope:
    """The first `size` elements of a head turn, each of their first half with one of their second (RoFormer, 3.2.2)."""

    base: float
    size: int
    stretch: Stretch | None = None

    def frequencies(self, longest: int) -> Tensor:
        """Radians a token, [size / 2]."""
        plain = 1.0 / self.base ** (torch.arange(0, self.size, 2, dtype=torch.float32) / self.size)
        return plain if self.stretch is None else self.stretch.of(plain, self, longest)

    @property
    def amplitude(self) -> float:
        return 1.0 if self.stretch is None else self.stretch.amplitude


@dataclass(frozen=True, slots=True)
class LinearStretch:
    """Positions are divided by `factor` (Chen et al. 2023)."""

    factor: float

    @property
    def amplitude(self) -> float:
        return 1.0

    def of(self, plain: Tensor, rope: Rope, longest: int) -> Tensor:
        return plain / self.factor


@dataclass(frozen=True, slots=True)
class BandStretch:
    """As Llama 3.1: what turns slowly over `trained` tokens is slowed down, what turns fast is not.

    `low` and `high` are in turns over those tokens; between them the one goes over into the other.
    """

    factor: float
    low: float
    high: float
    trained: int

    @property
    def amplitude(self) -> float:
        return 1.0

    def of(self, plain: Tensor, rope: Rope, longest: int) -> Tensor:
        turns = self.trained / (2 * math.pi / plain)
        kept = ((turns - self.low) / (self.high - self.low)).clamp(0, 1)
        return (1 - kept) * plain / self.factor + kept * plain


@dataclass(frozen=True, slots=True)
class YarnStretch:
    """YaRN (Peng et al. 2023), sections 3.2 and 3.4. `fast` and `slow` are in turns over the `trained` tokens."""

    factor: float
    amplitude: float
    fast: float
    slow: float
    trained: int
    whole: bool

    def of(self, plain: Tensor, rope: Rope, longest: int) -> Tensor:
        low, high = self._bounds(rope)
        kept = 1 - ((torch.arange(len(plain), dtype=torch.float32) - low) / (high - low)).clamp(0, 1)
        return plain / self.factor * (1 - kept) + plain * kept

    def _bounds(self, rope: Rope) -> tuple[float, float]:
        """The elements between which kept frequencies go over into slowed ones."""
        low, high = self._element(self.fast, rope), self._element(self.slow, rope)
        if self.whole:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, rope.size - 1)
        # A step where both are the same would divide by nothing.
        return low, high + 0.001 if low == high else high

    def _element(self, turns: float, rope: Rope) -> float:
        """The one that makes so many turns over the trained tokens."""
        return rope.size * math.log(self.trained / (turns * 2 * math.pi)) / (2 * math.log(rope.base))


@dataclass(frozen=True, slots=True)
class LongStretch:
    """LongRoPE (Ding et al. 2024): a divisor for each frequency, from one list up to `trained` tokens, else another.

    All sequences of a model have the same list, by the longest that is served, because the keys of a sequence must not
    change while it grows.
    """

    short: tuple[float, ...]
    long: tuple[float, ...]
    trained: int
    amplitude: float

    def of(self, plain: Tensor, rope: Rope, longest: int) -> Tensor:
        return plain / torch.tensor(self.long if longest > self.trained else self.short)
