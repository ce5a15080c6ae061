"""How a caller wants tokens picked, checked field by field, with what was left open filled in.

Counts are checked before contents, so that the worst message costs no more than its parsing. What a caller wrote is
in no text of an error.
"""

import random
from collections.abc import Collection

from loquor.internal import structure_limits
from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1.generation_pb2 import SamplingParams
from loquor_server.errors import InvalidArgument

DEFAULT_MAX_TOKENS = 256

_MOST_CHOICES, _MOST_LOGPROBS = 16, 20
_MOST_STOPS, _MOST_STOP_BYTES, _MOST_STOP_IDS, _MOST_BIASES = 64, 1024, 256, 1024

# The range of each number: its ends, and whether the lower one is in it.
_RANGES = {
    "temperature": (0.0, 100.0, True),
    "top_p": (0.0, 1.0, False),
    "min_p": (0.0, 1.0, True),
    "repetition_penalty": (0.0, 100.0, False),
    "presence_penalty": (-2.0, 2.0, True),
    "frequency_penalty": (-2.0, 2.0, True),
}
_DEFAULTS = {"temperature": 1.0, "top_p": 1.0, "repetition_penalty": 1.0}


def choices_of(params: SamplingParams) -> int:
    """How many texts are asked for of each input. Raises `InvalidArgument`."""
    choices = params.n if params.HasField("n") else 1
    if not 1 <= choices <= _MOST_CHOICES:
        raise _refuse("n", f"takes 1 to {_MOST_CHOICES}")
    return choices


def seed_of(params: SamplingParams) -> int:
    """The one of choice 0."""
    return params.seed if params.HasField("seed") else random.getrandbits(63)


def sampling_of(params: SamplingParams, vocabulary_size: int) -> wire.Sampling:
    """What is the same for every sequence of a request: all but lengths and seed. Raises `InvalidArgument`."""
    sampling = wire.Sampling(top_k=params.top_k, ignore_eos=params.ignore_eos)
    for name in _RANGES:
        setattr(sampling, name, _number(params, name))
    if params.HasField("logprobs"):
        if params.logprobs > _MOST_LOGPROBS:
            raise _refuse("logprobs", f"takes 0 to {_MOST_LOGPROBS}")
        sampling.logprobs = params.logprobs
    _check_stops(params)
    _add_ids(params, sampling, vocabulary_size)
    _add_structure(params, sampling)
    return sampling


def set_lengths(sampling: wire.Sampling, params: SamplingParams, *, prompt_tokens: int, sequence_tokens: int) -> None:
    """Of one sequence whose prompt has so many tokens. Raises `InvalidArgument`."""
    sampling.max_tokens = _max_tokens(params, sequence_tokens - prompt_tokens, prompt_tokens)
    if params.min_tokens > sampling.max_tokens:
        raise _refuse("min_tokens", f"is more than the {sampling.max_tokens} tokens that are written at the most")
    sampling.min_tokens = params.min_tokens


def _max_tokens(params: SamplingParams, room: int, prompt_tokens: int) -> int:
    if room < 1:
        raise InvalidArgument("input", f"its {prompt_tokens} tokens leave no room to write")
    if not params.HasField("max_tokens"):
        return min(DEFAULT_MAX_TOKENS, room)
    if not 1 <= params.max_tokens <= room:
        raise _refuse("max_tokens", f"takes 1 to {room}: what a prompt of {prompt_tokens} tokens leaves of the context")
    return params.max_tokens


def _number(params: SamplingParams, name: str) -> float:
    low, high, includes_low = _RANGES[name]
    if name in _DEFAULTS and not params.HasField(name):
        return _DEFAULTS[name]
    value: float = getattr(params, name)
    if not low <= value <= high or (value == low and not includes_low):  # nor is a NaN in any range
        raise _refuse(name, f"takes {'' if includes_low else 'more than '}{low:g} to {high:g}")
    return value


def _check_stops(params: SamplingParams) -> None:
    _check_count("stop", params.stop, _MOST_STOPS)
    for place, stop in enumerate(params.stop):
        if not 1 <= len(stop.encode()) <= _MOST_STOP_BYTES:
            raise _refuse(f"stop[{place}]", f"takes 1 to {_MOST_STOP_BYTES} bytes")


def _add_ids(params: SamplingParams, sampling: wire.Sampling, vocabulary_size: int) -> None:
    _check_count("stop_token_ids", params.stop_token_ids, _MOST_STOP_IDS)
    _check_count("logit_bias", params.logit_bias, _MOST_BIASES)
    for place, id in enumerate(params.stop_token_ids):
        if id >= vocabulary_size:
            raise _refuse(f"stop_token_ids[{place}]", f"is beyond the vocabulary of {vocabulary_size}")
    for id, bias in params.logit_bias.items():
        if id >= vocabulary_size:
            raise _refuse(f"logit_bias[{id}]", f"is beyond the vocabulary of {vocabulary_size}")
        if not -100 <= bias <= 100:
            raise _refuse(f"logit_bias[{id}]", "takes -100 to 100")
        sampling.logit_bias[id] = bias
    sampling.stop_token_ids.extend(params.stop_token_ids)


def _add_structure(params: SamplingParams, sampling: wire.Sampling) -> None:
    try:
        if params.HasField("json_schema"):
            structure_limits.check_json_schema(params.json_schema)
            sampling.json_schema = params.json_schema
        elif params.HasField("regex"):
            structure_limits.check_regex(params.regex)
            sampling.regex = params.regex
    except structure_limits.StructureError as error:
        raise _refuse(error.field, error.reason) from None


def _check_count(name: str, values: Collection[object], most: int) -> None:
    if len(values) > most:
        raise _refuse(name, f"holds {len(values)} entries, at most {most} are allowed")


def _refuse(name: str, reason: str) -> InvalidArgument:
    return InvalidArgument(f"sampling.{name}", reason)
