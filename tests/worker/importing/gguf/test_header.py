"""The beginning of a file is read as the library writes it; whatever it claims wrongly is refused by name."""

import resource
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loquor_worker.importing import ConversionFailed
from loquor_worker.importing.gguf.header import Header, read_header
from tests.worker.importing.gguf_models import write_gguf

ROW = np.arange(64, dtype=np.float32)
U32, TEXT, LIST = 4, 8, 9


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def setting(key: str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def file_of(
    path: Path,
    settings: list[bytes] | None = None,
    tensors: list[bytes] | None = None,
    *,
    magic: bytes = b"GGUF",
    version: int = 3,
    counts: tuple[int, int] | None = None,
    data: int = 1024,
) -> Path:
    """A file made by hand, byte by byte."""
    settings, tensors = settings or [], tensors or []
    claimed = counts or (len(tensors), len(settings))
    head = magic + struct.pack("<IQQ", version, *claimed) + b"".join(settings + tensors)
    (path / "x.gguf").write_bytes(head + bytes(-len(head) % 32 + data))
    return path / "x.gguf"


def sample_file(path: Path) -> Path:
    file = path / "sample.gguf"
    write_gguf(
        file,
        "llama",
        {"general.name": "größer", "a": 3, "b": 0.5, "c": True, "d": ["x", ""], "e": [1, 2], "f": [0.5], "g": [True]},
        {"w": np.arange(96, dtype=np.float32).reshape(3, 32), "v": ROW},
        lambda name, array: GGMLQuantizationType.Q4_0 if name == "w" else GGMLQuantizationType.F32,
    )
    return file


def test_settings_and_tensors_as_the_librarys_own_reader_has_them(tmp_path: Path) -> None:
    header = read_header(sample_file(tmp_path))
    reader = GGUFReader(sample_file(tmp_path))
    metadata = header.metadata
    assert metadata.text("general.name") == "größer"
    assert (metadata.integer("llama.a"), metadata.number("llama.b"), metadata.flag("llama.c", False)) == (3, 0.5, True)
    assert list(metadata.texts("llama.d")) == ["x", ""]
    assert list(metadata.numbers("llama.e")) == [1, 2]
    assert list(metadata.numbers("llama.f")) == [0.5]
    for theirs in reader.tensors:
        ours = header.tensors[theirs.name]
        assert ours.shape == tuple(theirs.shape.tolist()[::-1])
        assert ours.encoding.number == theirs.tensor_type
        assert (ours.begin, ours.size_bytes) == (theirs.data_offset, theirs.n_bytes)
    assert len(reader.tensors) == len(header.tensors) == 2


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"])
def test_whole_numbers_of_every_width(tmp_path: Path, kind: str) -> None:
    writer = GGUFWriter(tmp_path / "x.gguf", "llama")
    getattr(writer, f"add_{kind}")("n", 113)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    assert read_header(tmp_path / "x.gguf").metadata.integer("n") == 113


def test_another_alignment(tmp_path: Path) -> None:
    file = file_of(tmp_path, [setting("general.alignment", U32, struct.pack("<I", 256))], [tensor("w", (4,))])
    assert read_header(file).tensors["w"].begin == 256


BIG = 2**62
FOUR = struct.pack("<I", 4)
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty": (lambda p: file_of(p, magic=b"", data=0, version=0), "header: this is no GGUF file"),
    "magic": (lambda p: file_of(p, magic=b"GGML"), "header: this is no GGUF file"),
    "old": (lambda p: file_of(p, version=1), "header: version 1 of the format is not known; known are 2 and 3"),
    "big-endian": (lambda p: file_of(p, version=3 << 24), "header: .*written big-endian"),
    "tensors": (lambda p: file_of(p, counts=(BIG, 0)), f"header: claims {BIG} tensors"),
    "settings": (lambda p: file_of(p, counts=(0, BIG)), f"header: claims 0 tensors and {BIG} settings"),
    "more settings than there are": (lambda p: file_of(p, counts=(0, 9), data=0), "'': claims 4 bytes where the"),
    "key": (lambda p: file_of(p, [struct.pack("<Q", BIG)]), f"setting 0: a text claims {BIG} bytes"),
    "no utf-8": (lambda p: file_of(p, [struct.pack("<Q", 1) + b"\xff"]), "setting 0: a text is not UTF-8"),
    "text": (lambda p: file_of(p, [setting("k", TEXT, struct.pack("<Q", BIG))]), f"k: a text claims {BIG} bytes"),
    "type": (lambda p: file_of(p, [setting("k", 99, FOUR)]), "k: 99 is no type of a value"),
    "list": (
        lambda p: file_of(p, [setting("k", LIST, struct.pack("<IQ", U32, BIG))]),
        f"k: claims {BIG} values, more than a header can hold",
    ),
    "list of many empty texts": (
        lambda p: file_of(p, [setting("k", LIST, struct.pack("<IQ", TEXT, 1 << 20))]),
        "k: claims 8 bytes where the file ends",
    ),
    "list of lists": (
        lambda p: file_of(p, [setting("k", LIST, struct.pack("<IQ", LIST, 1))]),
        "k: 9 is no type of the values of a list",
    ),
    "twice": (lambda p: file_of(p, [setting("k", U32, FOUR)] * 2), "k: is there twice"),
    "alignment": (
        lambda p: file_of(p, [setting("general.alignment", U32, struct.pack("<I", 24))]),
        "general.alignment: 24 is not a power of two",
    ),
    "alignment of none": (
        lambda p: file_of(p, [setting("general.alignment", U32, struct.pack("<I", 0))]),
        "general.alignment: 0 is not a whole number",
    ),
    "two tensors": (lambda p: file_of(p, [], [tensor("w", (4,)), tensor("w", (4,), 0, 32)]), "tensors: two have"),
    "overlap": (lambda p: file_of(p, [], [tensor("a", (16,)), tensor("b", (16,), 0, 32)]), "tensor 'b': overlaps"),
    "outside": (lambda p: file_of(p, [], [tensor("w", (4,), 0, 4096)]), "tensor 'w': ends at byte .* cut short"),
    "far outside": (lambda p: file_of(p, [], [tensor("w", (4,), 0, 2**64 - 8)]), "tensor 'w': ends at byte"),
    "overflow": (lambda p: file_of(p, [], [tensor("w", (2**32, 2**32, 4))]), "tensor 'w': ends at byte"),
    "no elements": (lambda p: file_of(p, [], [tensor("w", (4, 0))]), r"tensor 'w': its dimensions are \[4, 0\]"),
    "part of a block": (lambda p: file_of(p, [], [tensor("w", (33,), 2)]), "tensor 'w': .* blocks of 32 elements"),
    "encoding": (lambda p: file_of(p, [], [tensor("w", (4,), 999)]), "tensor 'w': is encoded in a way .* number 999"),
    "dimensions": (lambda p: file_of(p, [], [tensor("w", (1,) * 5)]), "tensor 'w': has 5 dimensions"),
    "no dimension": (lambda p: file_of(p, [], [tensor("w", ())]), "tensor 'w': has 0 dimensions"),
    "a long name": (lambda p: file_of(p, [], [tensor("w" * 5000, (4,))]), "tensor 0: a text claims 5000 bytes"),
    "a name to deceive": (lambda p: file_of(p, [], [tensor("\x1b[31m", (1,) * 5)]), r"tensor '\\x1b\[31m': has 5"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_claim_is_refused_with_its_field(case: str, tmp_path: Path) -> None:
    make, reason = REFUSED[case]
    with pytest.raises(ConversionFailed, match=rf"^x\.gguf: {reason}"):
        read_header(make(tmp_path))


def test_a_header_without_end(tmp_path: Path) -> None:
    """Texts that follow one another through a file of gigabytes, which takes no room on the disk."""
    file = file_of(tmp_path, [setting("k", LIST, struct.pack("<IQ", TEXT, 30 << 20))], data=0)
    with file.open("r+b") as opened:
        opened.truncate(8 << 30)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConversionFailed, match=r"^x\.gguf: k: the header is longer than"):
        read_header(file)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10 < 300


def test_cut_anywhere_it_is_refused(tmp_path: Path) -> None:
    whole = sample_file(tmp_path).read_bytes()
    end = read_header(sample_file(tmp_path)).tensors["v"].begin + ROW.nbytes
    cut = tmp_path / "cut.gguf"
    for length in range(0, end, 7):
        cut.write_bytes(whole[:length])
        with pytest.raises(ConversionFailed, match=r"^cut\.gguf: "):
            read_header(cut)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_changed_it_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(sample_file(tmp_path).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 8))
        width = data.draw(st.sampled_from((1, 2, 4, 8)))
        content[place : place + width] = data.draw(st.binary(min_size=width, max_size=width))
    file = tmp_path / "changed.gguf"
    file.write_bytes(content)
    try:
        header = read_header(file)
    except ConversionFailed as error:
        assert str(error).startswith("changed.gguf: ")  # noqa: PT017
    else:
        check_inside(header, len(content))


def check_inside(header: Header, size: int) -> None:
    end = 0
    for info in sorted(header.tensors.values(), key=lambda info: info.begin):
        assert end <= info.begin < info.begin + info.size_bytes <= size
        end = info.begin + info.size_bytes
