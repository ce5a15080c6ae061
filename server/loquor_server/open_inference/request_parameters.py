"""The parameters of an inference request that mean something here.

Names that the protocol reserves are checked for their type. A caller's own are ignored, as Triton does for a model that
does not ask for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loquor_server.caller import LAST_PRIORITY, Caller
from loquor_server.errors import InvalidArgument
from loquor_server.inference import open_inference_pb2 as oip

EMPTY_FINAL_RESPONSE = "triton_enable_empty_final_response"

_INTEGER = ("int64_param", "uint64_param")
_KINDS = {
    "sequence_id": ("int64_param", "uint64_param", "string_param"),
    "sequence_start": ("bool_param",),
    "sequence_end": ("bool_param",),
    "priority": _INTEGER,
    "timeout": _INTEGER,
    "binary_data_output": ("bool_param",),
    EMPTY_FINAL_RESPONSE: ("bool_param",),
    "truncate": ("bool_param",),
    "normalize": ("bool_param",),
}


@dataclass(frozen=True, slots=True)
class RequestParameters:
    """`priority` and `timeout_microseconds` are 0 if the request has none. `empty_final` is of streams alone."""

    priority: int = 0
    timeout_microseconds: int = 0
    truncate: bool = False
    normalize: bool | None = None
    empty_final: bool = False

    def applied_to(self, caller: Caller) -> Caller:
        """The caller with the request's own priority and deadline."""
        if self.priority:
            caller = caller.at_priority(min(self.priority, LAST_PRIORITY))
        if self.timeout_microseconds:
            caller = caller.within(self.timeout_microseconds / 1e6)
        return caller


_NONE = RequestParameters()


def read_parameters(parameters: Mapping[str, oip.InferParameter]) -> RequestParameters:
    """Raises `InvalidArgument` with the name of the parameter."""
    if not parameters:
        return _NONE
    given = {name: _value(name, parameters[name]) for name in parameters if name in _KINDS}
    for name in parameters.keys() - _KINDS.keys():
        if name.startswith("triton_"):
            raise InvalidArgument(
                _field(name), f"names with 'triton_' are reserved; only {EMPTY_FINAL_RESPONSE} is known"
            )
    if given.get("sequence_id"):
        raise InvalidArgument(_field("sequence_id"), "the model keeps no state between requests; leave it out, or 0")
    return RequestParameters(
        priority=_not_negative("priority", given),
        timeout_microseconds=_not_negative("timeout", given),
        truncate=given.get("truncate", False),
        normalize=given.get("normalize"),
        empty_final=given.get(EMPTY_FINAL_RESPONSE, False),
    )


def _value(name: str, parameter: oip.InferParameter) -> Any:
    kind = parameter.WhichOneof("parameter_choice")
    if kind not in _KINDS[name]:
        raise InvalidArgument(_field(name), f"takes {' or '.join(_KINDS[name])}, not {kind or 'nothing'}")
    return getattr(parameter, kind)


def _not_negative(name: str, given: Mapping[str, Any]) -> int:
    value = int(given.get(name, 0))
    if value < 0:
        raise InvalidArgument(_field(name), "must not be negative")
    return value


def _field(name: str) -> str:
    return f"parameters[{name[:64]!r}]"
