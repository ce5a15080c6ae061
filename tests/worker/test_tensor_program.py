"""An archive that holds code does not run it: not when it is loaded, and not when it is served."""

import io
import json
import logging
import pickle  # noqa: TID251  (the attacker's, not ours)
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from loquor_worker.engines import LoadError
from loquor_worker.engines.tensor_program import TensorProgram
from tests.worker.exported_module import Twice, rewrite, save_affine, save_module

CPU = torch.device("cpu")
GRAPH = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"


class Marks:
    """Runs a command when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        import os

        return os.mkdir, (str(self._mark),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_affine(tmp_path)
    return tmp_path


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A folder that is there if code of the archive ran."""
    return tmp_path / "code-ran"


def load(folder: Path) -> TensorProgram:
    return TensorProgram.load(folder, CPU)


def pickled(mark: Path) -> bytes:
    """What `torch.load` would run with `weights_only=False`, to which the loader falls back."""
    buffer = io.BytesIO()
    torch.save(Marks(mark), buffer)
    return buffer.getvalue()


def change_graph(folder: Path, change: Callable[[str], str]) -> None:
    path = folder / "model.pt2"
    before = path.read_bytes()
    rewrite(path, lambda name, data: change(data.decode()).encode() if name == GRAPH else data)
    assert path.read_bytes() != before


def assert_refused(folder: Path, mark: Path, text: str) -> None:
    with pytest.raises(LoadError, match=text):
        load(folder)
    assert not mark.exists()


def test_a_plain_archive_loads(folder: Path) -> None:
    program = load(folder)
    z, total = program.run(torch.ones(2, 4), torch.zeros(2, 3))
    assert (z.shape, total.tolist()) == ((2, 3), [4, 4])


def test_the_attack_works_on_torch_itself(folder: Path, mark: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Or the other tests would prove nothing."""
    caplog.set_level(logging.CRITICAL, logger="torch._export.serde.serialize")  # its warning is malformed
    rewrite(folder / "model.pt2", lambda name, data: pickled(mark) if name.startswith("data/sample_inputs") else data)
    with pytest.raises(AssertionError, match="expected tuple or dict"):
        torch.export.load(folder / "model.pt2")
    assert mark.exists()


def test_sample_inputs_are_not_read(folder: Path, mark: Path) -> None:
    rewrite(folder / "model.pt2", lambda name, data: pickled(mark) if name.startswith("data/sample_inputs") else data)
    assert len(load(folder).inputs) == 2
    assert not mark.exists()


def test_a_pickled_weight_is_refused(folder: Path, mark: Path) -> None:
    def change(name: str, data: bytes) -> bytes:
        if name == WEIGHTS:
            return data.replace(b'"use_pickle": false', b'"use_pickle": true')
        return pickled(mark) if name.startswith("data/weights/weight_") else data

    rewrite(folder / "model.pt2", change)
    assert_refused(folder, mark, r"model\.pt2: the weight .* is a pickle")


@pytest.mark.parametrize(
    "member",
    [
        "data/weights/model.pt",
        "data/constants/opaque_obj_0",
        "data/constants/custom_obj_0",
        "data/aotinductor/model/a.so",
        "anything.py",
    ],
)
def test_members_that_are_code_are_refused(folder: Path, mark: Path, member: str) -> None:
    rewrite(folder / "model.pt2", lambda _, data: data, {member: pickle.dumps(Marks(mark))})
    assert_refused(folder, mark, r"model\.pt2: .* is no weight and no graph")


def test_an_operator_that_is_none_is_refused(folder: Path, mark: Path) -> None:
    change_graph(folder, lambda graph: graph.replace("torch.ops.aten.linear.default", "torch.ops.mine.run.default"))
    assert_refused(folder, mark, r"model\.pt2: the operator 'torch\.ops\.mine\.run\.default' is none of those")


def test_a_size_that_is_code_is_refused(folder: Path, mark: Path) -> None:
    code = f"__import__('os').mkdir('{mark}')"
    change_graph(folder, lambda graph: graph.replace('"expr_str": "', f'"expr_str": "{code} or '))
    assert_refused(folder, mark, r"model\.pt2: the size .* is not a plain expression")


def test_names_that_are_code_are_refused(folder: Path, mark: Path) -> None:
    """The loader writes the names of inputs into the head of a function, where a default is evaluated."""
    code = json.dumps(f"x=__import__('os').mkdir('{mark}')")
    change_graph(folder, lambda graph: graph.replace('"name": "x"', f'"name": {code}').replace('"x": {', f"{code}: {{"))
    assert_refused(folder, mark, r"model\.pt2: the graph holds the name .*__import__")


def test_names_in_nested_json_are_refused(folder: Path, mark: Path) -> None:
    code = f"a':__import__('os').mkdir('{mark}'),'b"
    for _ in range(3):
        code = json.dumps(code)[1:-1]

    def change(graph: str) -> str:
        return graph.replace(r"\"context\": \"[]\"", rf"\"context\": \"[\\\"{code}\\\"]\"")

    change_graph(folder, change)
    assert_refused(folder, mark, r"model\.pt2: the graph holds the name .*__import__")


@pytest.mark.parametrize("keep", [0, 100, 3000])
def test_a_cut_archive_is_named(folder: Path, keep: int) -> None:
    path = folder / "model.pt2"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(LoadError, match=r"model\.pt2: not an archive"):
        load(folder)


def test_a_graph_that_torch_does_not_know_is_named(folder: Path) -> None:
    change_graph(folder, lambda graph: graph.replace('"nodes"', '"knots"'))
    with pytest.raises(LoadError, match=r"model\.pt2: this torch .* cannot load it"):
        load(folder)


def test_inputs_that_are_no_tensors_are_refused(tmp_path: Path) -> None:
    class Scaled(torch.nn.Module):
        def forward(self, x: torch.Tensor, factor: int) -> torch.Tensor:
            return x * factor

    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(Scaled(), (torch.zeros(2, 3), 3), dynamic_shapes=(batch, None))
    torch.export.save(program, tmp_path / "model.pt2")
    (tmp_path / "loquor.toml").write_text('[tensor]\ninputs = ["x", "factor"]\noutputs = ["y"]')
    with pytest.raises(LoadError, match=r"model\.pt2: 'factor' is not a tensor"):
        load(tmp_path)


def test_outputs_may_be_nested(tmp_path: Path) -> None:
    class Nested(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, object]:
            return {"one": x + 1, "more": [x + 2, {"three": x + 3}]}

    save_module(tmp_path, Nested(), (torch.zeros(2, 3),), (("x",), ("one", "two", "three")))
    results = load(tmp_path).run(torch.zeros(1, 3))
    assert [float(result[0, 0]) for result in results] == [1.0, 2.0, 3.0]


def test_weights_stay_apart_from_what_a_step_changes(tmp_path: Path) -> None:
    save_module(tmp_path, Twice(), (torch.zeros(2, 3),), (("x",), ("y",)))
    rows = torch.ones(1, 3)
    (doubled,) = load(tmp_path).run(rows)
    assert doubled.tolist() == [[1.0] * 6]
    assert rows.tolist() == [[1.0] * 3]
