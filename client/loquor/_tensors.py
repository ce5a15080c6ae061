"""Tensors as values: bytes with a data type and a shape. Made from whatever offers the buffer protocol.

NumPy is neither needed nor imported; `numpy.asarray(tensor)` shares the tensor's memory.
"""

import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import prod
from typing import Any

from loquor._types import Timings


class DataType(Enum):
    """The value is the size of an element in bytes, and its code in `struct`; None where Python has none."""

    BOOL = (1, "?")
    UINT8 = (1, "B")
    INT8 = (1, "b")
    INT16 = (2, "h")
    INT32 = (4, "i")
    INT64 = (8, "q")
    FLOAT16 = (2, "e")
    BFLOAT16 = (2, None)
    FLOAT32 = (4, "f")
    FLOAT64 = (8, "d")

    @property
    def bytes_per_element(self) -> int:
        size: int = self.value[0]
        return size

    @property
    def struct_code(self) -> str | None:
        code: str | None = self.value[1]
        return code


_SIGNED = {1: DataType.INT8, 2: DataType.INT16, 4: DataType.INT32, 8: DataType.INT64}
_BY_CODE = {kind.struct_code: kind for kind in DataType if kind.struct_code}
_NUMPY_KINDS = {"?": "b", "B": "u", "e": "f", "f": "f", "d": "f"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """`data` holds the elements in row-major order, little-endian, without padding; a BOOL takes one byte."""

    data_type: DataType
    shape: tuple[int, ...]
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if any(size < 0 for size in self.shape):
            raise ValueError(f"shape: {self.shape} has a negative size")
        wanted = prod(self.shape) * self.data_type.bytes_per_element
        if len(self.data) != wanted:
            raise ValueError(
                f"data: {self.data_type.name} of shape {self.shape} takes {wanted} bytes, not {len(self.data)}"
            )

    @classmethod
    def of(cls, value: Any) -> "Tensor":
        """Copies an array that offers the buffer protocol, such as NumPy's. Raises `TypeError`."""
        if isinstance(value, Tensor):
            return value
        try:
            view = memoryview(value)
        except (TypeError, ValueError, BufferError):
            raise TypeError(f"{type(value).__name__} offers no buffer; give a loquor.Tensor or a NumPy array") from None
        return cls(_data_type(view), tuple(view.shape or ()), view.tobytes(order="C"))

    def flat(self) -> tuple[Any, ...]:
        """The elements as Python numbers, in row-major order. BFLOAT16 raises `TypeError`."""
        return struct.unpack(f"<{prod(self.shape)}{self._code()}", self.data)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        kind = _NUMPY_KINDS.get(self._code(), "i")
        typestr = f"<{kind}{self.data_type.bytes_per_element}"
        return {"version": 3, "shape": self.shape, "typestr": typestr, "data": self.data}

    def _code(self) -> str:
        if self.data_type.struct_code is None:
            raise TypeError(f"Python has no numbers of type {self.data_type.name}; read `data`")
        return self.data_type.struct_code


@dataclass(frozen=True, slots=True)
class InferResult(Mapping[str, Tensor]):
    """The outputs by name."""

    model: str
    version: int
    outputs: dict[str, Tensor]
    timings: Timings
    request_id: str

    def __getitem__(self, name: str) -> Tensor:
        return self.outputs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)


def _data_type(view: "memoryview[Any]") -> DataType:
    order, code = (view.format[0], view.format[1:]) if view.format[0] in "@=<>!" else ("@", view.format)
    swapped = order in (">!" if sys.byteorder == "little" else "<") and view.itemsize > 1
    # The C types `l` and `q` differ by platform, their sizes do not.
    found = _SIGNED.get(view.itemsize) if code in ("l", "q", "i", "n") else _BY_CODE.get(code)
    if found is None or swapped or sys.byteorder != "little":
        raise TypeError(f"a buffer of format {view.format!r} is no little-endian tensor type of Loquor")
    return found
