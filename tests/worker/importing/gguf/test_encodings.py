"""Every encoding is decoded as transformers decodes it, whose code for that is its own."""

import sys

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, quants
from transformers.integrations.gguf.dequant import dequantize

from loquor_worker.importing import ConversionFailed
from loquor_worker.importing.gguf.encodings import decoded, encoding

BLOCKS = [
    "Q4_0", "Q4_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S",
    "IQ3_XXS", "IQ3_S", "IQ4_NL", "IQ4_XS",
]  # fmt: skip


def kind_of(name: str) -> GGMLQuantizationType:
    return GGMLQuantizationType[name]


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks(name: str) -> None:
    kind = encoding(kind_of(name).value)
    assert kind is not None
    assert kind.name == name
    # One bit fewer in each byte: then no scale is infinite or no number at all.
    raw = np.random.default_rng(5).integers(0, 256, (70, kind.block_bytes), np.uint8) & 0xBF
    theirs = dequantize(torch.from_numpy(raw.copy()), kind.number).reshape(-1)
    assert torch.equal(torch.from_numpy(decoded(raw, kind)), theirs)
    assert len(theirs) == 70 * kind.block_elements


@pytest.mark.parametrize(("name", "steps"), [("Q5_0", 31), ("Q5_1", 31), ("TQ1_0", 2), ("TQ2_0", 2), ("MXFP4", 4)])
def test_blocks_that_transformers_does_not_know(name: str, steps: int) -> None:
    """Within a step of what was encoded, and the same when it is encoded again."""
    values = np.random.default_rng(6).normal(size=(8, 256)).astype(np.float32)
    raw = quants.quantize(values, kind_of(name))
    kind = encoding(kind_of(name).value)
    assert kind is not None
    found = decoded(raw, kind).reshape(values.shape)
    assert np.abs(found - values).max() <= (values.max() - values.min()) / steps
    assert np.allclose(decoded(quants.quantize(found, kind_of(name)), kind).reshape(values.shape), found, atol=1e-2)


@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
def test_plain_numbers(name: str) -> None:
    values = np.random.default_rng(7).normal(size=(4, 32)).astype(np.float32)
    kind = encoding(kind_of(name).value)
    assert kind is not None
    dtype = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[name]
    rounded = torch.from_numpy(values).to(dtype)
    raw = rounded.view(torch.uint8).numpy()
    assert torch.equal(torch.from_numpy(decoded(raw, kind)), rounded.float().reshape(-1))


def test_whole_numbers_are_no_weights() -> None:
    kind = encoding(kind_of("I32").value)
    assert kind is not None
    with pytest.raises(NotImplementedError):
        decoded(np.zeros((1, 4), np.uint8), kind)


def test_numbers_that_nobody_has_given() -> None:
    assert encoding(12_345) is None


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ConversionFailed, match=r"pip install 'loquor\[convert\]'"):
        encoding(0)
