"""Tensors from buffers and back, without loss."""

from array import array
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from loquor import DataType, Tensor

SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
DTYPES = st.sampled_from(["?", "u1", "i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"])


@given(arrays.arrays(DTYPES, SHAPES, elements=None))
def test_an_array_comes_back_as_it_was(value: Any) -> None:
    made = Tensor.of(value)
    back = numpy.asarray(made)
    assert (back.dtype, back.shape) == (value.dtype, value.shape)
    assert back.tobytes() == value.tobytes()
    assert len(made.flat()) == value.size


def test_a_view_out_of_order_is_put_in_order() -> None:
    value = numpy.arange(12, dtype=numpy.int32).reshape(3, 4).T[::2]
    assert Tensor.of(value).flat() == tuple(value.ravel().tolist())


def test_python_s_own_arrays_do_too() -> None:
    assert Tensor.of(array("d", [1.5, 2.5])) == Tensor(DataType.FLOAT64, (2,), array("d", [1.5, 2.5]).tobytes())
    assert Tensor.of(array("l", [7])).data_type is DataType.INT64
    assert Tensor.of(b"ab").data_type is DataType.UINT8


@pytest.mark.parametrize(
    "value",
    [[1.0], "text", numpy.array([1], ">i4"), numpy.array(["a"]), numpy.array([1j]), numpy.array([1], "u4"), None],
)
def test_what_is_no_tensor_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match=r"offers no buffer|is no little-endian tensor type"):
        Tensor.of(value)


def test_bfloat16_travels_as_bytes() -> None:
    tensor = Tensor(DataType.BFLOAT16, (1,), b"\x80\x3f")
    with pytest.raises(TypeError, match="no numbers of type BFLOAT16"):
        tensor.flat()
    with pytest.raises(TypeError, match="BFLOAT16"):
        numpy.asarray(tensor)


@pytest.mark.parametrize(("shape", "data"), [((2,), b"123"), ((-1,), b"1234"), ((), b"")])
def test_data_must_fill_the_shape(shape: tuple[int, ...], data: bytes) -> None:
    with pytest.raises(ValueError, match=r"takes \d+ bytes|negative size"):
        Tensor(DataType.INT32, shape, data)
