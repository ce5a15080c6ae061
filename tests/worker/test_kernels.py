"""Which attention is chosen for what device, type and model."""

from dataclasses import replace

import pytest
import torch

from loquor_worker.models import kernels
from loquor_worker.models.attention import GroupedAttention, PaddedAttention, VarlenAttention
from loquor_worker.models.causal_attention import CausalAttention
from loquor_worker.models.config import ModelConfig, NormPlace, RelativeBias
from loquor_worker.models.packing import Packing
from loquor_worker.models.scoring import Scoring

CONFIG = ModelConfig(
    vocabulary_size=10,
    hidden_size=64,
    layers=2,
    heads=2,
    intermediate_size=128,
    activation="gelu",
    gated=False,
    norm_epsilon=1e-12,
    norm_place=NormPlace.AFTER,
    norm_bias=True,
    attention_bias=True,
    mlp_bias=True,
    max_positions=16,
)
CUDA = torch.device("cuda")


def new_varlen(query: object, *, window_size: tuple[int, int] = (-1, -1)) -> torch.Tensor:
    raise NotImplementedError


def old_varlen(query: object) -> torch.Tensor:
    raise NotImplementedError


def test_the_cpu_runs_lengths_together() -> None:
    assert kernels.choose_attention(CONFIG, torch.device("cpu"), torch.float32) is GroupedAttention


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_looks_back_has_its_own(device: str) -> None:
    config = replace(CONFIG, causal=True, score_factor=0.3, score_cap=5.0)
    attention = kernels.choose_attention(config, torch.device(device), torch.bfloat16)
    assert isinstance(attention(Packing((3,)), torch.device("cpu")), CausalAttention)
    assert kernels.scoring_of(config) == Scoring(0.3, 5.0)


def test_this_torch_has_varlen() -> None:
    assert kernels.find_varlen() is not None


@pytest.mark.parametrize(
    ("config", "dtype", "varlen", "expected"),
    [
        (CONFIG, torch.bfloat16, new_varlen, VarlenAttention),
        (CONFIG, torch.float16, old_varlen, VarlenAttention),
        (CONFIG, torch.float32, new_varlen, PaddedAttention),
        (CONFIG, torch.bfloat16, None, PaddedAttention),
        (replace(CONFIG, windows=(None, 8)), torch.bfloat16, new_varlen, VarlenAttention),
        (replace(CONFIG, windows=(None, 8)), torch.bfloat16, old_varlen, PaddedAttention),
        (replace(CONFIG, relative_bias=RelativeBias(32, 128)), torch.bfloat16, new_varlen, PaddedAttention),
        (replace(CONFIG, hidden_size=20), torch.bfloat16, new_varlen, PaddedAttention),
    ],
)
def test_cuda_takes_varlen_where_it_can(
    config: ModelConfig, dtype: torch.dtype, varlen: object, expected: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "find_varlen", lambda: varlen)
    attention = kernels.choose_attention(config, CUDA, dtype)
    assert isinstance(attention(Packing((3,)), torch.device("cpu")), expected)
