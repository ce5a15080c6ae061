"""The classification extension: in place of an output's numbers, its best elements as "value:index:label".

It knows numbers and labels, not where they come from.
"""

import heapq
import math
import struct
from collections.abc import Sequence

from loquor_server.errors import InvalidArgument
from loquor_server.open_inference.tensors import BYTES, OutputTensor, join_bytes

_CODES = {
    "UINT8": "B",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}


def classified(output: OutputTensor, count: int, labels: Sequence[str]) -> OutputTensor:
    """The `count` best elements of each row, best first; all of them if the row has fewer.

    Raises `InvalidArgument` if the output holds no numbers.
    """
    rows = output.shape[0]
    width = math.prod(output.shape[1:])
    values = _numbers(output)
    best = [
        element
        for row in range(rows)
        for element in _best(values[row * width : (row + 1) * width], min(count, width), labels)
    ]
    return OutputTensor(output.name, BYTES, (rows, min(count, width)), join_bytes(best))


def _best(row: Sequence[float], count: int, labels: Sequence[str]) -> list[bytes]:
    indices = heapq.nlargest(count, range(len(row)), key=lambda index: _rank(row[index]))
    return [_element(row[index], index, labels) for index in indices]


def _rank(value: float) -> float:
    """NaN ranks last."""
    return -math.inf if math.isnan(value) else value


def _element(value: float, index: int, labels: Sequence[str]) -> bytes:
    number = f"{value:f}" if isinstance(value, float) else str(value)
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{number}:{index}{label}".encode()


def _numbers(output: OutputTensor) -> Sequence[float]:
    if output.datatype == "BF16":
        return _unpacked("f", _widened(output.data))
    if output.datatype not in _CODES:
        raise InvalidArgument(f"outputs[{output.name!r}]", f"of type {output.datatype} cannot be classified")
    return _unpacked(_CODES[output.datatype], output.data)


def _widened(data: bytes) -> bytes:
    """BF16 to FP32, of which it is the upper half."""
    wide = bytearray(2 * len(data))
    wide[2::4] = data[0::2]
    wide[3::4] = data[1::2]
    return bytes(wide)


def _unpacked(code: str, data: bytes) -> Sequence[float]:
    return struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data)
