"""Embeddings are made as the files of sentence-transformers say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from loquor.internal.v1.replica_service_pb2 import Submission, TokenInput
from loquor_worker.engines import LoadError
from loquor_worker.engines.load import load_engine
from tests.worker.encoder_folder import WIDTH, save_bert, save_json

IDS = [3, 9, 27, 31]
MODULES = "sentence_transformers.models."


def save_modules(folder: Path, *kinds: str) -> None:
    kinds = ("Transformer", *kinds)
    modules = [
        {"idx": place, "path": f"{place}_{kind}" if place else "", "type": MODULES + kind}
        for place, kind in enumerate(kinds)
    ]
    save_json(folder / "modules.json", modules)


def embed(folder: Path) -> np.ndarray:
    engine = load_engine(
        folder, task="embed", device="cpu", dtype="float32", max_batch_tokens=None, max_sequence_tokens=None
    )
    (outputs,) = engine.step([Submission(tokens=TokenInput(ids=IDS))])
    vector = np.frombuffer(outputs.tensors[0].data, "<f4")
    assert engine.hello.embedding_dimensions == len(vector)
    return vector


def hidden_states(model: torch.nn.Module) -> np.ndarray:
    with torch.inference_mode():
        rows: np.ndarray = model(input_ids=torch.tensor([IDS])).last_hidden_state[0].numpy()
    return rows


POOLED = {"cls": lambda rows: rows[0], "mean": lambda rows: rows.mean(axis=0), "max": lambda rows: rows.max(axis=0)}


@pytest.mark.parametrize(
    ("pooling", "name"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode": "max"}, "max"),
    ],
)
def test_pooling(pooling: dict[str, object], name: str, tmp_path: Path) -> None:
    rows = hidden_states(save_bert(tmp_path))
    save_modules(tmp_path, "Pooling")
    save_json(tmp_path / "1_Pooling" / "config.json", pooling)
    assert np.abs(embed(tmp_path) - POOLED[name](rows)).max() < 1e-5


def test_normalize(tmp_path: Path) -> None:
    mean = hidden_states(save_bert(tmp_path)).mean(axis=0)
    save_modules(tmp_path, "Pooling", "Normalize")
    save_json(tmp_path / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    assert np.abs(embed(tmp_path) - mean / np.linalg.norm(mean)).max() < 1e-5


def test_a_dense_module_follows_the_pooling(tmp_path: Path) -> None:
    mean = hidden_states(save_bert(tmp_path)).mean(axis=0)
    save_modules(tmp_path, "Pooling", "Dense")
    save_json(tmp_path / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    dense = {"in_features": WIDTH, "out_features": 5, "bias": True, "activation_function": "torch.nn.Tanh"}
    save_json(tmp_path / "2_Dense" / "config.json", dense)
    weight, bias = torch.randn(5, WIDTH), torch.randn(5)
    save_file({"linear.weight": weight, "linear.bias": bias}, tmp_path / "2_Dense" / "model.safetensors")
    assert np.abs(embed(tmp_path) - np.tanh(weight.numpy() @ mean + bias.numpy())).max() < 1e-5


@pytest.mark.parametrize(
    ("kinds", "pooling", "text"),
    [
        (["WordWeights"], {}, r"modules\.json: type: the module 'WordWeights'"),
        (["Pooling"], {"pooling_mode_lasttoken": True}, r"1_Pooling/config\.json: the pooling lasttoken"),
        (["Pooling"], {"pooling_mode": "weightedmean"}, r"1_Pooling/config\.json: pooling_mode: 'weightedmean'"),
        (
            ["Pooling"],
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            r"1_Pooling/config\.json: the pooling cls \+ mean",
        ),
        (["Pooling", "Dense"], {"pooling_mode": "mean"}, r"2_Dense/config\.json: the file is missing"),
    ],
)
def test_what_cannot_be_served_is_named(
    kinds: list[str], pooling: dict[str, object], text: str, tmp_path: Path
) -> None:
    save_bert(tmp_path)
    save_modules(tmp_path, *kinds)
    save_json(tmp_path / "1_Pooling" / "config.json", pooling)
    with pytest.raises(LoadError, match=text):
        embed(tmp_path)
