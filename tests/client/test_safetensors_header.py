"""A header that lies about its file is found before anything maps the file."""

import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from loquor.internal.safetensors_header import HeaderError, check_header


def whole(path: Path) -> bytes:
    arrays = {"a.weight": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.arange(5, dtype=np.int64)}
    save_file(arrays | {"empty": np.zeros((0, 7), np.float16)}, path, metadata={"format": "pt"})
    return path.read_bytes()


def written(path: Path, header: Any, data_bytes: int) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(data_bytes))
    return path


def tensor(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_a_whole_file_passes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    whole(path)
    check_header(path)


def test_every_truncation_is_found(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    data = whole(path)
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(HeaderError):
            check_header(path)


def test_appended_bytes_are_found(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(whole(path) + b"\0")
    with pytest.raises(HeaderError, match="cut short or damaged"):
        check_header(path)


def test_what_passes_with_a_flipped_bit_the_library_opens_too(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    data = whole(path)
    (length,) = struct.unpack_from("<Q", data)
    found = 0
    for bit in random.Random(7).sample(range((8 + length) * 8), 400):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        try:
            check_header(path)
        except HeaderError:
            found += 1
            continue
        with safe_open(path, "numpy") as opened:
            assert len(opened.keys()) == 3
    assert found > 200


@pytest.mark.parametrize(
    ("header", "data_bytes"),
    [
        (b"[]", 0),
        (b"null", 0),
        (b"{", 0),
        (b"\xff\xfe", 0),
        (b"[" * 100_000, 0),
        (b'{"a": 1}', 0),
        ({"__metadata__": 1}, 0),
        ({"__metadata__": {"format": 1}}, 0),
        (b'{"a": {"dtype": "F32", "shape": [2]}}', 8),
        ({"a": tensor("F31")}, 8),
        ({"a": tensor(["F32"])}, 8),
        ({"a": tensor(shape=[-2])}, 8),
        ({"a": tensor(shape=[2.0])}, 8),
        ({"a": tensor(shape=[True, 2])}, 8),
        ({"a": tensor(shape="2")}, 8),
        ({"a": tensor(shape=[3])}, 8),
        ({"a": tensor(offsets=[0, 16])}, 8),
        ({"a": tensor(offsets=[8, 0])}, 8),
        ({"a": tensor(offsets=[-8, 0])}, 8),
        ({"a": tensor(offsets=[4, 12])}, 12),
        ({"a": tensor(offsets=[0, 8, 8])}, 8),
        ({"a": tensor(), "b": tensor()}, 8),
        ({"a": tensor(), "b": tensor(offsets=[4, 12])}, 12),
        ({"a": tensor(), "b": tensor(offsets=[12, 20])}, 20),
        ({"a": tensor(shape=[1 << 62, 1 << 62], offsets=[0, 8])}, 8),
        ({"a": tensor(shape=[1 << 70], offsets=[0, 8])}, 8),
        (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": {}}', 8),
    ],
)
def test_a_header_that_lies_is_refused(tmp_path: Path, header: Any, data_bytes: int) -> None:
    with pytest.raises(HeaderError):
        check_header(written(tmp_path / "model.safetensors", header, data_bytes))


@pytest.mark.parametrize("length", [9, 1 << 20, 1 << 40, (1 << 64) - 1])
def test_a_header_length_beyond_the_file_is_refused_without_reading_it(tmp_path: Path, length: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(HeaderError, match=f"claims {length} bytes of a file of 10"):
        check_header(path)
