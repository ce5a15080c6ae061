"""Tensors as the Open Inference Protocol writes them: datatypes, the raw form of BYTES, typed contents to raw ones.

Everything inside is raw: little-endian, row by row. It knows no models and checks no shapes.
"""

import struct
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from loquor.v1.tensor_service_pb2 import DataType
from loquor_server import errors
from loquor_server.inference import open_inference_pb2 as oip

BOOL = "BOOL"
BYTES = "BYTES"
FP32 = "FP32"
INT32 = "INT32"
UINT32 = "UINT32"
UINT64 = "UINT64"

_LENGTH_BYTES = 4

DATA_TYPES = {
    "BOOL": DataType.DATA_TYPE_BOOL,
    "UINT8": DataType.DATA_TYPE_UINT8,
    "INT8": DataType.DATA_TYPE_INT8,
    "INT16": DataType.DATA_TYPE_INT16,
    "INT32": DataType.DATA_TYPE_INT32,
    "INT64": DataType.DATA_TYPE_INT64,
    "FP16": DataType.DATA_TYPE_FLOAT16,
    "BF16": DataType.DATA_TYPE_BFLOAT16,
    "FP32": DataType.DATA_TYPE_FLOAT32,
    "FP64": DataType.DATA_TYPE_FLOAT64,
}
DATATYPE_NAMES = {data_type: name for name, data_type in DATA_TYPES.items()}

# The field of `InferTensorContents` for each datatype, and the machine's type of one element.
_TYPED = {
    "BOOL": ("bool_contents", "B"),
    "UINT8": ("uint_contents", "B"),
    "UINT16": ("uint_contents", "H"),
    "UINT32": ("uint_contents", "I"),
    "UINT64": ("uint64_contents", "Q"),
    "INT8": ("int_contents", "b"),
    "INT16": ("int_contents", "h"),
    "INT32": ("int_contents", "i"),
    "INT64": ("int64_contents", "q"),
    "FP32": ("fp32_contents", "f"),
    "FP64": ("fp64_contents", "d"),
}


class OutputTensor(NamedTuple):
    """One output of one answer; `data` is raw and fits `shape`."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: bytes


def join_bytes(elements: Iterable[bytes]) -> bytes:
    """Elements of BYTES to their raw form: each with its length before it."""
    parts: list[bytes] = []
    for element in elements:
        parts.append(len(element).to_bytes(_LENGTH_BYTES, "little"))
        parts.append(element)
    return b"".join(parts)


def split_bytes(data: bytes, field: str, most: int | None = None) -> list[bytes]:
    """The elements of a raw BYTES tensor.

    Raises `InvalidArgument` with `field` if the lengths do not add up, or once there are more than `most`.
    """
    elements: list[bytes] = []
    at = 0
    while at < len(data):
        if len(elements) == most:
            raise errors.InvalidArgument(field, f"has more elements than the {most} that its shape needs")
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "little")
        if start > len(data) or at > len(data):
            raise errors.InvalidArgument(field, f"element {len(elements)} is longer than the raw data that is left")
        elements.append(data[start:at])
    return elements


def only_element(datatype: str, data: bytes, field: str) -> bytes | bool | int | float:
    """The element of a raw tensor that has one. Raises `InvalidArgument` with `field`."""
    if datatype == BYTES:
        elements = split_bytes(data, field, most=1)
        if elements:
            return elements[0]
    elif datatype in _TYPED:
        code = "?" if datatype == BOOL else _TYPED[datatype][1]
        if len(data) == struct.calcsize(code):
            element: bool | int | float = struct.unpack(f"<{code}", data)[0]
            return element
    raise errors.InvalidArgument(field, f"does not hold one element of type {datatype[:16]!r}")


def raw_data(tensor: oip.ModelInferRequest.InferInputTensor, field: str) -> bytes:
    """The typed contents of a tensor in raw form. Raises `InvalidArgument`."""
    if tensor.datatype == BYTES:
        return join_bytes(tensor.contents.bytes_contents)
    if tensor.datatype not in _TYPED:
        raise errors.InvalidArgument(
            field, f"tensors of type {tensor.datatype[:16]!r} have no typed contents; send them raw"
        )
    name, code = _TYPED[tensor.datatype]
    try:
        return array(code, getattr(tensor.contents, name)).tobytes()
    except OverflowError:
        raise errors.InvalidArgument(field, f"holds a number that is no {tensor.datatype}") from None
