"""The real models on real sentences: our engine gives what `transformers` gives."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer

from loquor.internal.v1.replica_service_pb2 import Outputs, Submission, TokenInput
from loquor_worker.engines.load import load_engine

SENTENCES = [
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "Someone consumes a meal.",
    "The girl is carrying a baby.",
    "My name is Alex Rivera, I live at 742 Evergreen Terrace, Springfield, and my email is alex@example.com.",
    "Der schnelle braune Fuchs springt über den faulen Hund. 素早い茶色の狐。",
    "?",
    "A dead worker comes back without anybody's help. " * 40,
]
TOLERANCE = 1e-5


def newest(models: Path, name: str) -> Path:
    return max((models / name).iterdir(), key=lambda version: int(version.name))


def tokenized(folder: Path) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return [encoding.ids for encoding in tokenizer.encode_batch(SENTENCES)]


def run(folder: Path, texts: list[list[int]]) -> list[Outputs]:
    engine = load_engine(
        folder, task=None, device="cpu", dtype="float32", max_batch_tokens=None, max_sequence_tokens=None
    )
    batch = [Submission(id=place, tokens=TokenInput(ids=ids)) for place, ids in enumerate(texts)]
    for submission in batch:
        engine.size(submission)
    return engine.step(batch)


@torch.inference_mode()
def test_minilm_embeddings(models: Path) -> None:
    folder = newest(models, "minilm")
    model, texts = transformers.AutoModel.from_pretrained(folder).eval(), tokenized(folder)
    vectors = [np.frombuffer(outputs.tensors[0].data, "<f4") for outputs in run(folder, texts)]
    for ids, vector in zip(texts, vectors, strict=True):
        mean = model(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(dim=0)
        assert np.abs(vector - torch.nn.functional.normalize(mean, dim=0).numpy()).max() < TOLERANCE
    # The figures that are public for this model and these sentences.
    similar = [float(vectors[0] @ vectors[place]) for place in (1, 2, 3)]
    assert similar == pytest.approx([0.755, 0.720, -0.105], abs=1e-3)


@torch.inference_mode()
def test_rampart_token_labels(models: Path) -> None:
    folder = newest(models, "rampart")
    model, texts = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval(), tokenized(folder)
    for ids, outputs in zip(texts, run(folder, texts), strict=True):
        scores, labels = model(input_ids=torch.tensor([ids])).logits[0].softmax(dim=-1).max(dim=-1)
        found = {tensor.name: tensor.data for tensor in outputs.tensors}
        assert np.frombuffer(found["label_ids"], "<i4").tolist() == labels.tolist()
        assert np.abs(np.frombuffer(found["scores"], "<f4") - scores.numpy()).max() < TOLERANCE
