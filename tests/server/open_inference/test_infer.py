"""ModelInfer over a real socket: text models, tensor models, and what every request has."""

import json
import struct
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from loquor_server import errors
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.tensors import join_bytes, split_bytes

CODES = grpc.StatusCode


def _doubler(rows: int = 2, **options: Any) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name="doubler", **options)
    request.inputs.add(name="mask", datatype="BF16", shape=[rows])
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 2])
    request.raw_input_contents.extend([b"\x80\x3f" * rows, struct.pack("<2f", 1, 2) * rows])
    return request


def _classification(request: oip.ModelInferRequest) -> oip.InferParameter:
    return request.outputs.add(name="x_again").parameters["classification"]


# --- text models ---


async def test_embedding(service: Any, text_request: Callable[..., oip.ModelInferRequest]) -> None:
    response = await service.call("ModelInfer", text_request("embedder", "alpha beta", "gamma", id="7"))
    assert (response.id, response.model_name, response.model_version) == ("7", "embedder", "1")
    (output,) = response.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("embedding", "FP32", [2, 3])
    assert struct.unpack("<6f", response.raw_output_contents[0]) == (2, 3, 2, 1, 3, 2)
    assert not output.HasField("contents")


async def test_label_and_score_and_pairs(service: Any, text_request: Callable[..., oip.ModelInferRequest]) -> None:
    request = text_request("classifier", "gamma", "beta")
    request.inputs.add(name="text_pair", datatype="BYTES", shape=[2, 1])
    request.raw_input_contents.append(join_bytes([b"gamma alpha", b""]))
    response = await service.call("ModelInfer", request)
    assert [output.name for output in response.outputs] == ["label", "score"]
    assert split_bytes(response.raw_output_contents[0], "label") == [b"yes", b"maybe"]
    assert struct.unpack("<6f", response.raw_output_contents[1]) == (1, 0, 2, 0, 1, 0)


async def test_entities(service: Any, text_request: Callable[..., oip.ModelInferRequest]) -> None:
    response = await service.call("ModelInfer", text_request("tagger", "olá alpha beta", "olá"))
    first, second = split_bytes(response.raw_output_contents[0], "entities")
    assert json.loads(first) == [{"label": "X", "score": 0.5, "start": 4, "end": 14, "text": "alpha beta"}]
    assert json.loads(second) == []


async def test_typed_contents(service: Any) -> None:
    request = oip.ModelInferRequest(model_name="embedder")
    contents = oip.InferTensorContents(bytes_contents=[b"alpha"])
    request.inputs.add(name="text", datatype="BYTES", shape=[1, 1], contents=contents)
    response = await service.call("ModelInfer", request)
    assert struct.unpack("<3f", response.raw_output_contents[0]) == (1, 1, 2)


async def test_parameters_of_texts(service: Any, text_request: Callable[..., oip.ModelInferRequest]) -> None:
    request = text_request("embedder", "alpha " * 20)
    code, message = await service.refused("ModelInfer", request)
    assert code is CODES.INVALID_ARGUMENT
    assert "text[0]: has 20 tokens" in message
    request.parameters["truncate"].bool_param = True
    request.parameters["normalize"].bool_param = True
    response = await service.call("ModelInfer", request)
    assert struct.unpack("<3f", response.raw_output_contents[0]) == (8, 8, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.inputs[0].shape.append(2), "inputs['text']: has shape [2, 2]"),
        (lambda r: r.inputs[0].shape.__setitem__(0, 3), "has 2 elements, its shape needs 3"),
        (lambda r: setattr(r.inputs[0], "datatype", "FP32"), "is of type 'FP32', the model takes BYTES"),
        (lambda r: setattr(r.inputs[0], "name", "texts"), "inputs['texts']: is not an input"),
        (lambda r: r.raw_input_contents.append(b""), "has 2 entries for 1 inputs"),
        (lambda r: r.inputs[0].contents.bytes_contents.append(b"x"), "typed contents in a request with raw ones"),
        (lambda r: r.raw_input_contents.__setitem__(0, join_bytes([b"\xff", b"a"])), "not UTF-8"),
        (lambda r: r.ClearField("inputs") or r.ClearField("raw_input_contents"), "inputs: lack 'text'"),
        (lambda r: r.outputs.add(name="score"), "outputs['score']: is not an output of the model"),
        (lambda r: setattr(r, "model_version", "newest"), "model_version: 'newest' is not a whole number"),
        (lambda r: setattr(r, "model_name", ""), "model_name: must name a model"),
    ],
)
async def test_a_bad_request_names_what_is_wrong(
    service: Any,
    text_request: Callable[..., oip.ModelInferRequest],
    change: Callable[[oip.ModelInferRequest], object],
    message: str,
) -> None:
    request = text_request("embedder", "alpha", "beta")
    change(request)
    code, told = await service.refused("ModelInfer", request)
    assert code is CODES.INVALID_ARGUMENT
    assert message in told


# --- tensor models ---


async def test_tensors_pass_unread_in_the_models_order_of_outputs(service: Any) -> None:
    response = await service.call("ModelInfer", _doubler(id="a"))
    assert [(o.name, o.datatype, list(o.shape)) for o in response.outputs] == [
        ("x_again", "FP32", [2, 2]),
        ("mask_again", "BF16", [2]),
    ]
    assert list(response.raw_output_contents) == [struct.pack("<2f", 1, 2) * 2, b"\x80\x3f" * 2]


async def test_only_the_outputs_asked_for_come_in_the_order_asked(service: Any) -> None:
    request = _doubler()
    request.outputs.add(name="mask_again")
    request.outputs.add(name="x_again").parameters["classification"].int64_param = 1
    response = await service.call("ModelInfer", request)
    assert [output.name for output in response.outputs] == ["mask_again", "x_again"]
    assert split_bytes(response.raw_output_contents[1], "x") == [b"2.000000:1"] * 2
    assert (response.outputs[1].datatype, list(response.outputs[1].shape)) == ("BYTES", [2, 1])


async def test_labels_name_the_scores_of_a_classifier(
    service: Any, text_request: Callable[..., oip.ModelInferRequest]
) -> None:
    request = text_request("classifier", "gamma")
    request.outputs.add(name="score").parameters["classification"].int64_param = 2
    response = await service.call("ModelInfer", request)
    assert split_bytes(response.raw_output_contents[0], "score") == [b"1.000000:2:yes", b"0.000000:0:no"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.raw_input_contents.__setitem__(1, b"\0" * 15), "inputs['x']: has 15 bytes of data"),
        (lambda r: r.inputs[1].shape.__setitem__(1, 3), "inputs['x']: has shape [2, 3]"),
        (lambda r: setattr(r.inputs[1], "datatype", "FP64"), "inputs['x']: is of type"),
        (lambda r: setattr(r.inputs[1], "datatype", "UINT64"), "has datatype 'UINT64', which no model takes"),
        (lambda r: setattr(r.inputs[1], "name", "y"), "inputs['y']"),
        (lambda r: r.inputs[0].shape.__setitem__(0, -2), "inputs['mask']: has shape [-2]"),
        (
            lambda r: r.outputs.add(name="x_again").parameters["classification"].__setattr__("int64_param", -1),
            "at least 1",
        ),
        (lambda r: r.outputs.add(name="x_again").parameters["classification"].__setattr__("bool_param", True), "int64"),
    ],
)
async def test_a_bad_tensor_is_named(
    service: Any, change: Callable[[oip.ModelInferRequest], object], message: str
) -> None:
    request = _doubler()
    change(request)
    code, told = await service.refused("ModelInfer", request)
    assert code is CODES.INVALID_ARGUMENT
    assert message in told


# --- what every request has ---


async def test_priority_and_timeout_reach_the_model(
    service: Any, text_request: Callable[..., oip.ModelInferRequest]
) -> None:
    request = text_request("embedder", "alpha")
    request.parameters["priority"].uint64_param = 70
    request.parameters["timeout"].int64_param = 3_000_000
    await service.call("ModelInfer", request)
    (caller,) = service.models["embedder"].callers
    assert caller.priority == 9
    assert caller.seconds_left() <= 3
    request.parameters["timeout"].int64_param = 1
    assert (await service.refused("ModelInfer", request))[0] is CODES.DEADLINE_EXCEEDED


@pytest.mark.parametrize("name", ["shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"])
async def test_tensors_in_shared_memory_are_refused(service: Any, name: str) -> None:
    request = _doubler()
    request.inputs[0].parameters[name].string_param = "region"
    code, message = await service.refused("ModelInfer", request)
    assert code is CODES.UNIMPLEMENTED
    assert "send the tensors in the request" in message
    request = _doubler()
    request.outputs.add(name="x_again").parameters[name].string_param = "region"
    assert (await service.refused("ModelInfer", request))[0] is CODES.UNIMPLEMENTED


async def test_statuses_of_models_that_cannot_answer(
    service: Any, text_request: Callable[..., oip.ModelInferRequest]
) -> None:
    assert (await service.refused("ModelInfer", text_request("nobody", "a")))[0] is CODES.NOT_FOUND
    assert (await service.refused("ModelInfer", text_request("unloaded", "a")))[0] is CODES.UNAVAILABLE
    service.models["embedder"].failure = errors.Overloaded("the queue is full", 0.5)
    assert (await service.refused("ModelInfer", text_request("embedder", "a")))[0] is CODES.RESOURCE_EXHAUSTED
