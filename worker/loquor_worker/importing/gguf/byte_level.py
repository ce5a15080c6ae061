"""Tokenizers that merge bytes (`tokenizer.ggml.model` is `gpt2`), each byte spelled as a printable character.

Before any merge the text is split by an expression that belongs to the vocabulary; a file gives no more than its name.
The expressions are those of the models' own tokenizers, which llama.cpp repeats.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from loquor_worker.importing.gguf.refusal import shown
from loquor_worker.importing.gguf.vocabulary import Kind, Vocabulary

_MERGES, _PRE = "tokenizer.ggml.merges", "tokenizer.ggml.pre"

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+END|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*END"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = _CASED.replace("END", "") + r"|\p{N}" + _REST
_GPT4O = _CASED.replace("END", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?") + r"|\p{N}{1,3}" + _REST


@dataclass(frozen=True, slots=True)
class _Split:
    """How a text is split before the merges."""

    expression: str
    # Every digit is split off first.
    single_digits: bool = False
    # Composed and decomposed characters are the same.
    composed: bool = False
    # A piece that is a token is taken whole, whatever the merges say.
    whole_tokens: bool = False
    # Whether texts begin with the token for that, where the file does not say.
    add_bos: bool = False


_SPLITS = {
    **dict.fromkeys(("default", "gpt-2", "phi-2", "mpt", "olmo"), _Split(_GPT2)),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), _Split(_GPT2, single_digits=True)),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3"), _Split(_LLAMA3, whole_tokens=True, add_bos=True)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), _Split(_QWEN2, composed=True)),
    "tekken": _Split(_TEKKEN, whole_tokens=True, add_bos=True),
    "gpt-4o": _Split(_GPT4O),
}


def adds_bos(vocabulary: Vocabulary) -> bool:
    return _split(vocabulary).add_bos


def build(vocabulary: Vocabulary) -> Any:
    """The tokenizer, without its special tokens. Raises `ConversionFailed` for a split that is not known."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    split = _split(vocabulary)
    ids = {token: index for index, token in enumerate(_spelled(vocabulary))}
    merges = list(_merges(vocabulary, ids))
    tokenizer = Tokenizer(models.BPE(vocab=ids, merges=merges, ignore_merges=split.whole_tokens))
    if split.composed:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = _pre_tokenizer(split)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _split(vocabulary: Vocabulary) -> _Split:
    name = vocabulary.metadata.text(_PRE, "default")
    if name not in _SPLITS:
        raise vocabulary.metadata.refuse(_PRE, f"{shown(name)} is not one of {', '.join(_SPLITS)}")
    return _SPLITS[name]


def _pre_tokenizer(split: _Split) -> Any:
    from tokenizers import Regex, pre_tokenizers

    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if split.single_digits else []
    steps.append(pre_tokenizers.Split(Regex(split.expression), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    return pre_tokenizers.Sequence(steps)


def _merges(vocabulary: Vocabulary, ids: dict[str, int]) -> Iterator[tuple[str, str]]:
    metadata = vocabulary.metadata
    for index, merge in enumerate(metadata.texts(_MERGES)):
        left, _, right = merge.partition(" ")
        if not (left in ids and right in ids and left + right in ids):
            raise metadata.refuse(_MERGES, f"merge {index}, {shown(merge)}, is not of two tokens that make a third")
        yield left, right


def _spelled(vocabulary: Vocabulary) -> Iterator[str]:
    """Tokens as the merges know them. Those that are found in texts before any merge keep their own spelling."""
    from tokenizers import pre_tokenizers

    speller = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = frozenset(speller.alphabet())
    for token, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=True):
        if kind in (Kind.CONTROL, Kind.USER_DEFINED) or alphabet.issuperset(token):
            yield token
        else:
            yield "".join(piece for piece, _ in speller.pre_tokenize_str(token))
