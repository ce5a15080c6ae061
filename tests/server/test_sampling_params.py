"""Every field of the sampling parameters, with values that it takes and values that it does not."""

import math
import time
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1.generation_pb2 import SamplingParams
from loquor_server.errors import InvalidArgument
from loquor_server.sampling_params import choices_of, sampling_of, seed_of, set_lengths

VOCABULARY, CONTEXT, PROMPT = 100, 512, 12
ROOM = CONTEXT - PROMPT

NUMBERS = [math.nan, math.inf, -math.inf, -1e-6, -1.0, 1e30]
COUNTS = [2**31, 2**32 - 1]
# Of each field, what it takes and what it does not.
CASES: dict[str, tuple[list[Any], list[Any]]] = {
    "max_tokens": ([1, ROOM], [0, ROOM + 1, *COUNTS]),
    "min_tokens": ([0, 256], [257, *COUNTS]),
    "temperature": ([0.0, 0.7, 100.0], [*NUMBERS, 100.1]),
    "top_k": ([0, 1, 2**32 - 1], []),
    "top_p": ([1e-6, 1.0], [*NUMBERS, 0.0, 1.01]),
    "min_p": ([0.0, 1.0], [*NUMBERS, 1.01]),
    "repetition_penalty": ([1e-3, 100.0], [*NUMBERS, 0.0, 100.1]),
    "presence_penalty": ([-2.0, 2.0], [math.nan, math.inf, -math.inf, 1e30, -2.1, 2.1]),
    "frequency_penalty": ([-2.0, 2.0], [math.nan, math.inf, -math.inf, 1e30, -2.1, 2.1]),
    "logit_bias": (
        [{99: -100.0, 0: 100.0}, dict.fromkeys(range(VOCABULARY), 1.0)],
        [{100: 1.0}, {2**32 - 1: 0.0}, {1: math.nan}, {1: math.inf}, {1: 100.5}, dict.fromkeys(range(1025), 0.0)],
    ),
    "seed": ([0, 2**64 - 1], []),
    "stop": ([["a"], ["é" * 512], ["x"] * 64], [[""], ["a", ""], ["a" * 1025], ["é" * 513], ["x"] * 65]),
    "stop_token_ids": ([[0, 99], [1] * 256], [[100], [1] * 257, [2**32 - 1]]),
    "ignore_eos": ([True, False], []),
    "n": ([1, 16], [0, 17, *COUNTS]),
    "logprobs": ([0, 20], [21, *COUNTS]),
    "json_schema": (
        ['{"type": "object"}', "true"],
        ["", "{", "[1]", '{"a":' * 40 + "1" + "}" * 40, "[" * 200 + "]" * 200],
    ),
    "regex": (["a+b", "[0-9]{4}"], ["", "a" * 4097, "((a{1000}){1000}){1000}"]),
}


def made(*, prompt_tokens: int = PROMPT, **fields: Any) -> wire.Sampling:
    params = SamplingParams(**fields)
    choices_of(params)
    sampling = sampling_of(params, VOCABULARY)
    set_lengths(sampling, params, prompt_tokens=prompt_tokens, sequence_tokens=CONTEXT)
    sampling.seed = seed_of(params)
    return sampling


def test_no_field_is_left_out() -> None:
    assert CASES.keys() == {field.name for field in SamplingParams.DESCRIPTOR.fields}


@pytest.mark.parametrize(("field", "value"), [(name, value) for name, (right, _) in CASES.items() for value in right])
def test_what_a_field_takes_reaches_the_worker(field: str, value: Any) -> None:
    sampling = made(**{field: value})
    if field not in ("n", "stop"):  # these are the front's own
        found = getattr(sampling, field)
        kind = wire.Sampling.DESCRIPTOR.fields_by_name[field]
        wanted = pytest.approx(value) if kind.type == FieldDescriptor.TYPE_FLOAT else value
        assert (dict(found) if isinstance(value, dict) else list(found) if isinstance(value, list) else found) == wanted


@pytest.mark.parametrize(("field", "value"), [(name, value) for name, (_, wrong) in CASES.items() for value in wrong])
def test_what_it_does_not_take_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        made(**{field: value})
    assert refusal.value.field.partition("[")[0] == f"sampling.{field}"


def test_an_entry_at_fault_is_named() -> None:
    for fields, name in (
        ({"stop": ["a", "b", ""]}, "sampling.stop[2]"),
        ({"stop_token_ids": [1, 500]}, "sampling.stop_token_ids[1]"),
        ({"logit_bias": {5: 1e9}}, "sampling.logit_bias[5]"),
    ):
        with pytest.raises(InvalidArgument) as refusal:
            made(**fields)
        assert refusal.value.field == name


def test_what_was_left_open_is_filled_in() -> None:
    sampling = made()
    assert (sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.repetition_penalty) == (256, 1, 1, 1)
    assert not sampling.HasField("logprobs")
    assert made().seed != sampling.seed
    assert made(prompt_tokens=500).max_tokens == 12
    with pytest.raises(InvalidArgument) as refusal:
        made(prompt_tokens=512)
    assert refusal.value.field == "input"


def test_no_words_of_a_caller_are_in_a_refusal() -> None:
    for fields in ({"stop": ["canary" * 400]}, {"json_schema": '{"canary": '}, {"regex": "canary" * 700}):
        with pytest.raises(InvalidArgument) as refusal:
            made(**fields)
        assert "canary" not in refusal.value.message


def test_the_largest_messages_are_refused_at_once() -> None:
    huge = [
        SamplingParams(stop=["s"] * 500_000),
        SamplingParams(stop_token_ids=[1] * 1_000_000),
        SamplingParams(logit_bias=dict.fromkeys(range(100_000), 1.0)),
        SamplingParams(json_schema='{"a":' * 200_000),
        SamplingParams(regex="(" * 1_000_000),
    ]
    for params in huge:
        started = time.process_time()
        with pytest.raises(InvalidArgument):
            sampling_of(params, VOCABULARY)
        assert time.process_time() - started < 0.05
