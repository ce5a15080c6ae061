"""What is read of a request for text, and how each bad value is named."""

import json
import struct
from collections.abc import Callable
from typing import Any

import pytest

from loquor.v1.generation_pb2 import SamplingParams
from loquor_server.errors import InvalidArgument
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.generation_request import read_generation
from loquor_server.open_inference.tensors import join_bytes


def asked(*texts: str, **scalars: tuple[str, bytes]) -> oip.ModelInferRequest:
    """A request with `text_input`, and further inputs as `name=(datatype, data)` of shape [1]."""
    request = oip.ModelInferRequest(model_name="writer")
    if texts:
        request.inputs.add(name="text_input", datatype="BYTES", shape=[len(texts)])
        request.raw_input_contents.append(join_bytes(text.encode() for text in texts))
    for name, (datatype, data) in scalars.items():
        request.inputs.add(name=name, datatype=datatype, shape=[1])
        request.raw_input_contents.append(data)
    return request


def sampled(**values: Any) -> SamplingParams:
    return read_generation(asked("a", sampling_parameters=text(json.dumps(values)))).sampling


def text(value: str) -> tuple[str, bytes]:
    return "BYTES", join_bytes([value.encode()])


TRUE, FALSE = ("BOOL", b"\1"), ("BOOL", b"\0")


def test_a_text_alone() -> None:
    read = read_generation(asked("a b"))
    assert [given.prompt for given in read.inputs] == ["a b"]
    assert read.sampling == SamplingParams()
    assert (read.prompts, read.wanted, read.streams) == ([""], ("text_output",), False)


def test_the_parameters_of_vllms_backend() -> None:
    params = sampled(
        max_tokens=16,
        min_tokens="2",
        temperature="0.5",
        top_k=-1,
        top_p=0.25,
        min_p=0,
        repetition_penalty=2,
        presence_penalty=-0.5,
        frequency_penalty=1,
        seed=2**64 - 1,
        stop="end",
        stop_token_ids=[1, "2"],
        ignore_eos="True",
        n=2,
        logprobs=3,
        logit_bias={"7": -100, "8": "1.5"},
    )
    assert params == SamplingParams(
        max_tokens=16,
        min_tokens=2,
        temperature=0.5,
        top_p=0.25,
        repetition_penalty=2,
        presence_penalty=-0.5,
        frequency_penalty=1,
        seed=2**64 - 1,
        stop=["end"],
        stop_token_ids=[1, 2],
        ignore_eos=True,
        n=2,
        logprobs=3,
        logit_bias={7: -100, 8: 1.5},
    )
    assert list(sampled(stop=["a", "b"]).stop) == ["a", "b"]
    assert sampled(max_tokens=10.0, stop=None) == SamplingParams(max_tokens=10)


@pytest.mark.parametrize(
    ("values", "schema", "regex"),
    [
        ({"guided_json": {"type": "object"}}, '{"type": "object"}', ""),
        ({"guided_json": '{"type":"array"}'}, '{"type":"array"}', ""),
        ({"guided_regex": "[ab]+"}, "", "[ab]+"),
        ({"structured_outputs": {"json": {}}}, "{}", ""),
        ({"structured_outputs": {"regex": "a|b"}}, "", "a|b"),
    ],
)
def test_structured_outputs(values: dict[str, Any], schema: str, regex: str) -> None:
    assert (sampled(**values).json_schema, sampled(**values).regex) == (schema, regex)


def test_the_tensors_of_tensorrt_llm() -> None:
    request = asked(
        "a",
        max_tokens=("INT32", struct.pack("<i", 5)),
        temperature=("FP32", struct.pack("<f", 0.5)),
        top_k=("INT64", struct.pack("<q", 4)),
        random_seed=("UINT64", struct.pack("<Q", 9)),
        beam_width=("INT32", struct.pack("<i", 1)),
        return_log_probs=TRUE,
        streaming=TRUE,
    )
    request.inputs[1].shape.append(1)
    request.inputs.add(name="stop_words", datatype="BYTES", shape=[2])
    request.raw_input_contents.append(join_bytes([b"x", b"y"]))
    read = read_generation(request)
    assert read.sampling == SamplingParams(max_tokens=5, temperature=0.5, top_k=4, seed=9, logprobs=0, stop=["x", "y"])
    assert (read.wanted, read.streams) == (("text_output", "logprobs"), True)


def test_parameters_of_the_request() -> None:
    request = asked("a")
    request.parameters["max_tokens"].int64_param = 3
    request.parameters["temperature"].double_param = 0.5
    request.parameters["stop"].string_param = "x"
    request.parameters["my_own"].string_param = "ignored"
    assert read_generation(request).sampling == SamplingParams(max_tokens=3, temperature=0.5, stop=["x"])


def test_a_chat() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Olá"}]
    (given,) = read_generation(asked(messages=text(json.dumps(messages)))).inputs
    assert [(m.role, m.content) for m in given.chat.messages] == [("system", "Be brief."), ("user", "Olá")]


def test_what_is_wanted() -> None:
    request = asked("a", "b", return_finish_reason=TRUE, return_num_output_tokens=TRUE, return_logprobs=FALSE)
    assert read_generation(request).wanted == ("text_output", "finish_reason", "num_output_tokens")
    request.outputs.add(name="num_input_tokens")
    request.outputs.add(name="cumulative_logprob")
    read = read_generation(request)
    assert read.wanted == ("num_input_tokens", "cumulative_logprob")
    assert read.sampling.HasField("logprobs")
    assert read_generation(asked("a", "b", exclude_input_in_output=FALSE)).prompts == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"best_of": 2}, "sampling_parameters['best_of']: is unknown"),
        ({"max_tokens": -1}, "sampling_parameters['max_tokens']: takes a whole number"),
        ({"max_tokens": 2**32}, "['max_tokens']: takes a whole number"),
        ({"max_tokens": 1.5}, "['max_tokens']: takes a whole number"),
        ({"max_tokens": True}, "['max_tokens']: takes a whole number"),
        ({"top_k": -2}, "['top_k']: takes a whole number, -1 or 0"),
        ({"temperature": "hot"}, "['temperature']: takes a number"),
        ({"temperature": 10**400}, "['temperature']: takes a number"),
        ({"temperature": [1]}, "['temperature']: takes a number"),
        ({"stop": {"a": 1}}, "['stop']: takes a text or a list of texts"),
        ({"stop": [1]}, "['stop']: takes a text or a list of texts"),
        ({"stop": "\ud800"}, "['stop']: takes a text"),
        ({"stop_token_ids": 5}, "['stop_token_ids']: takes a list"),
        ({"ignore_eos": "maybe"}, "['ignore_eos']: takes true or false"),
        ({"logit_bias": {"a": 1}}, "['logit_bias']: takes an object"),
        ({"logit_bias": [1]}, "['logit_bias']: takes an object"),
        ({"guided_json": 1}, "['guided_json']: takes a JSON schema"),
        ({"structured_outputs": {"choice": ["a"]}}, "['structured_outputs']: takes a JSON schema"),
        ({"structured_outputs": {"regex": "a", "json": {}}}, "['structured_outputs']: takes"),
        ({"guided_json": {}, "guided_regex": "a"}, "is given in sampling_parameters['guided_json'], too"),
    ],
)
def test_a_bad_sampling_parameter_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        sampled(**values)
    assert message in refusal.value.message
    assert "\ud800" not in refusal.value.message


@pytest.mark.parametrize(
    "data", [b"", b"[1]", b"{", b"\xff", b'{"seed": ' + b"9" * 5000 + b"}", b"[" * 100_000, b" " * 300_000]
)
def test_what_is_no_object_of_json(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="sampling_parameters"):
        read_generation(asked("a", sampling_parameters=("BYTES", join_bytes([data]))))


def _with_stop_words(count: int) -> oip.ModelInferRequest:
    request = asked("a")
    request.inputs.add(name="stop_words", datatype="BYTES", shape=[count])
    request.raw_input_contents.append(join_bytes([b"x"] * 500_000))
    return request


@pytest.mark.parametrize(
    ("request_of", "message"),
    [
        (lambda: asked(), "inputs: must have either 'text_input' or 'messages'"),
        (lambda: asked("a", messages=text("[]")), "inputs: must have either"),
        (lambda: asked("a", text=text("b")), "inputs['text']: is not an input of the model"),
        (lambda: asked("a", stream=TRUE, streaming=TRUE), "inputs['streaming']: is there twice"),
        (
            lambda: asked("a", stream=("INT32", b"\0\0\0\0")),
            "inputs['stream']: is of type 'INT32', the model takes BOOL",
        ),
        (lambda: asked("a", max_tokens=("FP32", b"\0\0\0\0")), "inputs['max_tokens']: is of type 'FP32'"),
        (lambda: asked("a", max_tokens=("INT32", b"\0\0")), "inputs['max_tokens']: does not hold one element"),
        (lambda: asked("a", max_tokens=("INT32", b"\xff" * 4)), "inputs['max_tokens']: takes a whole number"),
        (lambda: asked("a", beam_width=("INT32", b"\2\0\0\0")), "inputs['beam_width']: must be 1"),
        (lambda: asked("a", messages_=TRUE), "inputs['messages_']"),
        (lambda: asked(messages=text("{}")), "inputs['messages']: takes a JSON list"),
        (lambda: asked(messages=text('[{"role": "user"}]')), "inputs['messages'][0]: takes"),
        (lambda: asked(messages=text('[{"role": "user", "content": 5}]')), "inputs['messages'][0]: takes"),
        (lambda: asked(messages=text("[" + "{}," * 1024 + "{}]")), "inputs['messages']: has more than 1024 messages"),
        (lambda: asked(messages=text("[5]")), "inputs['messages'][0]: takes"),
        (lambda: asked(messages=text("[]"), exclude_input_in_output=FALSE), "inputs['exclude_input_in_output']"),
        (lambda: _with_stop_words(500_000), "inputs['stop_words']: has more than 1024 elements"),
        (lambda: _with_stop_words(1), "inputs['stop_words']: has more elements than the 1"),
        (
            lambda: asked("a", max_tokens=("INT32", b"\5\0\0\0"), sampling_parameters=text('{"max_tokens": 5}')),
            "inputs['max_tokens']: is given in sampling_parameters['max_tokens'], too",
        ),
    ],
)
def test_a_bad_input_is_named(request_of: Callable[[], oip.ModelInferRequest], message: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        read_generation(request_of())
    assert message in refusal.value.message


def test_bad_shapes_and_outputs() -> None:
    empty = asked("a")
    empty.inputs[0].shape[0] = 0
    empty.raw_input_contents[0] = b""
    wide = asked("a", stream=TRUE)
    wide.inputs[1].shape[0] = 2
    classified = asked("a")
    classified.outputs.add(name="text_output").parameters["classification"].int64_param = 1
    unknown = asked("a")
    unknown.outputs.add(name="score")
    parameter = asked("a")
    parameter.parameters["max_tokens"].SetInParent()
    for request, message in (
        (empty, "inputs['text_input']: must not be empty"),
        (wide, "inputs['stream']: has shape [2]"),
        (classified, "outputs['text_output'].parameters['classification']"),
        (unknown, "outputs['score']: is not an output of the model"),
        (parameter, "parameters['max_tokens']: takes a whole number"),
    ):
        with pytest.raises(InvalidArgument) as refusal:
            read_generation(request)
        assert message in refusal.value.message
