"""The precision of what is written, and values that cannot be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf import quants
from safetensors.torch import load_file
from transformers import AutoConfig

from loquor.internal.safetensors_header import check_header
from loquor_worker.importing import ConversionFailed
from tests.worker.importing.gguf_models import Array

NAME, THEIRS = "blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight"
QUERY, THEIR_QUERY = "blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight"


def matrices(kind: Kind) -> Callable[[str, Array], Kind]:
    return lambda _, array: kind if array.ndim > 1 else Kind.F32


@pytest.mark.parametrize("kind", [Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0])
def test_blocks_become_exactly_their_values(
    kind: Kind, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    values = np.random.default_rng(1).normal(size=(96, 64)).astype(np.float32)
    folder = converted(written(tensors={NAME: values}, encode=matrices(kind)))
    found = load_file(folder / "model.safetensors")[THEIRS]
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy(quants.dequantize(quants.quantize(values, kind), kind)))
    check_header(folder / "model.safetensors")


@pytest.mark.parametrize(("kind", "dtype"), [(Kind.F16, torch.float16), (Kind.BF16, torch.bfloat16)])
def test_numbers_of_16_bits_keep_their_type_and_the_norms_theirs(
    kind: Kind, dtype: torch.dtype, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    folder = converted(written(encode=matrices(kind)))
    found = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in found.values() if tensor.dim() > 1} == {dtype}
    assert {tensor.dtype for tensor in found.values() if tensor.dim() == 1} == {torch.float32}
    assert AutoConfig.from_pretrained(folder).dtype == dtype
    check_header(folder / "model.safetensors")


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_another_precision_is_rounded_to_the_nearest(
    precision: str, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    mapped = load_file(converted(file := written(encode=matrices(Kind.Q4_1))) / "model.safetensors")
    exact = {name: tensor.clone() for name, tensor in mapped.items()}
    folder = converted(file, precision)
    for name, tensor in load_file(folder / "model.safetensors").items():
        assert torch.equal(tensor, exact[name].to(getattr(torch, precision))), name
    assert AutoConfig.from_pretrained(folder).dtype == getattr(torch, precision)


def test_files_of_several_types_say_float32(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    def encode(name: str, array: Array) -> Kind:
        return Kind.F16 if name == NAME else matrices(Kind.BF16)(name, array)

    folder = converted(written(encode=encode))
    assert AutoConfig.from_pretrained(folder).dtype == torch.float32


def test_tensors_of_many_pieces(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    """More rows than fit into one piece, in the file's order and in another."""
    values = np.random.default_rng(2).normal(size=(12_800, 64)).astype(np.float32)
    folder = converted(written(tensors={NAME: values, QUERY: values}))
    found = load_file(folder / "model.safetensors")
    assert torch.equal(found[THEIRS], torch.from_numpy(values))
    neighbours = torch.from_numpy(values).reshape(4, 1600, 2, 64)
    assert torch.equal(found[THEIR_QUERY], neighbours.transpose(1, 2).reshape(12_800, 64))


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_values_that_are_not_finite(value: float, written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    values = np.ones((96, 64), np.float32)
    values[95, 63] = value
    with pytest.raises(
        ConversionFailed, match=rf"^model\.gguf: tensor '{NAME}': holds values that are no finite float32"
    ):
        converted(written(tensors={NAME: values}))


def test_values_that_float16_cannot_hold(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    with pytest.raises(ConversionFailed, match="no finite float16 numbers"):
        converted(written(tensors={NAME: np.full((96, 64), 70_000, np.float32)}), "float16")


def test_whole_numbers_are_no_weights(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    file = written(tensors={NAME: np.ones((96, 64), np.float32)})
    content = file.read_bytes()
    # The type of a tensor follows its name and its shape; 26 is that of 32-bit whole numbers.
    place = content.index(NAME.encode()) + len(NAME) + 4 + 2 * 8
    file.write_bytes(content[:place] + (26).to_bytes(4, "little") + content[place + 4 :])
    with pytest.raises(ConversionFailed, match=f"tensor '{NAME}': I32 is no encoding of weights"):
        converted(file)


def test_a_matrix_to_be_transposed_has_a_limit(
    written: Callable[..., Path], converted: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loquor_worker.importing.gguf.tensor_names._MAX_TRANSPOSED_ELEMENTS", 1000)
    with pytest.raises(ConversionFailed, match=r"tensor 'blk\.0\.attn_qkv\.weight': has more than 1000 elements"):
        converted(written("gpt2"))
