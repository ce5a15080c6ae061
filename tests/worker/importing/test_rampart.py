"""Rampart, converted: the arithmetic on a graph made by hand, and the real model against its original.

`rampart_reference.json` holds the logits that onnxruntime 1.32.0 computes from the package's 4-bit file, to 4 decimals.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import BertForTokenClassification

from loquor_worker.importing import ConversionFailed, pull, rampart

REFERENCE = Path(__file__).with_name("rampart_reference.json")
BLOCK = 16


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pull("rampart", tmp_path_factory.mktemp("models"))


def test_the_real_model_gives_its_originals_logits_and_labels(pulled: Path) -> None:
    model = BertForTokenClassification.from_pretrained(pulled).eval()
    for row in json.loads(REFERENCE.read_text()):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row["ids"]])).logits[0]
        assert torch.max(torch.abs(logits - torch.tensor(row["logits"]))) < 1e-4
        assert [model.config.id2label[index] for index in logits.argmax(-1).tolist()] == row["labels"]


def test_the_real_tokenizer_gives_the_originals_ids(pulled: Path) -> None:
    tokenizer = Tokenizer.from_file(str(pulled / "tokenizer.json"))
    for row in json.loads(REFERENCE.read_text()):
        assert tokenizer.encode(row["text"]).ids == row["ids"]


def test_the_real_model_lacks_and_adds_no_weight(pulled: Path) -> None:
    _, report = BertForTokenClassification.from_pretrained(pulled, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]


def test_the_licence_and_the_notice_are_beside_it(pulled: Path) -> None:
    assert "National Design Studio" in (pulled / "NOTICE").read_text()
    assert "Attribution 4.0 International" in (pulled / "LICENSE").read_text()


def graph_of(
    matrix: np.ndarray[Any, Any], scales: np.ndarray[Any, Any], zero_points: np.ndarray[Any, Any] | None
) -> Any:
    """A graph with one 4-bit matrix, packed here the other way round from how it is read: number by number."""
    rows, columns = matrix.shape
    packed = np.zeros((rows, columns // BLOCK, BLOCK // 2), np.uint8)
    for row in range(rows):
        for column in range(columns):
            packed[row, column // BLOCK, column % BLOCK // 2] |= matrix[row, column] << (4 * (column % 2))
    arrays = {"q": packed, "s": scales, "classifier.bias": np.arange(3, dtype=np.float32)}
    inputs = ["x", "q", "s"]
    if zero_points is not None:
        arrays["z"] = (zero_points[:, 0] | zero_points[:, 1] << 4).astype(np.uint8)
        inputs.append("z")
    for name in ("word", "position", "token_type"):
        parameter = f"bert.embeddings.{name}_embeddings.weight"
        arrays |= {parameter + "_quantized": np.array([[0, 255], [128, 7]], np.uint8)}
        arrays |= {parameter + "_zero_point": np.array(128, np.uint8), parameter + "_scale": np.array(0.5, np.float32)}
    node = helper.make_node(
        "MatMulNBits", inputs, ["y"], name="/classifier/MatMul_Q4", K=columns, N=rows, block_size=BLOCK, bits=4
    )
    return helper.make_graph(
        [node], "g", [], [], [numpy_helper.from_array(value, key) for key, value in arrays.items()]
    )


@pytest.mark.parametrize("with_zero_points", [False, True])
def test_numbers_scales_and_zero_points(tmp_path: Path, with_zero_points: bool) -> None:
    random = np.random.default_rng(3)
    matrix = random.integers(0, 16, (3, 2 * BLOCK))
    scales = random.random((3, 2), np.float32)
    zero_points = random.integers(0, 16, (3, 2)) if with_zero_points else None
    (tmp_path / "source" / "onnx").mkdir(parents=True)
    (tmp_path / "source" / "config.json").write_text("{}")
    graph = graph_of(matrix, scales, zero_points)
    onnx.save(helper.make_model(graph), tmp_path / "source" / "onnx" / "model_q4.onnx")
    rampart.convert(tmp_path / "source", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    zeros = np.full((3, 2), 8) if zero_points is None else zero_points
    expected = (matrix - np.repeat(zeros, BLOCK, 1)) * np.repeat(scales, BLOCK, 1)
    assert np.allclose(weights["classifier.weight"], expected, rtol=1e-6)
    assert weights["classifier.bias"].tolist() == [0, 1, 2]
    assert weights["bert.embeddings.word_embeddings.weight"].tolist() == [[-64.0, 63.5], [0.0, -60.5]]
    assert (tmp_path / "config.json").read_text() == "{}"


def test_without_the_extra_one_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConversionFailed, match=r"pip install 'loquor\[convert\]'"):
        rampart.convert(tmp_path, tmp_path)
