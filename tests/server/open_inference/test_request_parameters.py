import time
from typing import Any

import pytest

from loquor_server.caller import Caller
from loquor_server.errors import InvalidArgument
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.request_parameters import RequestParameters, read_parameters


def _parameters(**kinds: tuple[str, Any]) -> dict[str, oip.InferParameter]:
    return {name: oip.InferParameter(**{kind: value}) for name, (kind, value) in kinds.items()}


@pytest.mark.parametrize(
    ("kind", "value", "priority"),
    [("uint64_param", 2, 2), ("int64_param", 9, 9), ("uint64_param", 2**63, 9), ("uint64_param", 0, 5)],
)
def test_priority_is_clamped_and_0_is_the_default(kind: str, value: int, priority: int) -> None:
    parameters = read_parameters(_parameters(priority=(kind, value)))
    assert parameters.applied_to(Caller("id")).priority == priority


def test_timeout_is_a_deadline_in_microseconds_and_never_a_later_one() -> None:
    parameters = read_parameters(_parameters(timeout=("int64_param", 2_000_000)))
    assert 1.9 < parameters.applied_to(Caller("id")).seconds_left() <= 2
    soon = Caller("id", deadline=time.monotonic() + 1)
    assert parameters.applied_to(soon).deadline == soon.deadline


def test_own_parameters_and_those_of_the_caller_do_not_mix() -> None:
    given = _parameters(
        truncate=("bool_param", True),
        normalize=("bool_param", False),
        colour=("string_param", "red"),
        sequence_id=("int64_param", 0),
    )
    assert read_parameters(given) == RequestParameters(truncate=True, normalize=False)


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("priority", "int64_param", -1),
        ("priority", "double_param", 1.0),
        ("timeout", "int64_param", -1),
        ("timeout", "string_param", "1"),
        ("sequence_id", "int64_param", 7),
        ("sequence_id", "string_param", "seven"),
        ("sequence_id", "bool_param", True),
        ("sequence_start", "int64_param", 1),
        ("sequence_end", "string_param", "yes"),
        ("binary_data_output", "int64_param", 1),
        ("truncate", "int64_param", 1),
        ("normalize", "string_param", "true"),
        ("triton_enable_empty_final_response", "int64_param", 1),
        ("triton_other", "bool_param", True),
    ],
)
def test_a_bad_parameter_is_named(name: str, kind: str, value: Any) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        read_parameters(_parameters(**{name: (kind, value)}))
    assert refusal.value.field == f"parameters['{name}']"


def test_a_reserved_parameter_without_a_value_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="not nothing"):
        read_parameters({"priority": oip.InferParameter()})
