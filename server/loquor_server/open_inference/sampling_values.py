"""Sampling parameters as this protocol gives them: a JSON object as vLLM's backend takes it, tensors, parameters.

It checks the kind of each value, and that none is given twice. Ranges are checked where both protocols meet.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from loquor.v1.generation_pb2 import SamplingParams
from loquor_server.errors import InvalidArgument

_MOST_BYTES = 262_144

Put = Callable[[SamplingParams, str, Any], None]


class _Kind(NamedTuple):
    """How a value is put into the field of its name, which raises if it is none of what `takes` says."""

    takes: str
    put: Put


class SamplingValues:
    """Gathers `params`; `add` raises `InvalidArgument` with the field that the caller knows the value by."""

    def __init__(self) -> None:
        self.params = SamplingParams()
        self._given: dict[str, str] = {}

    def add_object(self, data: bytes, field: str) -> None:
        """All values of a JSON object."""
        values = read_json(data, field, _MOST_BYTES)
        if not isinstance(values, dict):
            raise InvalidArgument(field, "takes a JSON object")
        for name, value in values.items():
            if name not in SAMPLING_NAMES:
                raise InvalidArgument(_at(field, name), f"is unknown; known are {', '.join(sorted(SAMPLING_NAMES))}")
            if value is not None:
                self.add(name, value, _at(field, name))

    def add(self, name: str, value: Any, field: str) -> None:
        kind = _KINDS[name]
        target = "structure" if kind is _STRUCTURE else name
        if target in self._given:
            raise InvalidArgument(field, f"is given in {self._given[target]}, too")
        self._given[target] = field
        try:
            kind.put(self.params, name, value)
        except (
            TypeError,
            ValueError,
            LookupError,
            OverflowError,
            AttributeError,
        ):  # their texts would tell of the value
            raise InvalidArgument(field, f"takes {kind.takes}") from None


def read_json(data: bytes, field: str, most_bytes: int) -> Any:
    """Raises `InvalidArgument`."""
    if len(data) > most_bytes:
        raise InvalidArgument(field, f"has {len(data)} bytes, at most {most_bytes} are allowed")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidArgument(field, "is not valid JSON") from None


def _at(field: str, name: str) -> str:
    return f"{field}[{name[:64]!r}]"


def _whole(value: Any) -> int:
    """Of a number or, as vLLM's backend allows, its digits."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _put_whole(params: SamplingParams, name: str, value: Any) -> None:
    setattr(params, name, _whole(value))


def _put_top_k(params: SamplingParams, _name: str, value: Any) -> None:
    """-1 is no limit, as 0 is."""
    params.top_k = max(0, top_k) if (top_k := _whole(value)) >= -1 else top_k


def _put_number(params: SamplingParams, name: str, value: Any) -> None:
    setattr(params, name, _number(value))


def _put_ignore_eos(params: SamplingParams, _name: str, value: Any) -> None:
    params.ignore_eos = {"true": True, "false": False}[value.lower()] if isinstance(value, str) else value


def _put_stop(params: SamplingParams, _name: str, value: Any) -> None:
    params.stop.extend([value] if isinstance(value, str) else _list(value))


def _put_stop_token_ids(params: SamplingParams, _name: str, value: Any) -> None:
    params.stop_token_ids.extend(map(_whole, _list(value)))


def _put_logit_bias(params: SamplingParams, _name: str, value: Any) -> None:
    for id, bias in value.items():
        params.logit_bias[_whole(id)] = _number(bias)


def _put_structure(params: SamplingParams, name: str, value: Any) -> None:
    kind = name
    if name == "structured_outputs":
        ((kind, value),) = value.items()
    if kind in ("guided_regex", "regex"):
        params.regex = value
    elif kind in ("guided_json", "json"):
        params.json_schema = value if isinstance(value, str) else json.dumps(_dict(value))
    else:
        raise ValueError


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


_WHOLE = _Kind("a whole number that is not negative", _put_whole)
_NUMBER = _Kind("a number", _put_number)
_STRUCTURE = _Kind(
    'a JSON schema as an object or a text, a regular expression, or {"json": schema} or {"regex": expression}',
    _put_structure,
)
_KINDS: Mapping[str, _Kind] = {
    **dict.fromkeys(("max_tokens", "min_tokens", "seed", "n", "logprobs"), _WHOLE),
    **dict.fromkeys(("temperature", "top_p", "min_p"), _NUMBER),
    **dict.fromkeys(("repetition_penalty", "presence_penalty", "frequency_penalty"), _NUMBER),
    "top_k": _Kind("a whole number, -1 or 0 for no limit", _put_top_k),
    "ignore_eos": _Kind("true or false", _put_ignore_eos),
    "stop": _Kind("a text or a list of texts", _put_stop),
    "stop_token_ids": _Kind("a list of token ids", _put_stop_token_ids),
    "logit_bias": _Kind("an object of numbers with token ids as keys", _put_logit_bias),
    **dict.fromkeys(("guided_json", "guided_regex", "structured_outputs"), _STRUCTURE),
}
SAMPLING_NAMES = frozenset(_KINDS)
