"""What one input or output of a model is, in the protocol's terms. It knows no models."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorKind:
    """`dims` is without the batch where there is one, and -1 where any size will do."""

    name: str
    datatype: str
    dims: tuple[int, ...] = ()
    optional: bool = False
    labelled: bool = False
    batched: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        return (-1, *self.dims) if self.batched else self.dims


@dataclass(frozen=True, slots=True)
class Signature:
    inputs: tuple[TensorKind, ...]
    outputs: tuple[TensorKind, ...]
