"""The encoder engine: its checks, its order, its hello, and that batch mates do not touch each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loquor.internal.v1.replica_service_pb2 import Outputs, Submission, TensorInput, TokenInput
from loquor.v1.model_service_pb2 import TASK_EMBED
from loquor_worker.engines import DeviceFailed, Engine, InvalidSubmission, OutOfMemory, Size
from loquor_worker.engines.load import load_engine
from loquor_worker.models.transformer import Transformer
from tests.worker.encoder_folder import POSITIONS, VOCABULARY, WIDTH, save_bert


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    save_bert(tmp_path)
    return load_engine(
        tmp_path, task=None, device="cpu", dtype="auto", max_batch_tokens=64, max_sequence_tokens=POSITIONS - 1
    )


def submission(*ids: int, **options: Any) -> Submission:
    return Submission(tokens=TokenInput(ids=ids, **options))


def embedding(outputs: Outputs) -> list[float]:
    (tensor,) = outputs.tensors
    assert (tensor.name, list(tensor.shape)) == ("embedding", [WIDTH])
    return [float(value) for value in np.frombuffer(tensor.data, "<f4")]


def test_hello(engine: Engine) -> None:
    hello = engine.hello
    assert (hello.task, hello.device, hello.dtype) == (TASK_EMBED, "cpu", "float32")
    assert (hello.sequence_tokens, hello.batch_tokens) == (POSITIONS - 1, 64)
    assert (hello.vocabulary_size, hello.embedding_dimensions) == (VOCABULARY, WIDTH)
    assert hello.threads == torch.get_num_threads()


def test_size_counts_tokens(engine: Engine) -> None:
    assert engine.size(submission(1, 2, 3)) == Size(rows=1, tokens=3)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (submission(), "tokens.ids: at least one"),
        (submission(1, VOCABULARY), f"tokens.ids: {VOCABULARY} is not below"),
        (submission(*range(POSITIONS)), f"tokens.ids: {POSITIONS} tokens, the model takes {POSITIONS - 1}"),
        (submission(1, 2, pair_start=3), "tokens.pair_start: 3"),
        (Submission(tensors=TensorInput()), "takes tokens"),
        (Submission(), "takes tokens"),
    ],
)
def test_size_names_the_wrong_field(engine: Engine, wrong: Submission, text: str) -> None:
    with pytest.raises(InvalidSubmission, match=text):
        engine.size(wrong)


def test_outputs_are_in_the_order_of_the_batch(engine: Engine) -> None:
    random = np.random.default_rng(4)
    batch = [submission(*random.integers(0, VOCABULARY, size=n).tolist()) for n in (9, 2, 20, 2, 1, 9, 14)]
    together = [embedding(outputs) for outputs in engine.step(batch)]
    alone = [embedding(engine.step([one])[0]) for one in batch]
    assert np.abs(np.array(together) - np.array(alone)).max() < 1e-6
    assert len({tuple(row) for row in together}) == len(batch)


def test_each_submission_says_whether_to_normalize(engine: Engine) -> None:
    plain, unit = (
        np.array(embedding(outputs))
        for outputs in engine.step([submission(3, 4, normalize=False), submission(3, 4, normalize=True)])
    )
    assert np.linalg.norm(unit) == pytest.approx(1.0, abs=1e-6)
    assert np.abs(plain / np.linalg.norm(plain) - unit).max() < 1e-6
    assert np.linalg.norm(plain) > 1.1


def test_warm_runs_no_sequence_that_is_too_long(engine: Engine) -> None:
    engine.warm()
    assert embedding(engine.step([submission(5)])[0])


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.OutOfMemoryError("full"), OutOfMemory),
        (RuntimeError("CUDA error: device-side assert triggered"), DeviceFailed),
        (RuntimeError("another"), RuntimeError),
    ],
)
def test_errors_of_the_device_are_named(
    engine: Engine, raised: Exception, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(Transformer, "forward", fail)
    with pytest.raises(expected, match=str(raised)) as caught:
        engine.step([submission(1)])
    assert type(caught.value) is expected
