"""An unmodified `tritonclient` asks a real server for text, and by `loquor.v1` the answer is the same.

The client lives in a process of its own: its messages have the names of ours, which tests of the server load here.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tokenizers

from loquor.v1 import generation_pb2 as generation
from loquor.v1 import language_service_pb2 as api
from loquor.v1 import language_service_pb2_grpc as services
from tests.conftest import ROOT, RunningServer
from tests.end_to_end.writing_worker import LOGPROB, next_token

_MAX_TOKENS = 8
_LOADS = ("running_sequences", "waiting_sequences", "kv_blocks_used")
_TEMPLATE = "{% for message in messages %}{{ message.role }} says {{ message.content }}{% endfor %}"


@pytest.fixture(scope="module")
def running(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of the model `writer`, which has the tokenizer of `minilm`."""
    folder = tmp_path_factory.mktemp("repository") / "writer" / "1"
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_bytes((models / "minilm" / "1" / "tokenizer.json").read_bytes())
    (folder / "chat_template.jinja").write_text(_TEMPLATE)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    flags = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--repository", str(folder.parent.parent)]
    server = RunningServer(flags, tmp_path_factory.mktemp("server") / "log", program="tests.end_to_end.writing_serve")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def told(running: RunningServer) -> dict[str, Any]:
    """What the program with the unmodified client says of each of its calls."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.end_to_end.tritonclient_generation", running.address, "writer"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=ROOT,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
    )
    assert ran.returncode == 0, ran.stderr
    answers: dict[str, Any] = json.loads(ran.stdout)
    return answers


@pytest.fixture(scope="module")
def text(models: Path, told: dict[str, Any]) -> str:
    """What the rule writes on from the program's prompt."""
    tokenizer = tokenizers.Tokenizer.from_file(str(models / "minilm" / "1" / "tokenizer.json"))
    tokenizer.no_padding()
    tokens = prompt = tokenizer.encode(told["prompt"]).ids
    for _ in range(_MAX_TOKENS):
        tokens = [*tokens, next_token(tokens)]
    decoded = tokenizer.decode(tokens[len(prompt) :])
    assert isinstance(decoded, str)
    return decoded


def test_the_unary_call_answers_with_what_the_model_writes(told: dict[str, Any], text: str) -> None:
    answers = told["answers"]
    assert (answers["id"], [one.strip() for one in answers["text"]]) == ("7", [text])
    assert answers["finish_reason"] == ["length"]
    assert answers["output_tokens"] == [_MAX_TOKENS]
    assert answers["cumulative_logprob"] == [_MAX_TOKENS * LOGPROB]
    (tokens,) = answers["logprobs"]
    assert [entry["logprob"] for token in tokens for entry in token.values()] == [LOGPROB] * _MAX_TOKENS
    assert [entry["decoded_token"] for token in tokens for entry in token.values()] == text.split()


def test_many_texts_choices_and_ways_to_say_it(told: dict[str, Any]) -> None:
    answers = told["answers"]
    (text,) = answers["text"]
    assert [answers["many"][0], answers["many"][2]] == [text, text]
    assert answers["many"][1] not in ("", text)
    assert answers["choices"] == [text] * 3
    assert answers["with_prompt"] == [told["prompt"] + text]
    assert answers["flat"] == answers["by_parameters"] == [" " + " ".join(text.split()[:3])]
    assert answers["chat"] == ["OK", ""]


def test_both_protocols_give_the_same_text(running: RunningServer, told: dict[str, Any]) -> None:
    request = api.GenerateRequest(
        model="writer",
        input=generation.GenerationInput(prompt=told["prompt"]),
        sampling=generation.SamplingParams(max_tokens=_MAX_TOKENS, temperature=0),
    )
    with grpc.insecure_channel(running.address) as channel:
        stub: Callable[..., Any] = services.LanguageServiceStub
        events = list(stub(channel).Generate(request, timeout=30))
    assert ["".join(event.delta.text for event in events)] == told["answers"]["text"]


def test_a_stream_answers_as_the_text_is_written(told: dict[str, Any]) -> None:
    stream, (text,) = told["stream"], told["answers"]["text"]
    assert stream["texts"] == dict.fromkeys(("0", "1", "2", "4", "5"), text)
    for id in ("0", "1", "2"):
        assert len(stream["finals"][id]) > 2
        assert stream["finals"][id] == [False] * (len(stream["finals"][id]) - 1) + [True]
        assert set(stream["outputs"][id]) == {1}
    assert (stream["finals"]["4"][-2:], stream["outputs"]["4"][-2:]) == ([False, True], [1, 0])
    assert stream["finals"]["5"] == [True]
    assert ["temperature" in message for message in stream["errors"]] == [True]


def test_the_asyncio_client(told: dict[str, Any]) -> None:
    aio, (text,) = told["aio"], told["answers"]["text"]
    assert aio["stream"]["texts"] == {str(index): text for index in range(4)}
    assert (aio["stream"]["errors"], aio["unary"]) == ([], [[text]] * 4)


def test_a_cancelled_stream_leaves_the_server_free(running: RunningServer, told: dict[str, Any]) -> None:
    assert told["cancelled"] == told["answers"]["text"]
    assert [running.metric(f"loquor_{name}", model="writer") for name in _LOADS] == [0, 0, 0]


def test_a_cancelled_text_leaves_nothing_in_the_gauges(running: RunningServer) -> None:
    request = api.GenerateRequest(
        model="writer",
        input=generation.GenerationInput(prompt="a long story"),
        sampling=generation.SamplingParams(max_tokens=240),
    )
    with grpc.insecure_channel(running.address) as channel:
        stub: Callable[..., Any] = services.LanguageServiceStub
        call = stub(channel).Generate(request, timeout=30)
        assert [next(call).WhichOneof("event"), next(call).WhichOneof("event")] == ["started", "delta"]
        assert running.metric("loquor_running_sequences", model="writer") == 1
        assert running.metric("loquor_kv_blocks_used", model="writer") >= 1
        call.cancel()
    until = time.monotonic() + 5
    while any(running.metric(f"loquor_{name}", model="writer") for name in _LOADS):
        assert time.monotonic() < until


def test_a_stream_ends_with_a_status_if_asked(told: dict[str, Any]) -> None:
    status, message = told["status"]
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert "temperature" in message


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("unknown_parameter", "sampling_parameters['beam_size']: is unknown"),
        ("range", "sampling.temperature"),
        ("kind", "sampling_parameters['max_tokens']"),
        ("input", "inputs['text']: is not an input of the model"),
        ("empty", "must have either 'text_input' or 'messages'"),
        ("output", "outputs['embedding']"),
    ],
)
def test_errors(told: dict[str, Any], case: str, message: str) -> None:
    status, got = told["errors"][case]
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert message in got


def test_the_model_says_what_it_takes_and_gives(told: dict[str, Any]) -> None:
    description = told["description"]
    inputs = {i["name"]: (i["datatype"], i["shape"]) for i in description["metadata"]["inputs"]}
    assert (inputs["text_input"], inputs["stream"]) == (("BYTES", ["-1"]), ("BOOL", ["1"]))
    assert description["metadata"]["outputs"][0] == {"name": "text_output", "datatype": "BYTES", "shape": ["-1"]}
    assert description["config"]["model_transaction_policy"] == {"decoupled": True}
    assert "max_batch_size" not in description["config"]
    assert [(m["name"], m["state"]) for m in description["index"]] == [("writer", "READY")]
    (stats,) = description["statistics"]
    assert int(stats["inference_count"]) == int(stats["inference_stats"]["success"]["count"]) >= 15
    assert int(stats["inference_stats"]["fail"]["count"]) >= 3
    assert int(stats["execution_count"]) >= _MAX_TOKENS


def test_what_was_written_is_counted(running: RunningServer, told: dict[str, Any]) -> None:
    assert told["answers"]["text"]
    finished = running.metric("loquor_finished_total", model="writer", reason="length")
    assert finished >= 15
    assert running.metric("loquor_time_to_first_token_seconds_count", model="writer") >= finished
    assert running.metric("loquor_inter_token_latency_seconds_count", model="writer") >= finished
    assert running.metric("loquor_completion_tokens_total", model="writer") >= 3 * finished
    assert running.metric("loquor_prompt_tokens_total", model="writer") > finished
    assert running.metric("loquor_kv_blocks", model="writer") == 256
