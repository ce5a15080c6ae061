"""SentencePiece's tokenizers that merge characters (`tokenizer.ggml.model` is `llama`), with bytes for those it lacks.

A file has a score for each token and no merges: two tokens merge into a third, that with the best score first.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from loquor_worker.importing.gguf.metadata import Metadata
from loquor_worker.importing.gguf.vocabulary import Kind, Vocabulary

_TOKENS = "tokenizer.ggml.tokens"
_SCORES, _PREFIX = "tokenizer.ggml.scores", "tokenizer.ggml.add_space_prefix"
_BLANK = "▁"
# Gemma's vocabulary, the largest, makes half a million.
_MAX_MERGES = 1 << 21
_MERGED = (Kind.NORMAL, Kind.USER_DEFINED, Kind.UNUSED)
# Their scores are not in the order of their merges, the tokens are.
_ORDERED = ("gemma", "gemma2", "gemma3")


def build(vocabulary: Vocabulary) -> Any:
    """The tokenizer, without its special tokens. Raises `ConversionFailed` without usable scores."""
    from tokenizers import Tokenizer, models

    ordered = vocabulary.metadata.text("general.architecture") in _ORDERED
    tokens = [_with_blanks(token) for token in vocabulary.tokens] if ordered else list(vocabulary.tokens)
    scores = range(0, -len(tokens), -1) if ordered else _scores(vocabulary.metadata, len(tokens))
    unknown = vocabulary.id_of("unknown", 0)
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: index for index, token in enumerate(tokens)},
            merges=_merges(vocabulary, tokens, scores),
            unk_token=None if unknown is None else tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    _set_blanks(tokenizer, prefix=vocabulary.metadata.flag(_PREFIX, not ordered))
    return tokenizer


def _set_blanks(tokenizer: Any, *, prefix: bool) -> None:
    """Blanks become visible; with `prefix` one more goes before each text, as before a word in its middle."""
    from tokenizers import decoders, normalizers

    before = [normalizers.Prepend(_BLANK)] if prefix else []
    after = [decoders.Strip(" ", 1, 0)] if prefix else []
    tokenizer.normalizer = normalizers.Sequence([*before, normalizers.Replace(" ", _BLANK)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), *after]
    )


def _with_blanks(token: str) -> str:
    """Gemma's files store runs of blanks as they are in a text, all other tokens as the merges know them."""
    return _BLANK * len(token) if token and not token.strip(" ") else token


def _scores(metadata: Metadata, tokens: int) -> Sequence[float]:
    scores = metadata.numbers(_SCORES)
    # Not a number is not equal to itself, and would make the order of merges a matter of chance.
    if len(scores) != tokens or any(score != score for score in scores):
        raise metadata.refuse(_SCORES, f"{len(scores)} values are not a score for each of {tokens} tokens")
    return scores


def _merges(vocabulary: Vocabulary, tokens: list[str], scores: Sequence[float]) -> list[tuple[str, str]]:
    """All pairs of tokens that make a third, best score first; of the same score, the shortest left one first."""
    kinds = vocabulary.kinds
    ids = {token: index for index, token in enumerate(tokens) if kinds[index] in _MERGED}
    pairs = ((-scores[index], pair) for token, index in ids.items() for pair in _pairs(token, ids))
    found = list(islice(pairs, _MAX_MERGES + 1))
    if len(found) > _MAX_MERGES:
        raise vocabulary.metadata.refuse(_TOKENS, f"make more than {_MAX_MERGES} pairs that merge")
    found.sort(key=lambda merge: merge[0])
    return [pair for _, pair in found]


def _pairs(token: str, ids: dict[str, int]) -> Iterator[tuple[str, str]]:
    for cut in range(1, len(token)):
        left, right = token[:cut], token[cut:]
        if left in ids and right in ids:
            yield left, right
