"""Files written in pieces are read back by the format's own library."""

import io
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from loquor.internal.safetensors_header import check_header
from loquor_worker.importing.gguf.safetensors_writer import Entry, SafetensorsWriter


def test_pieces_of_several_types(tmp_path: Path) -> None:
    odd, wide = np.arange(3, dtype=np.float16), np.arange(6, dtype=np.float32).reshape(2, 3)
    entries = [Entry("odd", "F16", (3,)), Entry("wide", "F32", (2, 3))]
    with (tmp_path / "x.safetensors").open("wb") as file:
        writer = SafetensorsWriter(file, entries)
        assert [entry.name for entry in writer.entries] == ["wide", "odd"]
        writer.fill(writer.entries[0], iter([wide[:1].data.cast("B"), wide[1:].data.cast("B")]))
        writer.fill(writer.entries[1], iter([odd.data.cast("B")]))
    check_header(tmp_path / "x.safetensors")
    found = load((tmp_path / "x.safetensors").read_bytes())
    assert np.array_equal(found["odd"], odd)
    assert np.array_equal(found["wide"], wide)


def test_too_few_bytes_are_a_bug_that_is_named() -> None:
    writer = SafetensorsWriter(io.BytesIO(), [entry := Entry("w", "BF16", (4,))])
    with pytest.raises(ValueError, match="w: 6 bytes were given, not 8"):
        writer.fill(entry, iter([memoryview(bytes(6))]))
