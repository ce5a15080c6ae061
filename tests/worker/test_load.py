"""What engine a folder gets: its task, its limits, its labels, and the text of each refusal."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from loquor.internal.v1.replica_service_pb2 import (
    LABEL_SCORING_IDENTITY,
    LABEL_SCORING_SIGMOID,
    LABEL_SCORING_SOFTMAX,
    WorkerHello,
)
from loquor.v1.model_service_pb2 import TASK_CLASSIFY, TASK_EMBED, TASK_TAG_TOKENS
from loquor_worker.engines import LoadError
from loquor_worker.engines.load import load_engine
from tests.worker.encoder_folder import POSITIONS, save_bert, save_json


def hello(folder: Path, **changes: Any) -> WorkerHello:
    settings: dict[str, Any] = {
        "task": None,
        "device": "cpu",
        "dtype": "auto",
        "max_batch_tokens": None,
        "max_sequence_tokens": None,
    }
    return load_engine(folder, **{**settings, **changes}).hello


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("Model", TASK_EMBED),
        ("ForMaskedLM", TASK_EMBED),
        ("ForSequenceClassification", TASK_CLASSIFY),
        ("ForTokenClassification", TASK_TAG_TOKENS),
    ],
)
def test_the_architecture_says_the_task(kind: str, task: int, tmp_path: Path) -> None:
    save_bert(tmp_path, kind)
    assert hello(tmp_path).task == task


def test_a_setting_overrules_the_architecture(tmp_path: Path) -> None:
    save_bert(tmp_path, "ForSequenceClassification")
    assert hello(tmp_path, task="embed").task == TASK_EMBED


@pytest.mark.parametrize(
    ("changes", "scoring"),
    [
        ({"num_labels": 3}, LABEL_SCORING_SOFTMAX),
        ({"num_labels": 1}, LABEL_SCORING_SIGMOID),
        ({"num_labels": 1, "problem_type": "regression"}, LABEL_SCORING_IDENTITY),
        ({"num_labels": 3, "problem_type": "multi_label_classification"}, LABEL_SCORING_SIGMOID),
        ({"num_labels": 3, "problem_type": "single_label_classification"}, LABEL_SCORING_SOFTMAX),
    ],
)
def test_the_problem_says_the_scoring(changes: dict[str, Any], scoring: int, tmp_path: Path) -> None:
    save_bert(tmp_path, "ForSequenceClassification", **changes)
    assert hello(tmp_path).label_scoring == scoring
    assert len(hello(tmp_path).labels) == changes["num_labels"]


def test_labels_have_the_names_of_the_file(tmp_path: Path) -> None:
    names = {0: "O", 1: "B-CITY", 2: "I-CITY"}
    save_bert(tmp_path, "ForTokenClassification", id2label=names, label2id={v: k for k, v in names.items()})
    assert list(hello(tmp_path).labels) == list(names.values())
    assert hello(tmp_path).label_scoring == LABEL_SCORING_SOFTMAX


def test_sequences_are_as_long_as_the_least_bound(tmp_path: Path) -> None:
    save_bert(tmp_path)
    assert hello(tmp_path).sequence_tokens == POSITIONS
    save_json(tmp_path / "sentence_bert_config.json", {"max_seq_length": POSITIONS - 4})
    assert hello(tmp_path).sequence_tokens == POSITIONS - 4
    assert hello(tmp_path, max_sequence_tokens=7).sequence_tokens == 7
    assert hello(tmp_path, max_sequence_tokens=POSITIONS).sequence_tokens == POSITIONS - 4


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"task": "sing"}, "task: 'sing' is not one of"),
        ({"device": "cuda:77"}, "device: 'cuda:77' cannot be used"),
        ({"device": "abacus"}, "device: 'abacus' cannot be used"),
        ({"dtype": "int3"}, "dtype: 'int3' is not one of"),
        ({"task": "classify"}, r"model\.safetensors: classifier\.weight: the tensor is missing"),
    ],
)
def test_a_setting_that_cannot_be_served_is_named(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    save_bert(tmp_path)
    with pytest.raises(LoadError, match=text):
        hello(tmp_path, **changes)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"model_type": "mamba"}, "model_type: 'mamba' is not one of"),
        ({"model_type": "bert"}, "vocab_size: the value is missing"),
        ({"model_type": "bert", "vocab_size": "many"}, "vocab_size: 'many' is not of type int"),
        ([], "a JSON object was expected"),
    ],
)
def test_a_config_that_cannot_be_served_is_named(values: object, text: str, tmp_path: Path) -> None:
    save_json(tmp_path / "config.json", values)
    with pytest.raises(LoadError, match=rf"config\.json: {text}"):
        hello(tmp_path)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"config\.json: the file is missing"):
        hello(tmp_path)


def test_weights_of_another_shape_are_named(tmp_path: Path) -> None:
    save_bert(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors["encoder.layer.1.output.dense.weight"] = torch.zeros(3, 4)
    save_file(tensors, path)
    with pytest.raises(LoadError, match=r"encoder\.layer\.1\.output\.dense\.weight: its shape is \[3, 4\]"):
        hello(tmp_path)


def test_names_of_old_norms_are_known(tmp_path: Path) -> None:
    save_bert(tmp_path)
    path = tmp_path / "model.safetensors"
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in load_file(path).items()
    }
    save_file(renamed, path)
    assert hello(tmp_path).task == TASK_EMBED
