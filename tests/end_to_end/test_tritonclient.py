"""An unmodified `tritonclient` against a real server, and the same answers by both protocols.

The client lives in a process of its own: its messages have the names of ours, which tests of the server load here.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tokenizers
import torch

from loquor.v1 import language_service_pb2 as api
from loquor.v1 import language_service_pb2_grpc as services
from tests.conftest import RunningServer
from tests.worker.encoder_folder import save_bert

_PROGRAM = Path(__file__).with_name("tritonclient_program.py")
_LABELS = ["bad", "mixed", "good"]
_EXTENSIONS = {"classification", "model_repository", "schedule_policy", "model_configuration", "statistics", "logging"}


class _Adder(torch.nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


@pytest.fixture(scope="module")
def repository(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`minilm` as it is, a random classifier `sentiment`, and a tensor model `adder`."""
    root = tmp_path_factory.mktemp("repository")
    shutil.copytree(models / "minilm", root / "minilm")
    sentiment = root / "sentiment" / "1"
    save_bert(sentiment, "ForSequenceClassification", id2label=dict(enumerate(_LABELS)))
    _save_tokenizer(sentiment / "tokenizer.json")
    adder = root / "adder" / "1"
    adder.mkdir(parents=True)
    examples, batch = (torch.zeros(3, 2), torch.ones(3, 2)), torch.export.Dim("batch", max=64)
    exported = torch.export.export(_Adder(), examples, dynamic_shapes=({0: batch}, {0: batch}))
    torch.export.save(exported, adder / "model.pt2")
    (adder / "loquor.toml").write_text('[tensor]\ninputs = ["x", "y"]\noutputs = ["sum"]\n')
    return root


def _save_tokenizer(path: Path) -> None:
    words = ["[UNK]", "[CLS]", "[SEP]", "good", "bad"]
    model = tokenizers.models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(path))


@pytest.fixture(scope="module")
def running(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    flags = ["--address", "127.0.0.1:0", "--metrics-address", "", "--repository", str(repository), "--threads", "1"]
    server = RunningServer(flags, tmp_path_factory.mktemp("server") / "log")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def told(running: RunningServer) -> dict[str, Any]:
    """What the program with the unmodified client says of each of its calls."""
    ran = subprocess.run(
        [sys.executable, str(_PROGRAM), running.address],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
    )
    assert ran.returncode == 0, ran.stderr
    answers: dict[str, Any] = json.loads(ran.stdout)
    return answers


@pytest.fixture
def ours(running: RunningServer) -> Iterator[Any]:
    """A stub of `loquor.v1` on the same server."""
    with grpc.insecure_channel(running.address) as channel:
        stub: Callable[..., Any] = services.LanguageServiceStub
        yield stub(channel)


def test_the_server_says_what_it_is(told: dict[str, Any]) -> None:
    server = told["server"]
    assert (server["live"], server["ready"], server["models"]) == (True, True, [True, True, True, False])
    assert server["metadata"]["name"] == "loquor"
    assert set(server["metadata"]["extensions"]) >= _EXTENSIONS


def test_the_models_say_what_they_take_and_give(told: dict[str, Any]) -> None:
    models = told["models"]
    assert models["metadata"]["minilm"]["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": ["-1"]}]
    assert models["metadata"]["minilm"]["outputs"] == [
        {"name": "embedding", "datatype": "FP32", "shape": ["-1", "384"]}
    ]
    assert [output["name"] for output in models["config"]["sentiment"]["output"]] == ["label", "score"]
    assert [(i["name"], i["data_type"], i["dims"]) for i in models["config"]["adder"]["input"]] == [
        ("x", "TYPE_FP32", ["2"]),
        ("y", "TYPE_FP32", ["2"]),
    ]
    assert {(m["name"], m["version"], m["state"]) for m in models["index"]} == {
        (name, "1", "READY") for name in ("minilm", "sentiment", "adder")
    }


def test_texts_get_the_same_vectors_by_both_protocols(told: dict[str, Any], ours: Any) -> None:
    embeddings = told["embeddings"]
    assert (embeddings["id"], embeddings["version"], embeddings["same"]) == ("first", "1", [True, True])
    expected = ours.Embed(api.EmbedRequest(model="minilm", texts=told["texts"]))
    assert len(expected.embeddings) == len(embeddings["vectors"])
    for vector, embedding in zip(embeddings["vectors"], expected.embeddings, strict=True):
        assert vector == pytest.approx(list(embedding.values), abs=1e-5)


def test_texts_get_the_same_labels_by_both_protocols(told: dict[str, Any], ours: Any) -> None:
    labels = told["labels"]
    inputs = [api.ClassifyInput(text=text) for text in ("good", "bad bad")]
    expected = ours.Classify(api.ClassifyRequest(model="sentiment", inputs=inputs)).classifications
    assert labels["labels"] == [classification.labels[0].label for classification in expected]
    for scores, classification in zip(labels["scores"], expected, strict=True):
        assert dict(zip(_LABELS, scores, strict=True)) == pytest.approx(
            {entry.label: entry.score for entry in classification.labels}, abs=1e-6
        )
    best = labels["classified"][0]
    assert [element.split(":")[2] for element in best] == [entry.label for entry in expected[0].labels[:2]]
    assert (labels["outputs"], labels["pair"]) == (["score"], [1, 3])


def test_tensors(told: dict[str, Any]) -> None:
    assert told["tensors"] == {"sum": [[100, 102], [104, 106], [108, 110]], "names": ["sum"]}


@pytest.mark.parametrize(
    ("case", "status", "message"),
    [
        ("unknown_model", "NOT_FOUND", "'nobody' is not in the repository"),
        ("unknown_version", "NOT_FOUND", "version 7 of model 'minilm'"),
        ("unknown_output", "INVALID_ARGUMENT", "outputs['x']"),
        ("wrong_input", "INVALID_ARGUMENT", "inputs['texts']"),
        ("wrong_type", "INVALID_ARGUMENT", "inputs['x']"),
        ("too_long", "INVALID_ARGUMENT", "text[0]"),
        ("sequence", "INVALID_ARGUMENT", "keeps no state"),
        ("timeout", "DEADLINE_EXCEEDED", "deadline"),
        ("truncated", "OK", ""),
    ],
)
def test_errors(told: dict[str, Any], case: str, status: str, message: str) -> None:
    got, text = told["errors"][case]
    assert got.removeprefix("StatusCode.") == status
    assert message in text


def test_asynchronous_calls(told: dict[str, Any]) -> None:
    assert told["asynchronous"] == {"ids": [str(index) for index in range(8)], "errors": []}


def test_a_stream_answers_all_and_survives_a_failure(told: dict[str, Any]) -> None:
    stream = told["stream"]
    assert (stream["ids"], stream["final"]) == (["0", "1", "2", "4", "5"], [True] * 5)
    assert ["nobody" in message for message in stream["errors"]] == [True]


def test_a_cancelled_stream_leaves_the_server_free(told: dict[str, Any]) -> None:
    assert told["cancelled_stream"] == [1, 384]


def test_a_stream_ends_with_a_status_if_asked(told: dict[str, Any]) -> None:
    status, message = told["status_stream"]
    assert status == "StatusCode.NOT_FOUND"
    assert "nobody" in message


def test_the_asyncio_client(told: dict[str, Any]) -> None:
    aio = told["aio"]
    assert aio["ready"] is True
    assert aio["ids"] == [str(index) for index in range(16)]
    assert aio["distinct"] == 16
    assert aio["sum"] == [[100, 102]]
    assert aio["unknown"][0] == "StatusCode.NOT_FOUND"
    assert aio["streamed"] == [str(index) for index in range(5)]


def test_statistics(told: dict[str, Any]) -> None:
    (stats,) = told["statistics"]["one"]
    assert int(stats["inference_stats"]["success"]["count"]) >= 10
    assert int(stats["inference_stats"]["fail"]["count"]) >= 3
    assert int(stats["inference_count"]) >= int(stats["inference_stats"]["success"]["count"])
    assert 0 < int(stats["execution_count"]) <= int(stats["inference_count"])
    assert sum(int(b["compute_infer"]["count"]) for b in stats["batch_stats"]) == int(stats["execution_count"])
    assert set(told["statistics"]["all"]) == {"minilm", "sentiment", "adder"}


def test_trace_and_log_settings(told: dict[str, Any]) -> None:
    settings = told["settings"]
    assert settings["trace"]["settings"]["trace_level"] == {"value": ["OFF"]}
    assert settings["trace_cleared"] == settings["trace"]
    assert settings["trace_refused"][0] == "StatusCode.UNIMPLEMENTED"
    switches = [
        (log["settings"]["log_info"].get("bool_param"), log["settings"]["log_verbose_level"].get("uint32_param"))
        for log in settings["log"]
    ]
    assert switches == [(True, 0), (False, 0), (True, 1)]


def test_models_are_loaded_and_unloaded(told: dict[str, Any]) -> None:
    repository = told["repository"]
    assert repository["states"] == [False, True]
    assert repository["while_unloaded"][0] == "StatusCode.UNAVAILABLE"
    assert repository["overridden"][0] == repository["with_files"][0] == "StatusCode.INVALID_ARGUMENT"
    assert [status for status, _ in repository["unknown"]] == ["StatusCode.NOT_FOUND"] * 2


def test_shared_memory_is_refused_with_a_reason(told: dict[str, Any]) -> None:
    memory = told["shared_memory"]
    assert memory["status"] == [{}, {}]
    for status, message in memory["refused"]:
        assert status == "StatusCode.UNIMPLEMENTED"
        assert "by decision" in message
