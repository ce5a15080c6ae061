"""What a tensor model takes or gives under one name, and the check of a tensor that a caller sent against it.

It knows the wire's tensors and torch's types, and no program.
"""

import math
from dataclasses import dataclass

import torch

from loquor.v1 import tensor_service_pb2 as wire
from loquor_worker.engines import InvalidSubmission

DATA_TYPES = {
    torch.bool: wire.DATA_TYPE_BOOL,
    torch.uint8: wire.DATA_TYPE_UINT8,
    torch.int8: wire.DATA_TYPE_INT8,
    torch.int16: wire.DATA_TYPE_INT16,
    torch.int32: wire.DATA_TYPE_INT32,
    torch.int64: wire.DATA_TYPE_INT64,
    torch.float16: wire.DATA_TYPE_FLOAT16,
    torch.bfloat16: wire.DATA_TYPE_BFLOAT16,
    torch.float32: wire.DATA_TYPE_FLOAT32,
    torch.float64: wire.DATA_TYPE_FLOAT64,
}
ANY_SIZE = -1


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis: a fixed size, or any from `low` to `high`. Axes of one symbol have the same size in a request."""

    size: int = ANY_SIZE
    symbol: str = ""
    low: int = 0
    high: int | None = None

    def takes(self, size: int) -> bool:
        if self.size != ANY_SIZE:
            return size == self.size
        return size >= self.low and (self.high is None or size <= self.high)

    def __str__(self) -> str:
        if self.size != ANY_SIZE:
            return str(self.size)
        return f"{self.low} or more" if self.high is None else f"{self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class Signature:
    """One input or output. The first axis is the batch."""

    name: str
    dtype: torch.dtype
    axes: tuple[Axis, ...]

    @property
    def message(self) -> wire.TensorSignature:
        return wire.TensorSignature(
            name=self.name, data_type=DATA_TYPES[self.dtype], shape=[axis.size for axis in self.axes]
        )

    def check(self, tensor: wire.Tensor) -> None:
        """Raise `InvalidSubmission` unless the tensor is of this type and shape and as long as both say."""
        if tensor.data_type != DATA_TYPES[self.dtype]:
            raise self._refuse("its type is", _name(tensor.data_type), _name(DATA_TYPES[self.dtype]))
        if len(tensor.shape) != len(self.axes):
            raise self._refuse("its rank is", len(tensor.shape), len(self.axes))
        for place, (axis, size) in enumerate(zip(self.axes, tensor.shape, strict=True)):
            if not axis.takes(size):
                raise self._refuse(f"the size of axis {place} is", size, axis)
        expected = math.prod(tensor.shape) * self.dtype.itemsize
        if len(tensor.data) != expected:
            raise self._refuse(f"a tensor of shape {list(tensor.shape)} has bytes", len(tensor.data), expected)

    def sizes(self, tensor: wire.Tensor) -> dict[str, int]:
        """The size that each symbol has in a checked tensor; raises `InvalidSubmission` if it has two."""
        sizes: dict[str, int] = {}
        for axis, size in zip(self.axes, tensor.shape, strict=True):
            if axis.symbol and sizes.setdefault(axis.symbol, size) != size:
                raise self._refuse("an axis is", size, f"{sizes[axis.symbol]}, as another one of its own")
        return sizes

    def _refuse(self, what: str, got: object, expected: object) -> InvalidSubmission:
        return InvalidSubmission(f"inputs[{self.name}]: {what} {got}, expected {expected}")


def _name(data_type: int) -> str:
    try:
        return wire.DataType.Name(data_type).removeprefix("DATA_TYPE_")
    except ValueError:
        return str(data_type)


def joined(signature: Signature, parts: list[wire.Tensor], device: torch.device) -> torch.Tensor:
    """The rows of several checked tensors in one that owns its memory. Their other axes are of one size."""
    shape = [sum(part.shape[0] for part in parts), *parts[0].shape[1:]]
    data = bytearray().join([part.data for part in parts])
    if not data:
        return torch.empty(shape, dtype=signature.dtype, device=device)
    tensor = torch.frombuffer(data, dtype=torch.uint8)
    # Any byte but 0 is true; torch knows 1 alone.
    tensor = tensor.ne(0) if signature.dtype is torch.bool else tensor.view(signature.dtype)
    return tensor.view(shape).to(device)


def parted(name: str, tensor: torch.Tensor, rows: list[int]) -> list[wire.Tensor]:
    """A tensor's rows given back in pieces of so many."""
    data_type, tail = DATA_TYPES[tensor.dtype], tensor.shape[1:]
    width = math.prod(tail) * tensor.dtype.itemsize
    flat = tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy() if tensor.numel() else b""
    pieces, start = [], 0
    for count in rows:
        end = start + count * width
        pieces.append(wire.Tensor(name=name, data_type=data_type, shape=[count, *tail], data=bytes(flat[start:end])))
        start = end
    return pieces
