"""Makes a sequence of a submission. What the front has checked is checked again: nothing out of range reaches a device.

It knows messages and sequences, and no engine.
"""

import math
from collections.abc import Collection

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_worker.engines import InvalidSubmission
from loquor_worker.generation.params import SamplingParams, Structure, StructureKind
from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.sequence import Sender

_MOST_BIASES, _MOST_STOP_IDS, _MOST_LOGPROBS = 1024, 256, 20

# The range of each number, both ends included.
_RANGES = {
    "temperature": (0.0, 100.0),
    "top_p": (math.ulp(0.0), 1.0),
    "min_p": (0.0, 1.0),
    "repetition_penalty": (math.ulp(0.0), 100.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
}


def sequence_of(
    sender: Sender, submission: wire.Submission, at: float, *, vocabulary_size: int, sequence_tokens: int
) -> GenerationSequence:
    """Raises `InvalidSubmission` that names the field."""
    if not submission.HasField("generation"):
        raise InvalidSubmission("generation: this model writes text; it takes a prompt")
    generation = submission.generation
    prompt = list(generation.prompt_ids)
    if not prompt:
        raise InvalidSubmission("input: the prompt has no token")
    _check_ids("input", prompt, vocabulary_size)
    params = params_of(generation.sampling, vocabulary_size)
    if len(prompt) + params.max_tokens > sequence_tokens:
        raise InvalidSubmission(
            f"sampling.max_tokens: {len(prompt)} tokens of prompt and {params.max_tokens} to write "
            f"are more than the model's {sequence_tokens}"
        )
    return GenerationSequence(
        sender=sender,
        id=submission.id,
        prompt_tokens=len(prompt),
        tokens=prompt,
        params=params,
        priority=generation.priority or 5,
        cache_salt=generation.cache_salt,
        arrived_at=at,
    )


def params_of(sampling: wire.Sampling, vocabulary_size: int) -> SamplingParams:
    """Raises `InvalidSubmission` that names the field."""
    for name, (low, high) in _RANGES.items():
        _check(name, getattr(sampling, name), low, high)
    _check("max_tokens", sampling.max_tokens, 1, math.inf)
    _check("min_tokens", sampling.min_tokens, 0, sampling.max_tokens)
    _check("logprobs", sampling.logprobs, 0, _MOST_LOGPROBS)
    _check("stop_token_ids", len(sampling.stop_token_ids), 0, _MOST_STOP_IDS)
    _check("logit_bias", len(sampling.logit_bias), 0, _MOST_BIASES)
    _check_ids("sampling.stop_token_ids", sampling.stop_token_ids, vocabulary_size)
    _check_ids("sampling.logit_bias", sampling.logit_bias.keys(), vocabulary_size)
    for bias in sampling.logit_bias.values():
        _check("logit_bias", bias, -100.0, 100.0)
    return SamplingParams(
        max_tokens=sampling.max_tokens,
        min_tokens=sampling.min_tokens,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        logit_bias=dict(sampling.logit_bias),
        seed=sampling.seed,
        stop_token_ids=frozenset(sampling.stop_token_ids),
        ignore_eos=sampling.ignore_eos,
        logprobs=sampling.logprobs if sampling.HasField("logprobs") else None,
        structure=_structure_of(sampling),
    )


def _structure_of(sampling: wire.Sampling) -> Structure | None:
    kind = sampling.WhichOneof("structure")
    return None if kind is None else Structure(StructureKind(kind), getattr(sampling, kind))


def _check(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # nor is a NaN in any range
        raise InvalidSubmission(f"sampling.{name}: {value} is out of range")


def _check_ids(field: str, ids: Collection[int], vocabulary_size: int) -> None:
    if ids and max(ids) >= vocabulary_size:
        raise InvalidSubmission(f"{field}: {max(ids)} is not below the vocabulary's size, {vocabulary_size}")
