"""How a decoder's folder becomes a transformer and a head: what is shared, what is laid out anew, what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from loquor_worker.engines import LoadError
from loquor_worker.models.assembly import Assembly
from loquor_worker.models.heads import LanguageHead
from loquor_worker.models.onednn import PackedLinear
from loquor_worker.models.packing import Packing
from loquor_worker.models.parts import Linear
from loquor_worker.models.transformer import Transformer
from tests.worker.decoder_folder import POSITIONS, VOCABULARY, save_decoder
from tests.worker.encoder_folder import save_bert, save_json

IDS = torch.tensor([5, 6, 7, 8, 9])


def assembly_of(folder: Path, dtype: torch.dtype = torch.float32, **options: Any) -> Assembly:
    return Assembly(folder, torch.device("cpu"), dtype, **options)


@torch.inference_mode()
def hidden_of(transformer: Transformer) -> torch.Tensor:
    hidden: torch.Tensor = transformer(IDS, torch.arange(len(IDS)), None, Packing((len(IDS),)))
    return hidden


def kinds_of_projections(*modules: torch.nn.Module) -> set[type]:
    parts = [part for module in modules for part in module.modules()]
    return {type(part) for part in parts if isinstance(part, Linear | PackedLinear)}


def test_a_tied_head_shares_the_embeddings(tmp_path: Path) -> None:
    save_decoder(tmp_path, tie_word_embeddings=True)
    transformer, head = assembly_of(tmp_path).language_model()
    assert head.output.weight.data_ptr() == transformer.embeddings.tokens.weight.data_ptr()


def test_a_head_that_is_not_tied_has_its_own_weights(tmp_path: Path) -> None:
    save_decoder(tmp_path)
    transformer, head = assembly_of(tmp_path).language_model()
    assert head.output.weight.tolist() == load_file(tmp_path / "model.safetensors")["lm_head.weight"].tolist()
    assert head.output.weight.tolist() != transformer.embeddings.tokens.weight.tolist()


def test_the_head_takes_any_rows(tmp_path: Path) -> None:
    save_decoder(tmp_path)
    transformer, head = assembly_of(tmp_path, torch.bfloat16).language_model()
    hidden = hidden_of(transformer)
    with torch.inference_mode():
        logits, some = head(hidden), head(hidden[[4, 1]])
    assert (some.shape, some.dtype) == ((2, VOCABULARY), torch.float32)
    assert (some - logits[[4, 1]]).abs().max() < 1e-2


def test_projections_are_plain_until_they_are_packed(tmp_path: Path) -> None:
    save_decoder(tmp_path)
    assembly = assembly_of(tmp_path)
    transformer, head = assembly.language_model()
    assert kinds_of_projections(transformer, head) == {Linear}
    with torch.inference_mode():
        plain = head(hidden_of(transformer))
        assembly.pack(transformer)
        assembly.pack(head)
        assert kinds_of_projections(transformer, head) == {PackedLinear}
        assert (head(hidden_of(transformer)) - plain).abs().max() < 1e-4 * plain.abs().max()


def test_half_precision_is_near(tmp_path: Path) -> None:
    save_decoder(tmp_path, "Gemma2", head_dim=8)
    rows = {}
    for dtype in (torch.float32, torch.bfloat16):
        transformer, head = assembly_of(tmp_path, dtype).language_model()
        assert {parameter.dtype for parameter in transformer.parameters()} == {dtype}
        assert hidden_of(transformer).dtype is dtype
        with torch.inference_mode():
            rows[dtype] = head(hidden_of(transformer))
    expected, found = rows[torch.float32], rows[torch.bfloat16]
    assert torch.nn.functional.cosine_similarity(expected, found).min() > 0.995


def test_an_attention_of_ones_own_is_called_by_every_layer(tmp_path: Path) -> None:
    save_decoder(tmp_path)
    seen: list[Any] = []

    def attention(batch: Any, device: torch.device) -> Any:
        def attend(query: Any, key: Any, value: Any, *, layer: int, window: int | None, bias: Any) -> Any:
            seen.append((batch, layer, window, tuple(query.shape), tuple(key.shape), tuple(value.shape)))
            return query

        return attend

    hidden_of(assembly_of(tmp_path).language_model(attention)[0])
    assert [row[1] for row in seen] == [0, 1, 2]
    assert {row[2:] for row in seen} == {(None, (5, 4, 8), (5, 2, 8), (5, 2, 8))}
    assert seen[0][0] == Packing((5,))


@pytest.mark.parametrize(("kind", "is_decoder"), [("ForCausalLM", True), ("", False)])
def test_the_architecture_says_whether_text_is_written(kind: str, is_decoder: bool, tmp_path: Path) -> None:
    save_decoder(tmp_path, "GPT2", kind=kind)
    assert assembly_of(tmp_path).is_decoder is is_decoder


def test_a_file_that_names_no_architecture_is_what_its_family_is(tmp_path: Path) -> None:
    save_json(tmp_path / "llama" / "config.json", {"architectures": None, **LLAMA})
    assert assembly_of(tmp_path / "llama").is_decoder
    save_bert(tmp_path)
    assert not assembly_of(tmp_path).is_decoder


@pytest.mark.parametrize("family", ["GPT2", "Llama"])
def test_a_checkpoint_without_a_head_gives_hidden_states(family: str, tmp_path: Path) -> None:
    """Its names have no prefix, and its attention looks back all the same."""
    model = save_decoder(tmp_path, family, kind="")
    with torch.inference_mode():
        expected = model(IDS.unsqueeze(0)).last_hidden_state[0]
    difference = hidden_of(assembly_of(tmp_path).transformer()) - expected
    assert difference.abs().max() < 2e-5 * expected.abs().max()


def test_a_setting_bounds_the_positions(tmp_path: Path) -> None:
    save_decoder(tmp_path)
    assert assembly_of(tmp_path).config.max_positions == POSITIONS
    assert assembly_of(tmp_path, max_tokens=9).config.max_positions == 9
    assert assembly_of(tmp_path, max_tokens=POSITIONS + 1).config.max_positions == POSITIONS


def test_an_encoder_does_not_write(tmp_path: Path) -> None:
    save_bert(tmp_path)
    with pytest.raises(LoadError, match=r"config\.json: model_type: 'bert' models do not write text"):
        assembly_of(tmp_path).language_model()


@pytest.mark.parametrize("head", [Assembly.sequence_head, Assembly.token_head])
def test_a_decoder_has_no_labels(head: Any, tmp_path: Path) -> None:
    save_decoder(tmp_path)
    with pytest.raises(LoadError, match="model_type: 'llama' models are not served with a head for labels"):
        head(assembly_of(tmp_path))


def test_a_head_that_is_missing_is_named(tmp_path: Path) -> None:
    save_decoder(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({name: tensor for name, tensor in load_file(path).items() if name != "lm_head.weight"}, path)
    with pytest.raises(LoadError, match=r"lm_head\.weight: the tensor is missing"):
        assembly_of(tmp_path).language_model()


def test_logits_are_bounded(tmp_path: Path) -> None:
    save_decoder(tmp_path, "Gemma2", head_dim=8, final_logit_softcapping=0.5)
    transformer, head = assembly_of(tmp_path).language_model()
    with torch.inference_mode():
        assert isinstance(head, LanguageHead)
        assert 0.4 < float(head(hidden_of(transformer)).abs().max()) <= 0.5


LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model_type": "mixtral"}, "model_type: 'mixtral' is not one of"),
        ({"num_key_value_heads": 3}, "num_key_value_heads: 4 heads cannot share 3"),
        ({"num_key_value_heads": 8}, "num_key_value_heads: 4 heads cannot share 8"),
        ({"num_key_value_heads": 0}, "num_key_value_heads: 4 heads cannot share 0"),
        ({"hidden_size": 30}, "num_attention_heads: 4 heads cannot share 30 elements"),
        ({"hidden_act": "sine"}, "hidden_act: 'sine' is not one of"),
        ({"rope_interleaved": True}, "rope_interleaved: True is not supported, only False"),
        ({"quantization_config": {"bits": 4}}, "quantization_config: quantised weights are not read"),
        ({"max_position_embeddings": None}, "max_position_embeddings: the value is missing"),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "layer_types": ["linear"] * 2},
            "layer_types: 2 values of",
        ),
        ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 0}, "sliding_window: 0 is not above 0"),
        ({"model_type": "mistral", "sliding_window": -4}, "sliding_window: -4 is not above 0"),
        ({"model_type": "smollm3", "no_rope_layers": [1]}, "no_rope_layers: 2 values of 0 or 1"),
        ({"model_type": "smollm3", "no_rope_layers": [1, "x"]}, "no_rope_layers: 2 values of 0 or 1"),
        ({"model_type": "gemma", "use_bidirectional_attention": True}, "use_bidirectional_attention: True is not"),
        ({"model_type": "gpt2", "scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx: True is"),
    ],
)
def test_a_config_that_cannot_be_served_is_named(changes: dict[str, Any], text: str, tmp_path: Path) -> None:
    values = {key: value for key, value in {**LLAMA, **changes}.items() if value is not None}
    save_json(tmp_path / "config.json", values)
    with pytest.raises(LoadError, match=rf"config\.json: {text}"):
        _ = assembly_of(tmp_path).config


def test_the_file_of_smollm2(tmp_path: Path) -> None:
    """As it is published, with the keys that nobody reads."""
    values = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "rope_interleaved": False,
        "hidden_act": "silu",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "rope_scaling": None,
        "rms_norm_eps": 1e-05,
        "rope_theta": 100000,
        "tie_word_embeddings": True,
        "vocab_size": 49152,
        "attention_bias": False,
        "mlp_bias": False,
        "pretraining_tp": 1,
        "use_cache": True,
        "is_llama_config": True,
    }
    save_json(tmp_path / "config.json", values)
    assembly = assembly_of(tmp_path)
    config = assembly.config
    assert assembly.is_decoder
    assert (config.heads, config.kv_heads, config.head_size, config.tied_head) == (9, 3, 64, True)
    assert {rope and rope.base for rope in config.ropes} == {100_000.0}
    assert config.max_positions == 8192
    assert transformers.LlamaConfig(**values).head_dim == config.head_size
