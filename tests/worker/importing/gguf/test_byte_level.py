"""Tokenizers that merge bytes: the ids are transformers' own, and those of the splits the models were made with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from transformers import AutoTokenizer

from loquor_worker.importing import ConversionFailed
from tests.worker.importing.gguf_tokenizers import BYTE, CONTROL, NORMAL, byte_level

TEXTS = [
    "", " ", "a", "the cat sat", "  the   cats\t\tsat\n\n\non it \r\n ", "don't WE'LL I'm they'Re", "x=1;y = 22/333",
    "1234567890 3.14 2024-01-01", "def f(x):\n    return x**2  # nothing\n", "größer café naïve", "e\u0301 composed?",
    "日本語と中文 그리고 한국어", "Привет, мир! नमस्ते दुनिया", "👩‍👩‍👧‍👦 and 🎉!",
    "<|im_start|>the cat<|im_end|>\n<think>so</think>",
    "\u200b\u00a0\ufeff", "camelCase snake_case SCREAMING", "...!?--++((())) {[<>]}", "<0x0A> <s> </s> [PAD]",
    "a" * 300, " \n \n  \t x", "½ ² Ⅷ ٣ 九",
]  # fmt: skip


def both(file: Path, folder: Path) -> tuple[Any, Tokenizer]:
    theirs = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    return theirs, Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.mark.parametrize("pre", ["gpt-2", "default", "llama-bpe", "tekken", "gpt-4o", "qwen2"])
def test_ids_and_texts_are_transformers_own(
    pre: str, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    file = written(settings=byte_level(pre))
    theirs, ours = both(file, converted(file))
    for text in TEXTS:
        if pre == "qwen2" and normalizers.NFC().normalize_str(text) != text:
            continue
        ids = theirs(text, add_special_tokens=False).input_ids
        assert ours.encode(text, add_special_tokens=False).ids == ids, text
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True), text
    assert ours.get_vocab_size() == len(theirs)


@pytest.mark.parametrize("text", [*TEXTS, "a  1", "\n 22", " ²"])
def test_smollm_splits_digits_off_first(
    text: str, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    """As SmolLM's own tokenizer.json says it; transformers does not know this split, and takes GPT-2's for it."""
    ours = Tokenizer.from_file(str(converted(written(settings=byte_level("smollm"))) / "tokenizer.json"))
    reference = Tokenizer.from_str(ours.to_str())
    digits, bytes_ = pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)
    reference.pre_tokenizer = pre_tokenizers.Sequence([digits, bytes_])
    assert ours.encode(text).ids == reference.encode(text).ids


def test_qwen_composes_characters_first(written: Callable[..., Path], converted: Callable[..., Path]) -> None:
    ours = Tokenizer.from_file(str(converted(written(settings=byte_level("qwen2"))) / "tokenizer.json"))
    assert ours.encode("cafe\u0301").ids == ours.encode("café").ids


def test_llama_3_takes_a_token_whole_though_no_merge_makes_it(
    written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    settings = byte_level("llama-bpe")
    settings["tokenizer.ggml.tokens"].append("zzqq")
    settings["tokenizer.ggml.token_type"].append(NORMAL)
    folder = converted(written(settings=settings))
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert ours.encode("zzqq", add_special_tokens=False).tokens == ["zzqq"]
    assert ours.encode("the zzqq", add_special_tokens=False).tokens[-4:] == ["z", "z", "q", "q"]


@pytest.mark.parametrize(("pre", "begins"), [("llama-bpe", True), ("tekken", True), ("gpt-2", False), ("qwen2", False)])
def test_which_texts_begin_with_a_token_where_the_file_does_not_say(
    pre: str, begins: bool, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    folder = converted(written(settings={**byte_level(pre), "tokenizer.ggml.add_bos_token": None}))
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("the cat").ids
    assert (ids[0] == 1) is begins
    assert ids == AutoTokenizer.from_pretrained(folder)("the cat").input_ids


def test_special_tokens_of_other_alphabets_keep_their_ids(
    written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    settings = byte_level()
    settings["tokenizer.ggml.tokens"].append("<｜begin▁of▁text｜>")
    settings["tokenizer.ggml.token_type"].append(CONTROL)
    ours = Tokenizer.from_file(str(converted(written(settings=settings)) / "tokenizer.json"))
    last = len(settings["tokenizer.ggml.tokens"]) - 1
    assert ours.encode("<｜begin▁of▁text｜>the").ids[0] == last
    assert ours.get_vocab_size() == last + 1


MERGES, TOKENS, KINDS = "tokenizer.ggml.merges", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tokenizer.ggml.pre": "magic"}, r"tokenizer\.ggml\.pre: 'magic' is not one of default, gpt-2, "),
        ({"tokenizer.ggml.model": "bert"}, r"tokenizer\.ggml\.model: 'bert' is not one of gpt2, llama"),
        ({"tokenizer.ggml.model": None}, r"tokenizer\.ggml\.model: missing"),
        ({MERGES: None}, r"tokenizer\.ggml\.merges: missing"),
        ({MERGES: ["t h", "zz zz"]}, r"tokenizer\.ggml\.merges: merge 1, 'zz zz', is not of two tokens"),
        ({MERGES: ["t h e"]}, r"tokenizer\.ggml\.merges: merge 0"),
        ({MERGES: [1, 2]}, r"tokenizer\.ggml\.merges: a list of 2 is not a list of texts"),
        ({TOKENS: None}, r"tokenizer\.ggml\.tokens: missing"),
        ({TOKENS: ["a" * 513]}, r"tokenizer\.ggml\.tokens: token 0 has more than 512 characters"),
        ({KINDS: [NORMAL, BYTE]}, r"tokenizer\.ggml\.token_type: has 2 values for"),
        ({"tokenizer.ggml.bos_token_id": 100_000}, r"tokenizer\.ggml\.bos_token_id: 100000 is not a whole number"),
        ({"tokenizer.ggml.add_bos_token": 1}, r"tokenizer\.ggml\.add_bos_token: 1 is neither true nor false"),
        ({"tokenizer.chat_template": "x" * (1 << 21)}, r"tokenizer\.chat_template: has more than 1048576 characters"),
        (
            {"tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.bos_token_id": None},
            r"tokenizer\.ggml\.bos_token_id: missing, though it is added to every text",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    change: dict[str, Any], reason: str, written: Callable[..., Path], converted: Callable[..., Path]
) -> None:
    with pytest.raises(ConversionFailed, match=rf"^model\.gguf: {reason}"):
        converted(written(settings={**byte_level(), **change}))
