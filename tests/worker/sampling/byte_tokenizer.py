"""A byte-level tokenizer's file, made here: all bytes, and some words of several, as a model's own has."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

END, TURN = 0, 1
_WORDS = ["Ġthe", '":', "true", "false", "null", "10", "ab", "abc", "ĠĠ", '","', "}}", "red", "green"]


def save_tokenizer(path: Path) -> Tokenizer:
    """Two special tokens, then one for each byte, then words."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<|end|>", "<|turn|>", *alphabet, *_WORDS]
    tokenizer = Tokenizer(models.BPE(vocab={word: id for id, word in enumerate(words)}, merges=[]))
    tokenizer.add_special_tokens(words[:2])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(path))
    return tokenizer
