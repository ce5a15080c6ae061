"""Every family's engine gives what `transformers` gives for the same small random checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from loquor.internal.v1.replica_service_pb2 import Outputs, Submission, TokenInput
from loquor_worker.engines.load import load_engine

VOCABULARY = 97
POSITIONS = 40
BERT_LIKE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 56,
    "num_labels": 5,
}
# Positions of RoBERTa and MPNet start behind the padding id.
CONFIGS: dict[str, Callable[[], Any]] = {
    "Bert": lambda: transformers.BertConfig(**BERT_LIKE, max_position_embeddings=POSITIONS),
    "Roberta": lambda: transformers.RobertaConfig(
        **BERT_LIKE, max_position_embeddings=POSITIONS + 2, type_vocab_size=1
    ),
    "XLMRoberta": lambda: transformers.XLMRobertaConfig(
        **BERT_LIKE, max_position_embeddings=POSITIONS + 2, type_vocab_size=1
    ),
    "MPNet": lambda: transformers.MPNetConfig(**BERT_LIKE, max_position_embeddings=POSITIONS + 2),
    "DistilBert": lambda: transformers.DistilBertConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=POSITIONS,
        dim=32,
        n_layers=3,
        n_heads=4,
        hidden_dim=56,
        num_labels=5,
    ),
    "ModernBert": lambda: transformers.ModernBertConfig(
        **BERT_LIKE,
        max_position_embeddings=POSITIONS,
        local_attention=6,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    ),
}
# Equal lengths stand in one dense run; 1 and the longest are the limits; 13 is above ModernBERT's window.
LENGTHS = [7, 1, POSITIONS, 13, 7, 2, 25, 1]
TOLERANCE = 1e-5


@pytest.fixture(params=list(CONFIGS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def saved(family: str, kind: str, folder: Path, **changes: Any) -> Any:
    """A random model of that family, with weights large enough for a wrong one to show, saved into `folder`."""
    config = CONFIGS[family]()
    for key, value in changes.items():
        setattr(config, key, value)
    torch.manual_seed(11)
    model = getattr(transformers, f"{family}{kind}")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(folder)
    return model


def texts() -> list[list[int]]:
    """Token ids without those of padding, which `transformers` leaves out when it counts positions."""
    random = np.random.default_rng(5)
    return [random.integers(3, VOCABULARY, size=length).tolist() for length in LENGTHS]


def run(folder: Path, batch: list[Submission], dtype: str = "float32", task: str | None = None) -> list[Outputs]:
    engine = load_engine(folder, task=task, device="cpu", dtype=dtype, max_batch_tokens=None, max_sequence_tokens=None)
    for submission in batch:
        engine.size(submission)
    return engine.step(batch)


def submissions(ids: list[list[int]]) -> list[Submission]:
    return [Submission(id=place, tokens=TokenInput(ids=text)) for place, text in enumerate(ids)]


def values(outputs: Outputs, name: str) -> np.ndarray:
    (tensor,) = [tensor for tensor in outputs.tensors if tensor.name == name]
    dtype = {"label_ids": "<i4"}.get(name, "<f4")
    return np.frombuffer(tensor.data, dtype).reshape(tuple(tensor.shape))


@torch.inference_mode()
def reference(model: Any, ids: list[int], **inputs: Any) -> torch.Tensor:
    outputs = model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **inputs)
    rows: torch.Tensor = outputs.logits if hasattr(outputs, "logits") else outputs.last_hidden_state
    return rows[0]


def test_embeddings(family: str, tmp_path: Path) -> None:
    model = saved(family, "Model", tmp_path)
    for ids, outputs in zip(texts(), run(tmp_path, submissions(texts())), strict=True):
        expected = reference(model, ids).mean(dim=0).numpy()
        assert np.abs(values(outputs, "embedding") - expected).max() < TOLERANCE


def test_sequence_labels(family: str, tmp_path: Path) -> None:
    model = saved(family, "ForSequenceClassification", tmp_path)
    for ids, outputs in zip(texts(), run(tmp_path, submissions(texts())), strict=True):
        assert np.abs(values(outputs, "logits") - reference(model, ids).numpy()).max() < TOLERANCE


def test_token_labels(family: str, tmp_path: Path) -> None:
    model = saved(family, "ForTokenClassification", tmp_path)
    for ids, outputs in zip(texts(), run(tmp_path, submissions(texts())), strict=True):
        scores, labels = reference(model, ids).softmax(dim=-1).max(dim=-1)
        assert values(outputs, "label_ids").tolist() == labels.tolist()
        assert np.abs(values(outputs, "scores") - scores.numpy()).max() < TOLERANCE


def test_bfloat16_is_near(family: str, tmp_path: Path) -> None:
    model = saved(family, "Model", tmp_path)
    for ids, outputs in zip(texts(), run(tmp_path, submissions(texts()), dtype="bfloat16"), strict=True):
        ours, expected = values(outputs, "embedding"), reference(model, ids).mean(dim=0).numpy()
        assert ours @ expected / np.linalg.norm(ours) / np.linalg.norm(expected) > 0.999


def test_pairs_have_two_token_types(tmp_path: Path) -> None:
    model = saved("Bert", "ForSequenceClassification", tmp_path)
    ids, pair_start = texts()[3], 5
    pair = Submission(tokens=TokenInput(ids=ids, pair_start=pair_start))
    types = torch.tensor([[0] * pair_start + [1] * (len(ids) - pair_start)])
    paired, single = run(tmp_path, [pair, *submissions([ids])])
    expected = reference(model, ids, token_type_ids=types).numpy()
    assert np.abs(values(paired, "logits") - expected).max() < TOLERANCE
    assert np.abs(values(single, "logits") - expected).max() > TOLERANCE


def test_families_without_types_ignore_the_pair(tmp_path: Path) -> None:
    saved("Roberta", "ForSequenceClassification", tmp_path)
    ids = texts()[3]
    paired, single = run(tmp_path, [Submission(tokens=TokenInput(ids=ids, pair_start=4)), *submissions([ids])])
    assert values(paired, "logits").tolist() == values(single, "logits").tolist()


def test_modernbert_can_pool_the_mean(tmp_path: Path) -> None:
    model = saved("ModernBert", "ForSequenceClassification", tmp_path, classifier_pooling="mean")
    (outputs,) = run(tmp_path, submissions([texts()[6]]))
    assert np.abs(values(outputs, "logits") - reference(model, texts()[6]).numpy()).max() < TOLERANCE


def test_modernbert_with_biases(tmp_path: Path) -> None:
    torch.manual_seed(3)
    config = CONFIGS["ModernBert"]()
    config.norm_bias = config.attention_bias = config.mlp_bias = config.classifier_bias = True
    model = transformers.ModernBertForSequenceClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.save_pretrained(tmp_path)
    (outputs,) = run(tmp_path, submissions([texts()[6]]))
    assert np.abs(values(outputs, "logits") - reference(model, texts()[6]).numpy()).max() < TOLERANCE


def test_a_long_window_crosses_blocks(tmp_path: Path) -> None:
    """Local attention runs in blocks of 64 queries at least; this text has three of them."""
    model = saved("ModernBert", "Model", tmp_path, max_position_embeddings=200)
    ids = np.random.default_rng(1).integers(3, VOCABULARY, size=170).tolist()
    (outputs,) = run(tmp_path, submissions([ids]))
    assert np.abs(values(outputs, "embedding") - reference(model, ids).mean(dim=0).numpy()).max() < TOLERANCE
