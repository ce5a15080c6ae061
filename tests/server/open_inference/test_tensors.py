import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor_server.errors import InvalidArgument
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.tensors import join_bytes, raw_data, split_bytes

InferInputTensor = oip.ModelInferRequest.InferInputTensor


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_bytes_survive_the_raw_form(elements: list[bytes]) -> None:
    assert split_bytes(join_bytes(elements), "x") == elements


@given(st.lists(st.binary(max_size=10), min_size=1, max_size=5), st.data())
def test_raw_bytes_cut_short_give_no_element_that_was_not_there(elements: list[bytes], data: st.DataObject) -> None:
    raw = join_bytes(elements)
    found = _split_or_refused(raw[: data.draw(st.integers(0, len(raw) - 1))])
    assert found is None or (len(found) < len(elements) and found == elements[: len(found)])


@given(st.binary(max_size=200))
def test_any_bytes_are_split_whole_or_refused(raw: bytes) -> None:
    found = _split_or_refused(raw)
    assert found is None or join_bytes(found) == raw


def _split_or_refused(raw: bytes) -> list[bytes] | None:
    try:
        return split_bytes(raw, "x")
    except InvalidArgument:
        return None


def test_a_refusal_names_the_field() -> None:
    with pytest.raises(InvalidArgument, match=r"^inputs: element 1 is longer"):
        split_bytes(b"\0\0\0\0\x05\0\0\0ab", "inputs")


@pytest.mark.parametrize(
    ("datatype", "field", "values", "code"),
    [
        ("BOOL", "bool_contents", [True, False], "?"),
        ("UINT8", "uint_contents", [0, 255], "B"),
        ("UINT16", "uint_contents", [0, 65535], "H"),
        ("UINT32", "uint_contents", [0, 2**32 - 1], "I"),
        ("UINT64", "uint64_contents", [2**64 - 1], "Q"),
        ("INT8", "int_contents", [-128, 127], "b"),
        ("INT16", "int_contents", [-32768], "h"),
        ("INT32", "int_contents", [-(2**31)], "i"),
        ("INT64", "int64_contents", [-(2**63)], "q"),
        ("FP32", "fp32_contents", [0.5, -1.25], "f"),
        ("FP64", "fp64_contents", [0.1], "d"),
    ],
)
def test_typed_contents_become_raw(datatype: str, field: str, values: list[float], code: str) -> None:
    tensor = InferInputTensor(name="x", datatype=datatype)
    getattr(tensor.contents, field).extend(values)
    assert raw_data(tensor, "x") == struct.pack(f"<{len(values)}{code}", *values)


def test_typed_bytes_become_raw() -> None:
    tensor = InferInputTensor(datatype="BYTES", contents=oip.InferTensorContents(bytes_contents=[b"", b"ab"]))
    assert raw_data(tensor, "x") == b"\0\0\0\0\x02\0\0\0ab"


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "STRANGE"])
def test_types_without_typed_contents_are_refused(datatype: str) -> None:
    with pytest.raises(InvalidArgument, match="send them raw"):
        raw_data(InferInputTensor(datatype=datatype), "x")


def test_a_number_too_large_for_its_type_is_refused() -> None:
    tensor = InferInputTensor(datatype="INT8", contents=oip.InferTensorContents(int_contents=[128]))
    with pytest.raises(InvalidArgument, match="INT8"):
        raw_data(tensor, "x")
