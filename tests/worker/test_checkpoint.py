"""A folder's weights by name, and a clear refusal of what is missing, damaged or foreign."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from loquor_worker.checkpoint import Checkpoint
from loquor_worker.engines import LoadError


def test_reads_one_file(tmp_path: Path) -> None:
    save_file({"a": torch.arange(6.0).view(2, 3)}, tmp_path / "model.safetensors")
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.tensor("a").tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert checkpoint.shape("a") == (2, 3)
    assert "a" in checkpoint
    assert "b" not in checkpoint


def test_reads_several_files_by_their_index(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "one.safetensors")
    save_file({"b": torch.zeros(2)}, tmp_path / "two.safetensors")
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    checkpoint = Checkpoint(tmp_path)
    assert (checkpoint.tensor("a").tolist(), checkpoint.tensor("b").tolist()) == ([1.0], [0.0, 0.0])


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "gone.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(LoadError, match=r"gone\.safetensors: the file is missing"):
        Checkpoint(tmp_path)


def test_an_index_stays_in_its_folder(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "../other/model.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(LoadError, match="not a file of this folder"):
        Checkpoint(tmp_path)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(1000)}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(LoadError, match=r"model\.safetensors: not a whole safetensors file"):
        Checkpoint(tmp_path)


def test_another_format_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(LoadError, match="no other format is read"):
        Checkpoint(tmp_path)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(LoadError, match=r"model\.safetensors: b: the tensor is missing"):
        Checkpoint(tmp_path).tensor("b")


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    save_file({"a": torch.ones(1, dtype=torch.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(LoadError, match="a: weights of type int8 are not supported"):
        Checkpoint(tmp_path).tensor("a")
