import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from loquor.v1 import generation_pb2 as generation
from loquor_server.inference import open_inference_pb2 as oip

CODES = grpc.StatusCode


async def test_the_server_tells_what_it_is(service: Any) -> None:
    assert (await service.call("ServerLive", oip.ServerLiveRequest())).live
    assert (await service.call("ServerReady", oip.ServerReadyRequest())).ready
    told = await service.call("ServerMetadata", oip.ServerMetadataRequest())
    assert (told.name, told.version) == ("loquor", "1.2.3")
    assert not {"sequence", "trace", "system_shared_memory", "cuda_shared_memory"} & set(told.extensions)


@pytest.mark.parametrize(
    ("name", "version", "ready"),
    [
        ("embedder", "", True),
        ("embedder", "1", True),
        ("embedder", "2", False),
        ("nobody", "", False),
        ("unloaded", "", False),
    ],
)
async def test_readiness_of_a_model(service: Any, name: str, version: str, ready: bool) -> None:
    response = await service.call("ModelReady", oip.ModelReadyRequest(name=name, version=version))
    assert response.ready is ready


async def test_metadata_and_configuration_agree(service: Any) -> None:
    for name in service.models.keys() - {"writer"}:
        told = await service.call("ModelMetadata", oip.ModelMetadataRequest(name=name))
        config = (await service.call("ModelConfig", oip.ModelConfigRequest(name=name))).config
        assert [(i.name, list(i.shape)) for i in told.inputs] == [(i.name, [-1, *i.dims]) for i in config.input]
        assert [(o.name, list(o.shape)) for o in told.outputs] == [(o.name, [-1, *o.dims]) for o in config.output]
        assert (list(told.versions), config.max_batch_size, config.backend) == (["1"], 16, "loquor")


async def test_a_model_that_generates_is_decoupled_and_has_no_batch_dimension(service: Any) -> None:
    told = await service.call("ModelMetadata", oip.ModelMetadataRequest(name="writer"))
    config = (await service.call("ModelConfig", oip.ModelConfigRequest(name="writer"))).config
    assert [(i.name, list(i.shape)) for i in told.inputs] == [(i.name, list(i.dims)) for i in config.input]
    assert (config.max_batch_size, config.model_transaction_policy.decoupled, config.backend) == (0, True, "loquor")
    inputs = {i.name: (i.data_type, list(i.dims), i.optional) for i in config.input}
    assert inputs["text_input"] == (oip.TYPE_STRING, [-1], True)
    assert inputs["stream"] == (oip.TYPE_BOOL, [1], True)
    assert inputs["max_tokens"] == (oip.TYPE_INT32, [1], True)
    assert [(o.name, o.datatype, list(o.shape)) for o in told.outputs] == [
        ("text_output", "BYTES", [-1]),
        ("finish_reason", "BYTES", [-1]),
        ("cumulative_logprob", "FP32", [-1]),
        ("logprobs", "BYTES", [-1]),
        ("num_input_tokens", "UINT32", [-1]),
        ("num_output_tokens", "UINT32", [-1]),
    ]
    assert dict(told.properties)["task"] == "generate"


async def test_the_configuration_of_a_classifier(service: Any) -> None:
    config = (await service.call("ModelConfig", oip.ModelConfigRequest(name="classifier"))).config
    assert [(i.name, i.data_type, i.optional) for i in config.input] == [
        ("text", oip.TYPE_STRING, False),
        ("text_pair", oip.TYPE_STRING, True),
    ]
    assert [(o.name, o.label_filename) for o in config.output] == [("label", ""), ("score", "config.json")]
    assert json.loads(config.parameters["labels"].string_value) == ["no", "maybe", "yes"]
    assert [(g.count, g.kind) for g in config.instance_group] == [(1, oip.ModelInstanceGroup.KIND_CPU)]
    assert config.dynamic_batching.priority_levels == 9


async def test_statistics_count_answers_and_failures(
    service: Any, text_request: Callable[..., oip.ModelInferRequest]
) -> None:
    await service.call("ModelInfer", text_request("embedder", "alpha", "beta"))
    rows = oip.ModelInferRequest(model_name="doubler", raw_input_contents=[b"\0\0" * 3, b"\0" * 24])
    rows.inputs.add(name="mask", datatype="BF16", shape=[3])
    rows.inputs.add(name="x", datatype="FP32", shape=[3, 2])
    await service.call("ModelInfer", rows)
    await service.refused("ModelInfer", text_request("embedder"))
    told = await service.call("ModelStatistics", oip.ModelStatisticsRequest(name="embedder"))
    (stats,) = told.model_stats
    assert (stats.inference_count, stats.inference_stats.success.count, stats.inference_stats.fail.count) == (2, 1, 1)
    assert (stats.inference_stats.queue.ns, stats.inference_stats.compute_infer.ns) == (250_000_000, 500_000_000)
    everything = await service.call("ModelStatistics", oip.ModelStatisticsRequest())
    assert {s.name: s.inference_count for s in everything.model_stats}["doubler"] == 3
    assert (await service.refused("ModelStatistics", oip.ModelStatisticsRequest(name="x")))[0] is CODES.NOT_FOUND


async def test_statistics_of_texts_that_were_written(service: Any) -> None:
    finished = generation.GenerationFinished()
    finished.timings.tokenization_seconds = 0.125
    finished.timings.queue_seconds = 0.25
    finished.timings.total_seconds = 1.0
    for _ in range(2):
        service.statistics.generated(service.models["writer"], finished)
    told = await service.call("ModelStatistics", oip.ModelStatisticsRequest(name="writer"))
    (stats,) = told.model_stats
    assert (stats.inference_count, stats.inference_stats.success.count) == (2, 2)
    assert stats.inference_stats.success.ns == 1_750_000_000
    assert stats.inference_stats.queue.ns == 500_000_000
    assert stats.inference_stats.compute_infer.ns == 1_250_000_000
    assert stats.last_inference > 0
