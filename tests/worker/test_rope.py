"""Frequencies and rotations: those of `transformers` at the sizes of real models, and turned by hand."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from loquor_worker.engines import LoadError
from loquor_worker.models.families.rope_values import read_rope, served_positions
from loquor_worker.models.json_file import JsonFile
from loquor_worker.models.positions import Rotary, rotate
from loquor_worker.models.rope import LongStretch, Rope

HEAD = 128
LLAMA = {"rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
REAL: dict[str, tuple[int, dict[str, Any]]] = {
    "llama 3.1": (131072, {"rope_type": "llama3", **LLAMA, "original_max_position_embeddings": 8192}),
    "llama 3.2": (131072, {"rope_type": "llama3", **LLAMA, "factor": 32.0, "original_max_position_embeddings": 8192}),
    "qwen 2.5": (
        131072,
        {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32768},
    ),
    "linear": (16384, {"rope_type": "linear", "rope_theta": 100_000.0, "factor": 4.0}),
    "phi 3": (
        131072,
        {
            "rope_type": "longrope",
            "rope_theta": 10_000.0,
            "original_max_position_embeddings": 4096,
            "short_factor": [1.0 + place / 64 for place in range(HEAD // 2)],
            "long_factor": [1.0 + place for place in range(HEAD // 2)],
        },
    ),
}


def config_file(**values: Any) -> JsonFile:
    return JsonFile(Path("config.json"), {"max_position_embeddings": 4096, **values})


@pytest.mark.parametrize("case", list(REAL))
def test_real_frequencies(case: str) -> None:
    positions, parameters = REAL[case]
    rope = read_rope(config_file(max_position_embeddings=positions, rope_parameters=parameters), HEAD)
    config = transformers.LlamaConfig(
        hidden_size=4 * HEAD,
        num_attention_heads=4,
        max_position_embeddings=positions,
        rope_parameters=json.loads(json.dumps(parameters)),
    )
    expected, amplitude = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, seq_len=positions)
    assert rope.frequencies(positions).tolist() == pytest.approx(expected.tolist(), rel=1e-6)
    assert rope.amplitude == pytest.approx(amplitude)


def test_pairs_turn_by_the_position() -> None:
    """One pair, at one radian a token, by the definition; what is behind it stays."""
    rotation = Rotary(Rope(base=10.0, size=2), longest=8)(torch.tensor([0, 3]))
    rows = torch.tensor([[[2.0, 5.0, 7.0]], [[2.0, 5.0, 7.0]]])
    turned = rotate(rows, rotation)
    cosine, sine = math.cos(3), math.sin(3)
    assert turned[0, 0].tolist() == [2.0, 5.0, 7.0]
    assert turned[1, 0].tolist() == pytest.approx([2 * cosine - 5 * sine, 5 * cosine + 2 * sine, 7.0])


def test_rows_keep_their_type() -> None:
    rotation = Rotary(Rope(base=10_000.0, size=8), longest=8)(torch.arange(4))
    assert rotate(torch.randn(4, 2, 8, dtype=torch.bfloat16), rotation).dtype is torch.bfloat16


def test_the_list_of_longrope_goes_by_what_is_served() -> None:
    rope = Rope(10_000.0, 4, LongStretch(short=(1.0, 1.0), long=(2.0, 4.0), trained=100, amplitude=1.0))
    plain = Rope(10_000.0, 4).frequencies(100)
    assert rope.frequencies(100).tolist() == plain.tolist()
    assert rope.frequencies(101).tolist() == (plain / torch.tensor([2.0, 4.0])).tolist()


@pytest.mark.parametrize(
    ("values", "positions"),
    [
        ({}, 4096),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, 4096),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, 16384),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}}, 4096),
    ],
)
def test_yarn_may_name_the_length_before_it_was_stretched(values: dict[str, Any], positions: int) -> None:
    assert served_positions(config_file(**values)) == positions


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"rope_parameters": {"rope_type": "spiral"}}, "rope_type: 'spiral' is not one of default, dynamic, linear"),
        ({"rope_scaling": {"type": "spiral"}}, "rope_type: 'spiral' is not one of"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor: the value is missing"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, r"factor: 0\.0 is not above 0"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": -2.0}}, r"factor: -2\.0 is not above 0"),
        ({"rope_theta": 0}, r"rope_theta: 0\.0 is not above 1"),
        (
            {"rope_scaling": {"rope_type": "llama3", **LLAMA, "low_freq_factor": 4}},
            r"low_freq_factor: 4\.0 is not below",
        ),
        ({"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0]}}, "short_factor: 64 positive numbers"),
        ({"partial_rotary_factor": 0.4}, "partial_rotary_factor: 51 elements of a head of 128"),
        ({"partial_rotary_factor": 1.5}, "partial_rotary_factor: 192 elements of a head of 128"),
        ({"partial_rotary_factor": 0.0}, "partial_rotary_factor: 0 elements of a head of 128"),
    ],
)
def test_values_that_cannot_be_served_are_named(values: dict[str, Any], text: str) -> None:
    with pytest.raises(LoadError, match=rf"config\.json: {text}"):
        read_rope(config_file(**values), HEAD)
