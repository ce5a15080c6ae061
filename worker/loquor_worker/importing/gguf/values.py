"""The values of a file's tensors: read and decoded a piece at a time, so that no tensor has to fit into memory.

It knows neither architectures nor what the values are for.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loquor_worker.importing.gguf.encodings import decoded
from loquor_worker.importing.gguf.header import TensorInfo
from loquor_worker.importing.gguf.refusal import refused, shown

# Decoded values of one piece: a megabyte, which stays in a core's cache while it is worked on.
_PIECE_ELEMENTS = 1 << 18


def read_floats(file: Path, info: TensorInfo) -> list[float]:
    """All values of a small tensor."""
    return [float(value) for piece in pieces(file, info) for value in piece]


def pieces(file: Path, info: TensorInfo) -> Iterator[Any]:
    """The values in order, as one-dimensional arrays of float32."""
    blocks = info.elements // info.encoding.block_elements
    step = max(1, _PIECE_ELEMENTS // info.encoding.block_elements)
    raw = _raw(file, info, blocks)
    for begin in range(0, blocks, step):
        yield _decoded(file, info, raw[begin : begin + step])


def reordered_pieces(file: Path, info: TensorInfo, order: Any) -> Iterator[Any]:
    """The same with the rows, or the elements of a vector, in the order of the given indices."""
    raw = _raw(file, info, len(order))
    step = max(1, _PIECE_ELEMENTS * len(order) // info.elements)
    for begin in range(0, len(order), step):
        yield _decoded(file, info, raw[order[begin : begin + step]])


def _raw(file: Path, info: TensorInfo, rows: int) -> Any:
    """The bytes of the tensor, in so many equal rows. None is read before it is asked for; the file never changes."""
    import numpy as np

    return np.memmap(file, np.uint8, "c", info.begin, (rows, info.size_bytes // rows))


def _decoded(file: Path, info: TensorInfo, raw: Any) -> Any:
    try:
        return decoded(raw, info.encoding)
    except NotImplementedError:
        raise refused(file, f"tensor {shown(info.name)}", f"{info.encoding.name} is no encoding of weights") from None
