"""How weights are encoded in GGUF: plain numbers, or blocks of small numbers with scales. All of them become float32.

The only place that knows the library `gguf`, which the extra `convert` brings: it decodes them, and knows their sizes.
"""

from dataclasses import dataclass
from typing import Any

from loquor_worker.importing.errors import ConversionFailed


@dataclass(frozen=True, slots=True)
class Encoding:
    """One of llama.cpp's types of tensors. A row is a whole number of blocks."""

    number: int
    name: str
    block_elements: int
    block_bytes: int


def encoding(number: int) -> Encoding | None:
    """The encoding with this number, if the library knows it. Raises `ConversionFailed` without the library."""
    constants = _library("constants")
    try:
        kind = constants.GGMLQuantizationType(number)
    except ValueError:
        return None
    elements, size = constants.GGML_QUANT_SIZES[kind]
    return Encoding(number, kind.name, elements, size)


def decoded(raw: Any, kind: Encoding) -> Any:
    """The float32 values of a whole number of blocks, given as one row of bytes.

    Raises `NotImplementedError` for what is no encoding of weights.
    """
    quants, number = _library("quants"), _library("constants").GGMLQuantizationType(kind.number)
    # As one row, because the library decodes so many rows at once that short ones would take it ten times as long.
    return quants.dequantize(raw.reshape(1, -1), number).reshape(-1)


def _library(part: str) -> Any:
    try:
        import gguf
    except ImportError:
        raise ConversionFailed("GGUF files are read with: pip install 'loquor[convert]'") from None
    return getattr(gguf, part)
