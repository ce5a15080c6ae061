"""The header of a safetensors file, checked without reading a weight.

Format: 8 bytes of length (little-endian), so many bytes of JSON, then the data. Every tensor names its dtype, shape and
place in the data; the places follow one another without gap or overlap and end where the file ends. It knows no model
and returns nothing: it only says whether the file is whole.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any

_MAX_HEADER_BYTES = 100_000_000
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip


class HeaderError(ValueError):
    """The file is no whole safetensors file. The text says where it goes wrong; the caller knows the file's name."""


def check_header(path: Path) -> None:
    """Raise `HeaderError` unless the header is well formed and agrees with the file's size."""
    size = path.stat().st_size
    header, data_bytes = _read(path, size)
    end = 0
    for name, begin, stop in sorted(_places(header), key=lambda place: place[1:]):
        if begin != end:
            raise HeaderError(f"tensor {name[:200]!r} begins at {begin} of the data, not at {end}")
        end = stop
    if end != data_bytes:
        raise HeaderError(f"its tensors take {end} bytes of data, the file holds {data_bytes}: cut short or damaged")


def _read(path: Path, size: int) -> tuple[dict[str, Any], int]:
    with path.open("rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            raise HeaderError(f"{size} bytes are too few for a safetensors file")
        (length,) = struct.unpack("<Q", prefix)
        if length > min(size - 8, _MAX_HEADER_BYTES):
            raise HeaderError(f"its header claims {length} bytes of a file of {size}")
        raw = file.read(length)
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    except HeaderError:
        raise
    except (ValueError, RecursionError):
        raise HeaderError("its header is not JSON") from None
    if not isinstance(header, dict):
        raise HeaderError("its header is not an object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise HeaderError("its metadata is not an object of texts")
    return header, size - 8 - length


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise HeaderError("its header names something twice")
    return entries


def _places(header: dict[str, Any]) -> list[tuple[str, int, int]]:
    return [(name, *_place(name, entry)) for name, entry in header.items()]


def _place(name: str, entry: Any) -> tuple[int, int]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise HeaderError(f"tensor {name[:200]!r} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise HeaderError(f"tensor {name[:200]!r} has the unknown dtype {str(dtype)[:40]!r}")
    if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise HeaderError(f"tensor {name[:200]!r} has a malformed shape or data_offsets")
    begin, end = offsets
    if end - begin != math.prod(shape) * _BITS[dtype] // 8:
        raise HeaderError(f"tensor {name[:200]!r} takes {end - begin} bytes, which is not what its shape takes")
    return begin, end


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 63 for value in values)
