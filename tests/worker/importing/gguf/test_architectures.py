"""Every architecture: the model that comes out is the one that was put in, and transformers reads the file as we do."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from loquor_worker.importing import ConversionFailed
from tests.worker.importing.gguf_models import SAMPLES, tiny_model

IDS = torch.tensor([[5, 9, 300, 17, 2, 41, 41, 8, 120, 77, 3, 250]])


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_model_computes_what_the_original_does(
    sample: str, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    folder = converted(written(sample))
    original = tiny_model(SAMPLES[sample])
    model, report = AutoModelForCausalLM.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32, attn_implementation="eager"
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    for name, parameter in original.state_dict().items():
        assert torch.allclose(parameter, model.state_dict()[name], atol=1e-6), name
    with torch.no_grad():
        assert torch.allclose(model(IDS).logits, original(IDS).logits, atol=1e-4)
        # Beyond the window, and beyond the positions that the model was first trained on.
        long = torch.arange(100)[None] * 3 % 448
        assert torch.allclose(model(long).logits, original(long).logits, atol=1e-4)


@pytest.mark.parametrize("sample", [name for name, sample in SAMPLES.items() if sample.read_by_transformers])
def test_transformers_reads_the_same_weights_bit_for_bit(
    sample: str, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    file = written(sample)
    folder = converted(file)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    theirs = load_gguf_checkpoint(str(file), return_tensors=True, model_to_load=model)["tensors"]
    ours = load_file(folder / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


@pytest.mark.parametrize(
    ("sample", "setting", "value", "reason"),
    [
        ("llama", "expert_count", 8, r"llama\.expert_count: 8 is not supported, only 0"),
        ("llama", "attention.head_count", None, r"llama\.attention\.head_count: missing"),
        ("llama", "block_count", 2_000_000, r"llama\.block_count: 2000000 is not a whole number from 1 to 1024"),
        ("llama", "embedding_length", 0, r"llama\.embedding_length: 0 is not a whole number"),
        ("llama", "context_length", "long", r"llama\.context_length: 'long' is not a whole number"),
        ("llama", "vocab_size", 9, r"llama\.vocab_size: 9 is not supported, only 448"),
        ("llama", "rope.dimension_count", 8, r"llama\.rope\.dimension_count: 8 is not supported, only 16"),
        ("llama", "rope.freq_base", float("nan"), r"llama\.rope\.freq_base: nan is not a number greater than zero"),
        ("llama", "rope.scaling.type", "magic", r"llama\.rope\.scaling\.type: 'magic' is not supported"),
        ("llama", "logit_scale", 0.5, r"llama\.logit_scale: this setting is not known"),
        ("llama", "attention.head_count_kv", [2, 4], r"llama\.attention\.head_count_kv: a list of 2 is not a whole"),
        ("qwen2", "attention.key_length", 24, r"qwen2\.attention\.key_length: 24 is not supported, only 16"),
        ("gemma3", "attention.sliding_window", None, r"gemma3\.attention\.sliding_window: missing"),
        ("gemma3", "attention.value_length", 8, r"gemma3\.attention\.value_length: 8 is not supported, only 24"),
        ("gpt2", "attention.head_count_kv", 2, r"gpt2\.attention\.head_count_kv: 2 is not supported, only 4"),
    ],
)
def test_a_setting_that_is_wrong_or_not_known_is_named(
    sample: str, setting: str, value: object, reason: str, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    with pytest.raises(ConversionFailed, match=rf"^model\.gguf: {reason}"):
        converted(written(sample, settings={setting: value}))


def test_heads_that_are_said_for_each_layer_and_equal(
    written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    folder = converted(written(settings={"attention.head_count_kv": [2, 2]}))
    assert AutoConfig.from_pretrained(folder).num_key_value_heads == 2


def test_an_architecture_without_a_table(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    file = written()
    file.write_bytes(file.read_bytes().replace(b"llama", b"mamba"))
    with pytest.raises(ConversionFailed, match=r"general\.architecture: 'mamba' is not one of llama, qwen2, "):
        converted(file)


def test_one_file_of_several(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    with pytest.raises(ConversionFailed, match=r"split\.count: this is one of 3 files; join them"):
        converted(written(settings={"split.count": 3}))


@pytest.mark.parametrize(
    "name", ["blk.2.attn_q.weight", "blk.0.ffn_gate_exps.weight", "cls.weight", "x", "blk.0.attn_q"]
)
def test_a_tensor_without_a_place_is_named(
    name: str, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    with pytest.raises(ConversionFailed, match=f"tensor '{name}': has no place in a llama of 2 layers"):
        converted(written(tensors={name: np.zeros((64, 64), np.float32)}))


@pytest.mark.parametrize("factors", [np.ones(8, np.float32) * 3, np.ones(5, np.float32)])
def test_factors_that_are_not_llama_3s(
    factors: np.ndarray, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    with pytest.raises(ConversionFailed, match=r"tensor 'rope_freqs\.weight': "):
        converted(written("llama 3", tensors={"rope_freqs.weight": factors}))


def test_rows_that_are_no_pairs_of_heads(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    with pytest.raises(ConversionFailed, match=r"tensor 'blk\.0\.attn_q\.weight': its 60 rows are not pairs"):
        converted(written(tensors={"blk.0.attn_q.weight": np.zeros((60, 64), np.float32)}))


def test_no_embeddings(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    with pytest.raises(ConversionFailed, match=r"tensor 'token_embd\.weight': missing"):
        converted(written(tensors={"token_embd.weight": None}))
