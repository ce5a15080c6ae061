"""What the front let through is checked again, and the field is named."""

import math
from typing import Any

import pytest

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_worker.engines import InvalidSubmission
from loquor_worker.generation.params import Structure, StructureKind
from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.generation_submission import sequence_of

RIGHT: dict[str, Any] = {"max_tokens": 9, "top_p": 1.0, "repetition_penalty": 1.0}


def made(prompt: list[int], **sampling: Any) -> GenerationSequence:
    generation = wire.GenerationInput(
        prompt_ids=prompt, sampling=wire.Sampling(**RIGHT | sampling), priority=3, cache_salt=b"salt"
    )
    submission = wire.Submission(id=7, generation=generation)
    return sequence_of("front", submission, 12.5, vocabulary_size=100, sequence_tokens=32)


def test_a_sequence_has_all_that_was_asked_for() -> None:
    sequence = made(
        [5, 99],
        min_tokens=2,
        temperature=0.5,
        top_k=3,
        min_p=0.25,
        presence_penalty=-2.0,
        frequency_penalty=2.0,
        logit_bias={4: -100.0},
        seed=2**63 + 1,
        stop_token_ids=[8],
        ignore_eos=True,
        logprobs=0,
        regex="a+",
    )
    assert (sequence.sender, sequence.id, sequence.arrived_at, sequence.priority) == ("front", 7, 12.5, 3)
    assert (sequence.tokens, sequence.prompt_tokens, sequence.cache_salt) == ([5, 99], 2, b"salt")
    params = sequence.params
    assert (params.max_tokens, params.min_tokens, params.temperature, params.top_k) == (9, 2, 0.5, 3)
    assert (params.min_p, params.presence_penalty, params.frequency_penalty) == (0.25, -2.0, 2.0)
    assert (params.logit_bias, params.seed, params.stop_token_ids) == ({4: -100.0}, 2**63 + 1, frozenset({8}))
    assert (params.ignore_eos, params.logprobs, params.structure) == (True, 0, Structure(StructureKind.REGEX, "a+"))


def test_what_was_not_asked_for_is_none() -> None:
    params = made([1]).params
    assert (params.logprobs, params.structure, params.is_greedy, params.has_penalties) == (None, None, True, False)


HOSTILE = [math.nan, math.inf, -math.inf, -1e-3, 1e30]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", ["temperature", "top_p", "min_p", "repetition_penalty"])
def test_numbers_out_of_range(field: str, value: float) -> None:
    with pytest.raises(InvalidSubmission, match=rf"sampling\.{field}"):
        made([1], **{field: value})


@pytest.mark.parametrize("value", [math.nan, math.inf, -2.1, 2.1])
@pytest.mark.parametrize("field", ["presence_penalty", "frequency_penalty"])
def test_penalties_out_of_range(field: str, value: float) -> None:
    with pytest.raises(InvalidSubmission, match=rf"sampling\.{field}"):
        made([1], **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", 2**32 - 1),
        ("min_tokens", 10),
        ("top_p", 0.0),
        ("repetition_penalty", 0.0),
        ("logprobs", 21),
        ("stop_token_ids", [1] * 257),
        ("stop_token_ids", [100]),
        ("logit_bias", {100: 1.0}),
        ("logit_bias", {1: math.nan}),
        ("logit_bias", {1: 100.5}),
        ("logit_bias", dict.fromkeys(range(1025), 0.0)),
    ],
)
def test_counts_and_ids_out_of_range(field: str, value: Any) -> None:
    with pytest.raises(InvalidSubmission, match=rf"sampling\.{field}"):
        made([1], **{field: value})


@pytest.mark.parametrize("prompt", [[], [100], [2**32 - 1], [1] * 32])
def test_prompts_that_cannot_be(prompt: list[int]) -> None:
    with pytest.raises(InvalidSubmission, match=r"input|sampling\.max_tokens"):
        made(prompt)


def test_another_kind_of_input() -> None:
    submission = wire.Submission(id=1, tokens=wire.TokenInput(ids=[1]))
    with pytest.raises(InvalidSubmission, match="generation"):
        sequence_of("front", submission, 0.0, vocabulary_size=9, sequence_tokens=9)
