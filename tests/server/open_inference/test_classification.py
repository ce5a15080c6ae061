import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor_server.errors import InvalidArgument
from loquor_server.open_inference.classification import classified
from loquor_server.open_inference.tensors import OutputTensor, split_bytes


def _elements(output: OutputTensor) -> list[str]:
    return [element.decode() for element in split_bytes(output.data, "x")]


def test_the_best_of_each_row_are_named_with_their_labels() -> None:
    scores = OutputTensor("score", "FP32", (2, 3), struct.pack("<6f", 0.25, 0.5, 0.125, 3, 1, 2))
    best = classified(scores, 2, ["no", "maybe", "yes"])
    assert (best.name, best.datatype, best.shape) == ("score", "BYTES", (2, 2))
    assert _elements(best) == ["0.500000:1:maybe", "0.250000:0:no", "3.000000:0:no", "2.000000:2:yes"]


def test_more_than_there_are_means_all() -> None:
    best = classified(OutputTensor("x", "INT64", (1, 2), struct.pack("<2q", -5, 7)), 10, ())
    assert best.shape == (1, 2)
    assert _elements(best) == ["7:1", "-5:0"]


def test_an_output_without_a_second_axis_has_one_element_a_row() -> None:
    best = classified(OutputTensor("x", "FP16", (2,), struct.pack("<2e", 1.5, -2)), 1, ())
    assert best.shape == (2, 1)
    assert _elements(best) == ["1.500000:0", "-2.000000:0"]


@given(st.lists(st.floats(width=16, allow_nan=False), min_size=1, max_size=20))
def test_bf16_ranks_as_the_float32_of_which_it_is_the_upper_half(values: list[float]) -> None:
    halves = [struct.pack("<f", value)[2:] for value in values]
    wide = [struct.unpack("<f", b"\0\0" + half)[0] for half in halves]
    best = classified(OutputTensor("x", "BF16", (1, len(values)), b"".join(halves)), 1, ())
    value, index = _elements(best)[0].split(":")
    assert wide[int(index)] == max(wide)
    assert value == f"{max(wide):f}"


def test_nan_ranks_last() -> None:
    best = classified(OutputTensor("x", "FP32", (1, 2), struct.pack("<2f", math.nan, -1)), 2, ())
    assert _elements(best) == ["-1.000000:1", "nan:0"]


def test_bytes_cannot_be_classified() -> None:
    with pytest.raises(InvalidArgument, match="BYTES cannot be classified"):
        classified(OutputTensor("label", "BYTES", (1,), b"\0\0\0\0"), 1, ())
