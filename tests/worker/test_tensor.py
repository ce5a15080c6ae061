"""The tensor engine: every type, joined and parted rows, and the text of each refusal."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loquor.internal.v1.replica_service_pb2 import Submission, TensorInput, TokenInput
from loquor.v1.model_service_pb2 import TASK_INFER
from loquor.v1.tensor_service_pb2 import DATA_TYPE_FLOAT32, DATA_TYPE_INT64, Tensor
from loquor_worker.engines import Engine, InvalidSubmission, LoadError, Size
from loquor_worker.engines.load import load_engine
from loquor_worker.engines.tensor_signature import DATA_TYPES
from tests.worker.exported_module import BATCH, Twice, save_affine, save_module


def load(folder: Path, **changes: Any) -> Engine:
    settings: dict[str, Any] = {"task": None, "device": "cpu", "dtype": "auto", "max_batch_tokens": None}
    return load_engine(folder, **{**settings, **changes}, max_sequence_tokens=None)


def wire(name: str, tensor: torch.Tensor) -> Tensor:
    data = tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    return Tensor(name=name, data_type=DATA_TYPES[tensor.dtype], shape=tensor.shape, data=data)


def request(**tensors: torch.Tensor) -> Submission:
    return Submission(tensors=TensorInput(inputs=[wire(name, tensor) for name, tensor in tensors.items()]))


def rows(count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"x": torch.rand(count, 4, generator=generator) * 9, "y": torch.rand(count, 3, generator=generator)}


@pytest.fixture
def affine(tmp_path: Path) -> torch.nn.Module:
    return save_affine(tmp_path)


@pytest.fixture
def engine(affine: torch.nn.Module, tmp_path: Path) -> Engine:
    return load(tmp_path)


def test_hello_comes_from_the_program(engine: Engine) -> None:
    hello = engine.hello
    assert (hello.task, hello.device, hello.sequence_tokens, hello.batch_tokens) == (TASK_INFER, "cpu", 0, 100)
    assert [(s.name, s.data_type, list(s.shape)) for s in hello.inputs] == [
        ("x", DATA_TYPE_FLOAT32, [-1, 4]),
        ("y", DATA_TYPE_FLOAT32, [-1, 3]),
    ]
    assert [(s.name, s.data_type, list(s.shape)) for s in hello.outputs] == [
        ("z", DATA_TYPE_FLOAT32, [-1, 3]),
        ("total", DATA_TYPE_INT64, [-1]),
    ]


def test_each_request_gets_its_own_rows(affine: torch.nn.Module, engine: Engine) -> None:
    engine.warm()
    inputs = [rows(count, seed) for seed, count in enumerate((2, 1, 5))]
    for tensors, outputs in zip(inputs, engine.step([request(**tensors) for tensors in inputs]), strict=True):
        expected_z, expected_total = affine(tensors["x"], tensors["y"])
        z, total = outputs.tensors
        assert (z.name, total.name, list(z.shape)) == ("z", "total", list(expected_z.shape))
        ours = np.frombuffer(z.data, "<f4").reshape(tuple(z.shape))
        assert np.abs(ours - expected_z.detach().numpy()).max() < 1e-6
        assert np.frombuffer(total.data, "<i8").tolist() == expected_total.tolist()


def test_size_counts_rows_in_any_order_of_inputs(engine: Engine) -> None:
    tensors = rows(3)
    assert engine.size(request(y=tensors["y"], x=tensors["x"])) == Size(rows=3, tokens=3)


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({"x": torch.zeros(2, 4)}, r"inputs\[y\]: missing"),
        ({**rows(2), "w": torch.zeros(2)}, r"inputs\[w\]: unknown; the model takes x, y"),
        ({**rows(2), "x": torch.zeros(2, 4).double()}, r"inputs\[x\]: its type is FLOAT64, expected FLOAT32"),
        ({**rows(2), "x": torch.zeros(2, 4, 1)}, r"inputs\[x\]: its rank is 3, expected 2"),
        ({**rows(2), "y": torch.zeros(2, 5)}, r"inputs\[y\]: the size of axis 1 is 5, expected 3"),
        ({**rows(101)}, r"inputs\[x\]: the size of axis 0 is 101, expected 0 to 100"),
        ({"x": torch.zeros(2, 4), "y": torch.zeros(3, 3)}, r"inputs\[y\]: an axis is 3, expected 2"),
        ({**rows(0)}, r"inputs: the first axes are \[0\], expected one size of at least 1"),
    ],
)
def test_size_names_the_wrong_input(engine: Engine, tensors: dict[str, torch.Tensor], text: str) -> None:
    with pytest.raises(InvalidSubmission, match=text):
        engine.size(request(**tensors))


def test_size_counts_the_bytes(engine: Engine) -> None:
    submission = request(**rows(2))
    submission.tensors.inputs[0].data += b"\0"
    with pytest.raises(InvalidSubmission, match=r"inputs\[x\]: a tensor of shape \[2, 4\] has bytes 33, expected 32"):
        engine.size(submission)
    submission.tensors.inputs[0].data_type = 77  # type: ignore[assignment]
    with pytest.raises(InvalidSubmission, match=r"inputs\[x\]: its type is 77, expected FLOAT32"):
        engine.size(submission)


def test_size_refuses_an_input_given_twice(engine: Engine) -> None:
    submission = request(**rows(2))
    submission.tensors.inputs.append(submission.tensors.inputs[0])
    with pytest.raises(InvalidSubmission, match=r"inputs\[x\]: given twice"):
        engine.size(submission)


def test_size_refuses_tokens(engine: Engine) -> None:
    with pytest.raises(InvalidSubmission, match="takes tensors"):
        engine.size(Submission(tokens=TokenInput(ids=[1])))


@pytest.mark.parametrize("dtype", list(DATA_TYPES))
def test_every_type_goes_in_and_out(dtype: torch.dtype, tmp_path: Path) -> None:
    example = torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype)
    save_module(tmp_path, Twice(), (example,), (("in",), ("out",)))
    engine = load(tmp_path)
    engine.size(request(**{"in": example}))
    first, second = engine.step([request(**{"in": example}), request(**{"in": example[:1]})])
    assert first.tensors[0] == wire("out", torch.cat((example, example), dim=-1))
    assert second.tensors[0] == wire("out", torch.cat((example, example), dim=-1)[:1])


def test_requests_of_other_lengths_run_apart(tmp_path: Path) -> None:
    dynamic = [{0: BATCH, 1: torch.export.Dim("length", min=2, max=9)}]
    save_module(tmp_path, Twice(), (torch.zeros(2, 3),), (("in",), ("out",)), dynamic)
    engine = load(tmp_path)
    engine.warm()
    inputs = [torch.rand(1, 5), torch.rand(2, 3), torch.rand(3, 5)]
    outputs = engine.step([request(**{"in": tensor}) for tensor in inputs])
    for tensor, output in zip(inputs, outputs, strict=True):
        assert output.tensors[0] == wire("out", torch.cat((tensor, tensor), dim=-1))
    with pytest.raises(InvalidSubmission, match="the size of axis 1 is 10, expected 2 to 9"):
        engine.size(request(**{"in": torch.zeros(1, 10)}))


def test_a_fixed_batch_is_refused_with_the_way_out(tmp_path: Path) -> None:
    save_module(tmp_path, Twice(), (torch.zeros(2, 3),), (("in",), ("out",)), [{}])
    with pytest.raises(LoadError, match=r"first axis of 'in' is of fixed size 2; export it with a dynamic batch"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (None, r"loquor\.toml: the file is missing"),
        ("[tensor", r"loquor\.toml: not readable as TOML"),
        ("[tensor]\ninputs = ['x', 'y']", r"\[tensor\] outputs is missing"),
        ("[tensor]\ninputs = ['x']\noutputs = ['z', 't']", r"\[tensor\] inputs: 1 names, the module has 2"),
        ("[tensor]\ninputs = ['x', 'x']\noutputs = ['z', 't']", "a name stands in it twice"),
        ("[tensor]\ninputs = 'x'\noutputs = ['z', 't']", "a list of names was expected"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: str | None, text: str, tmp_path: Path) -> None:
    save_affine(tmp_path)
    (tmp_path / "loquor.toml").unlink()
    if settings is not None:
        (tmp_path / "loquor.toml").write_text(settings)
    with pytest.raises(LoadError, match=text):
        load(tmp_path)


def test_a_dtype_is_not_for_exported_modules(affine: torch.nn.Module, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="dtype: 'bfloat16'"):
        load(tmp_path, dtype="bfloat16")
