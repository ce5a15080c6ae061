"""What each tensor of a file becomes: its Hugging Face name, its shape, and what is done to its values on the way.

It reads no values.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loquor_worker.importing.gguf.architectures import Architecture, Configuration
from loquor_worker.importing.gguf.header import Header, TensorInfo
from loquor_worker.importing.gguf.refusal import refused, shown
from loquor_worker.importing.gguf.values import pieces, reordered_pieces

# A transposed matrix is held in memory whole.
_MAX_TRANSPOSED_ELEMENTS = 1 << 28
_NAME = re.compile(r"(?:blk\.(\d{1,4})\.)?([a-z0-9_]+)\.(weight|bias)")


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of the version. `read` gives its values in order, as arrays of float32."""

    source: TensorInfo
    name: str
    shape: tuple[int, ...]
    read: Callable[[Path], Iterator[Any]]


def weights_of(header: Header, architecture: Architecture, config: Configuration) -> Iterator[Weight]:
    """All weights, in the order of the file. Raises `ConversionFailed` for a tensor that has no place in the model."""
    layers = int(config.get("num_hidden_layers") or config["n_layer"])
    for info in header.tensors.values():
        if info.name not in architecture.settings:
            yield _weight(header.file, info, architecture, config, layers)


def _weight(file: Path, info: TensorInfo, architecture: Architecture, config: Configuration, layers: int) -> Weight:
    match = _NAME.fullmatch(info.name)
    layer, stem, suffix = match.groups() if match else (None, "", "")
    generic = stem if layer is None else f"blk.{{layer}}.{stem}"
    theirs = architecture.stems.get(generic)
    if theirs is None or int(layer or 0) >= layers:
        raise refused(file, f"tensor {shown(info.name)}", f"has no place in a {architecture.name} of {layers} layers")
    name = f"{theirs.format(layer=int(layer or 0))}.{suffix}"
    if generic in architecture.rotary_rows:
        return Weight(info, name, info.shape, _rotary(file, info, config[architecture.rotary_rows[generic]]))
    if generic in architecture.transposed and len(info.shape) == 2:
        return Weight(info, name, info.shape[::-1], _transposed(file, info))
    if architecture.norms_from_one and stem.endswith("norm"):
        return Weight(info, name, info.shape, lambda path: (piece - 1 for piece in pieces(path, info)))
    return Weight(info, name, info.shape, lambda path: pieces(path, info))


def _rotary(file: Path, info: TensorInfo, heads: int) -> Callable[[Path], Iterator[Any]]:
    """llama.cpp rotates neighbours, Hugging Face's models the first half of a head with the second."""
    rows = info.shape[0]
    if rows % (2 * heads) or (len(info.shape) == 1 and info.encoding.block_elements > 1):
        raise refused(file, f"tensor {shown(info.name)}", f"its {rows} rows are not pairs of {heads} heads")

    def read(path: Path) -> Iterator[Any]:
        import numpy as np

        order = np.arange(rows).reshape(heads, rows // heads // 2, 2).swapaxes(1, 2).reshape(-1)
        return reordered_pieces(path, info, order)

    return read


def _transposed(file: Path, info: TensorInfo) -> Callable[[Path], Iterator[Any]]:
    if info.elements > _MAX_TRANSPOSED_ELEMENTS:
        raise refused(file, f"tensor {shown(info.name)}", f"has more than {_MAX_TRANSPOSED_ELEMENTS} elements")

    def read(path: Path) -> Iterator[Any]:
        import numpy as np

        matrix = np.concatenate(list(pieces(path, info))).reshape(info.shape)
        yield np.ascontiguousarray(matrix.T).reshape(-1)

    return read
