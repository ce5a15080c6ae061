"""The beginning of a GGUF file: its settings, and the name, shape, encoding and place of every tensor.

Format, all little-endian: `GGUF`, the version, how many tensors and settings there are, the settings, the tensors, and
at the next multiple of the alignment the data. Nothing that the file claims is believed before it is checked: whatever
it holds, reading takes no more than some 250 MB and a second or two. It knows no architecture and reads no weight.
"""

import array
import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loquor_worker.importing.errors import ConversionFailed
from loquor_worker.importing.gguf.encodings import Encoding, encoding
from loquor_worker.importing.gguf.metadata import Metadata, Value
from loquor_worker.importing.gguf.refusal import refused, shown

_VERSIONS = (2, 3)
_DEFAULT_ALIGNMENT = 32
_MAX_ALIGNMENT = 1 << 20
# The largest vocabularies with their merges take 15 MB.
_MAX_HEADER_BYTES = 32 << 20
_MAX_SETTINGS = 1 << 14
_MAX_TENSORS = 1 << 16
_MAX_NAME_BYTES = 1 << 12
_MAX_DIMENSIONS = 4
_TEXT, _LIST, _FLAG = 8, 9, 7
# Numbers by the format's own types, as `struct` and `array` call them.
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", _FLAG: "B", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor of the file. The shape has the rows first, `begin` counts from the beginning of the file."""

    name: str
    shape: tuple[int, ...]
    encoding: Encoding
    begin: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return self.elements // self.encoding.block_elements * self.encoding.block_bytes


@dataclass(frozen=True, slots=True)
class Header:
    """All that a file says before its data; every tensor lies inside the file, and none over another."""

    file: Path
    metadata: Metadata
    tensors: dict[str, TensorInfo]


def read_header(file: Path) -> Header:
    """Read and check the beginning of a file. Raises `ConversionFailed`, or `OSError` if it cannot be read at all."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        cursor = _Cursor(file, opened.read(_MAX_HEADER_BYTES), size)
    tensor_count, setting_count = _counts(cursor)
    metadata = Metadata(file, _settings(cursor, setting_count))
    claims = [_claim(cursor, index) for index in range(tensor_count)]
    start = _data_start(cursor, metadata)
    tensors = {claim.name: _placed(file, claim, start, size) for claim in claims}
    if len(tensors) != tensor_count:
        raise refused(file, "tensors", "two have the same name")
    _check_apart(file, tensors)
    return Header(file, metadata, tensors)


class _Cursor:
    """A place in the file's beginning that only moves on. `field` is what is being read, for the refusals."""

    def __init__(self, file: Path, data: bytes, file_bytes: int) -> None:
        self.file = file
        self.field = "header"
        self.position = 0
        self._data = data
        self._cut = file_bytes > len(data)

    def refuse(self, why: str) -> ConversionFailed:
        return refused(self.file, self.field, why)

    def skip(self, count: int) -> int:
        """Move on by so many bytes, which must be there, and return where they begin."""
        begin = self.position
        if count > len(self._data) - begin:
            limit = f"the header is longer than {_MAX_HEADER_BYTES} bytes"
            raise self.refuse(limit if self._cut else f"claims {count} bytes where the file ends: cut short or damaged")
        self.position += count
        return begin

    def take(self, count: int) -> bytes:
        begin = self.skip(count)
        return self._data[begin : begin + count]

    def integer(self, kind: str) -> int:
        """One whole number: `I` of four bytes, `Q` of eight."""
        return int(struct.unpack_from("<" + kind, self._data, self.skip(struct.calcsize("<" + kind)))[0])

    def numbers(self, kind: str, count: int) -> Sequence[float]:
        """So many numbers, which need no more memory than they do in the file."""
        values: array.array[float] = array.array(kind)
        values.frombytes(self.take(count * values.itemsize))
        if sys.byteorder == "big":
            values.byteswap()
        return values

    def text(self, most: int = _MAX_HEADER_BYTES) -> str:
        length = self.integer("Q")
        if length > most:
            raise self.refuse(f"a text claims {length} bytes, more than {most}")
        try:
            return str(self.take(length), "utf-8")
        except UnicodeDecodeError:
            raise self.refuse("a text is not UTF-8") from None


def _counts(cursor: _Cursor) -> tuple[int, int]:
    """The numbers of tensors and of settings."""
    if cursor.take(4) != b"GGUF":
        raise cursor.refuse("this is no GGUF file")
    version = cursor.integer("I")
    if version not in _VERSIONS:
        order = ", or written big-endian" if version & 0xFFFF == 0 else ""
        raise cursor.refuse(f"version {version} of the format is not known{order}; known are 2 and 3")
    tensors, settings = cursor.integer("Q"), cursor.integer("Q")
    if tensors > _MAX_TENSORS or settings > _MAX_SETTINGS:
        raise cursor.refuse(f"claims {tensors} tensors and {settings} settings, more than a model has")
    return tensors, settings


def _settings(cursor: _Cursor, count: int) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for index in range(count):
        cursor.field = f"setting {index}"
        key = cursor.text(_MAX_NAME_BYTES)
        cursor.field = key if key and key.isprintable() and len(key) <= 100 else shown(key)
        if key in values:
            raise cursor.refuse("is there twice")
        values[key] = _value(cursor, cursor.integer("I"))
    return values


def _value(cursor: _Cursor, kind: int) -> Value:
    if kind == _TEXT:
        return cursor.text()
    if kind == _LIST:
        return _list(cursor, cursor.integer("I"), cursor.integer("Q"))
    if kind not in _NUMBERS:
        raise cursor.refuse(f"{kind} is no type of a value")
    value = cursor.numbers(_NUMBERS[kind], 1)[0]
    return bool(value) if kind == _FLAG else value


def _list(cursor: _Cursor, kind: int, count: int) -> Value:
    # Checked before anything is made: each text takes at least the eight bytes of its length.
    if count > _MAX_HEADER_BYTES:
        raise cursor.refuse(f"claims {count} values, more than a header can hold")
    if kind == _TEXT:
        return [cursor.text() for _ in range(count)]
    if kind not in _NUMBERS:
        raise cursor.refuse(f"{kind} is no type of the values of a list")
    return cursor.numbers(_NUMBERS[kind], count)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What the file says of a tensor; the offset counts from the beginning of the data."""

    name: str
    dimensions: tuple[int, ...]
    kind: int
    offset: int


def _claim(cursor: _Cursor, index: int) -> _Claim:
    cursor.field = f"tensor {index}"
    name = cursor.text(_MAX_NAME_BYTES)
    cursor.field = f"tensor {shown(name)}"
    dimensions = cursor.integer("I")
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise cursor.refuse(f"has {dimensions} dimensions; 1 to {_MAX_DIMENSIONS} can be read")
    shape = tuple(cursor.integer("Q") for _ in range(dimensions))
    return _Claim(name, shape, cursor.integer("I"), cursor.integer("Q"))


def _data_start(cursor: _Cursor, metadata: Metadata) -> int:
    key = "general.alignment"
    alignment = metadata.integer(key, _DEFAULT_ALIGNMENT, most=_MAX_ALIGNMENT)
    if alignment & (alignment - 1):
        raise metadata.refuse(key, f"{alignment} is not a power of two")
    return -(-cursor.position // alignment) * alignment


def _placed(file: Path, claim: _Claim, start: int, file_bytes: int) -> TensorInfo:
    """The tensor as it is claimed to be, if the file has room for it."""
    field = f"tensor {shown(claim.name)}"
    kind = encoding(claim.kind)
    if kind is None:
        raise refused(file, field, f"is encoded in a way that is not known, number {claim.kind}")
    if 0 in claim.dimensions or claim.dimensions[0] % kind.block_elements:
        blocks = f"rows of whole blocks of {kind.block_elements} elements in {kind.name}"
        raise refused(file, field, f"its dimensions are {list(claim.dimensions)}, which are not {blocks}")
    info = TensorInfo(claim.name, claim.dimensions[::-1], kind, start + claim.offset)
    if info.begin + info.size_bytes > file_bytes:
        end = info.begin + info.size_bytes
        raise refused(file, field, f"ends at byte {end} of a file of {file_bytes}: cut short or damaged")
    return info


def _check_apart(file: Path, tensors: dict[str, TensorInfo]) -> None:
    end = 0
    for info in sorted(tensors.values(), key=lambda info: info.begin):
        if info.begin < end:
            raise refused(file, f"tensor {shown(info.name)}", "overlaps the tensor before it")
        end = info.begin + info.size_bytes
