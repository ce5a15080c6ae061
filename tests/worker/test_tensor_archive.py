"""An exported module loads from what was checked, and nothing that its archive would run is run."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from loquor.internal.model_files import ModelFilesRefused, check_files
from loquor.internal.tensor_archive import ArchiveError, check_archive, read_archive

Change = Callable[[dict[str, Any]], None]


class Module(torch.nn.Module):
    """Weights, a shared one, a buffer, a constant, a size that is an expression."""

    offsets: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 4)
        self.linear = torch.nn.Linear(4, 10, bias=False)
        self.linear.weight = self.embedding.weight
        self.register_buffer("offsets", torch.arange(8.0))
        self.constant = torch.ones(3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.linear(self.embedding(ids)) + self.constant[0]
        return scores.reshape(ids.shape[0] * 6, 10).softmax(-1) + self.offsets.sum()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model.pt2"
    program = torch.export.export(
        Module(), (torch.zeros(3, 6, dtype=torch.long),), dynamic_shapes=({0: torch.export.Dim("batch", max=64)},)
    )
    torch.export.save(program, path)
    return path


def rewritten(saved: Path, target: Path, change: Callable[[str, bytes], bytes], **more: bytes) -> Path:
    """The archive with other members. `more` are added, `__` in a name standing for `/`."""
    with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(target, "w") as written:
        for name in archive.namelist():
            written.writestr(name, change(name, archive.read(name)))
        for name, content in more.items():
            written.writestr("model/" + name.replace("__", "/"), content)
    return target


def with_graph(saved: Path, target: Path, change: Change) -> Path:
    def apply(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return rewritten(saved, target, apply)


def objects(document: Any, key: str) -> list[dict[str, Any]]:
    """Every object below the document that has the key."""
    if isinstance(document, dict):
        return [document] * (key in document) + [found for item in document.values() for found in objects(item, key)]
    return [found for item in document for found in objects(item, key)] if isinstance(document, list) else []


def test_what_is_read_computes_the_same(saved: Path) -> None:
    check_archive(saved)
    ids = torch.arange(30).reshape(5, 6) % 10
    expected = torch.export.load(saved).module()(ids)
    assert torch.equal(torch.export.load(read_archive(saved)).module()(ids), expected)


def test_what_is_read_holds_no_sample_inputs_and_no_guards(saved: Path) -> None:
    with zipfile.ZipFile(read_archive(saved)) as archive:
        assert archive.read("model/data/sample_inputs/model.pt") == b""
        assert json.loads(archive.read("model/models/model.json"))["guards_code"] == []


def test_code_in_sample_inputs_and_guards_is_not_run(saved: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr("archive/data.pkl", f"cbuiltins\neval\n(V{code}\ntR.".encode())
        archive.writestr("archive/version", b"3\n")

    def change(name: str, content: bytes) -> bytes:
        if name.endswith("sample_inputs/model.pt"):
            return stored.getvalue()
        return content.replace(b'"guards_code": []', json.dumps({"guards_code": [code]}).encode()[1:-1])

    path = rewritten(saved, tmp_path / "model.pt2", change)
    check_archive(path)
    torch.export.load(read_archive(path)).module()(torch.zeros(2, 6, dtype=torch.long))
    assert not canary.exists()


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "exec('x')",
        "Symbol('s0').__class__",
        "().__class__",
        'Symbol("s0")',
        "[s0]",
        "lambda: s0",
        "sympify('x')",
        "print",
        "s0; s1",
        "Symbol('s0' 'x').name",
    ],
)
def test_expressions_that_python_would_run_are_refused(saved: Path, tmp_path: Path, expression: str) -> None:
    def in_size(document: dict[str, Any]) -> None:
        objects(document, "expr_str")[0]["expr_str"] = expression

    def in_constraint(document: dict[str, Any]) -> None:
        document["range_constraints"][expression] = {"min_val": 0, "max_val": 1}

    for change in (in_size, in_constraint):
        with pytest.raises(ArchiveError, match="is not a plain expression"):
            check_archive(with_graph(saved, tmp_path / "model.pt2", change))


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.load",
        "torch.ops.load_library",
        "torch.ops.aten.from_file.default",
        "math.__loader__",
        "_operator.attrgetter",
        "torch.ops.mine.op.default",
        "#mine:op",
        "os.system",
        "torch.ops.aten.add.a.b",
        "",
    ],
)
def test_other_operators_are_refused(saved: Path, tmp_path: Path, target: str) -> None:
    def change(document: dict[str, Any]) -> None:
        objects(document, "target")[0]["target"] = target

    with pytest.raises(ArchiveError, match="is none of those that are served"):
        check_archive(with_graph(saved, tmp_path / "model.pt2", change))


@pytest.mark.parametrize("key", ["target", "expr_str"])
def test_what_should_be_text_and_is_not_is_refused(saved: Path, tmp_path: Path, key: str) -> None:
    def change(document: dict[str, Any]) -> None:
        objects(document, key)[0][key] = ["exec('x')"]

    with pytest.raises(ArchiveError, match=f"a {key} that is no text"):
        check_archive(with_graph(saved, tmp_path / "model.pt2", change))


@pytest.mark.parametrize(
    ("old", "new"), [(b'"use_pickle": false', b'"use_pickle": true'), (b"weight_0", b"custom_obj_0")]
)
def test_pickled_weights_and_custom_objects_are_refused(saved: Path, tmp_path: Path, old: bytes, new: bytes) -> None:
    path = rewritten(saved, tmp_path / "model.pt2", lambda _, content: content.replace(old, new))
    with pytest.raises(ArchiveError, match="which is refused"):
        check_archive(path)


@pytest.mark.parametrize(
    "member", ["data__weights__model.pt", "data__aotinductor__x.so", "extra__x", "data__constants__opaque_obj_0"]
)
def test_other_members_are_refused(saved: Path, tmp_path: Path, member: str) -> None:
    path = rewritten(saved, tmp_path / "model.pt2", lambda _, content: content, **{member: b"x"})
    with pytest.raises(ArchiveError, match=r"is no weight and no graph"):
        check_archive(path)


def test_a_second_graph_is_refused(saved: Path, tmp_path: Path) -> None:
    path = rewritten(
        saved, tmp_path / "model.pt2", lambda _, content: content, models__b=b"", **{"models__b.json": b"{}"}
    )
    with pytest.raises(ArchiveError):
        check_archive(path)


def test_truncation_is_found_by_name(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "loquor.toml").write_text('[tensor]\ninputs = ["x"]\noutputs = ["y"]\n')
    data = saved.read_bytes()
    for length in range(0, len(data), 501):
        (tmp_path / "model.pt2").write_bytes(data[:length])
        with pytest.raises(ModelFilesRefused, match=r"model\.pt2: "):
            check_files("m", tmp_path)
    (tmp_path / "model.pt2").write_bytes(data)
    check_files("m", tmp_path)


def test_damage_in_a_weight_is_found_when_it_is_read(saved: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        weight = archive.read("model/data/weights/weight_0")
    data = bytearray(saved.read_bytes())
    data[data.index(weight) + 3] ^= 1
    (tmp_path / "model.pt2").write_bytes(data)
    with pytest.raises(ArchiveError, match="weight_0' is damaged"):
        read_archive(tmp_path / "model.pt2")
