"""Tokenizers of GGUF files: as many tokens as the tiny models have, learned from a few lines."""

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tests.worker.importing.gguf_models import VOCABULARY

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
_TEXT = [
    "the cat sat on the mat and the dog did not sit on it, for they'll never sit where it's wet",
    "don't you think that they're in the garden? I'd say so: 12 of them, 345 in all, 2024-01-01",
    "def add(a, b):\n    return a + b\n\n\nclass Cat:\n\tpass\n",
]
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>\n{% endfor %}"
_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def byte_level(pre: str = "gpt-2", changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings of a tokenizer that merges bytes: three control tokens, and one of the user's own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 1, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_TEXT * 2, trainer)
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = [" ".join(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]
    kinds = [CONTROL] * len(_SPECIAL) + [NORMAL] * (len(tokens) - len(_SPECIAL)) + [USER_DEFINED]
    settings = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": [*tokens, "<think>"],
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }
    return settings | dict(changes or {})


def pieces(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The settings of a SentencePiece tokenizer, with a byte for each character that it lacks."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Replace("▁", " ")
    trainer = trainers.BpeTrainer(vocab_size=120, show_progress=False)
    tokenizer.train_from_iterator([" " + line for line in _TEXT * 2], trainer)
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    learned = sorted(vocabulary, key=lambda token: (len(token) == 1, vocabulary[token]))  # as SentencePiece does
    first = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens = [*first, *learned]
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * (len(tokens) - len(first))
    scores = [0.0] * len(first) + [-float(index) for index in range(len(tokens) - len(first))]
    settings = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.chat_template": TEMPLATE,
    }
    return settings | dict(changes or {})
