"""Writing a safetensors file tensor by tensor, each in pieces: nothing of it has to be in memory at once.

Format: 8 bytes of length (little-endian), so many bytes of JSON, then the data. It knows no model.
"""

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

# By the format's names of types.
_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor to be written."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * _BYTES[self.dtype]


class SafetensorsWriter:
    """A file being written. `fill` must be called once for each of `entries`, in their order."""

    def __init__(self, file: BinaryIO, entries: list[Entry]) -> None:
        # Wide types first: then each tensor begins at a multiple of its type's size.
        self.entries = sorted(entries, key=lambda entry: -_BYTES[entry.dtype])
        self._file = file
        file.write(_header(self.entries))

    def fill(self, entry: Entry, pieces: Iterator[memoryview]) -> None:
        written = sum(self._file.write(piece) for piece in pieces)
        if written != entry.size_bytes:
            raise ValueError(f"{entry.name}: {written} bytes were given, not {entry.size_bytes}")


def _header(entries: list[Entry]) -> bytes:
    described: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for entry in entries:
        begin, end = end, end + entry.size_bytes
        described[entry.name] = {"dtype": entry.dtype, "shape": list(entry.shape), "data_offsets": [begin, end]}
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return struct.pack("<Q", len(text)) + text
