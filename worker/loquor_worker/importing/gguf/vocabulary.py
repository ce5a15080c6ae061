"""The tokens of a file, what kind each is, and which have a part to play.

It knows no way of splitting a text into them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from loquor_worker.importing.gguf.metadata import Metadata

_TOKENS, _KINDS = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"
_MAX_TOKENS = 1 << 20
# Texts in a vocabulary are pieces of words; the longest known are runs of 128 blanks and the like.
MAX_TOKEN_CHARACTERS = 512
# What a file may name as the end of a turn, and the texts by which llama.cpp finds such tokens where it names none.
_ENDS = ("eos", "eot", "eom")
_END_TEXTS = frozenset(
    {
        "<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>",
        "<end_of_utterance>", "<EOT>", "_<EOT>",
    }
)  # fmt: skip


class Kind(IntEnum):
    """What a token is, as llama.cpp numbers it."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by their ids, with their kinds, and the settings that are about tokens."""

    metadata: Metadata
    tokens: Sequence[str]
    kinds: Sequence[int]

    def id_of(self, role: str, default: int | None = None) -> int | None:
        """The id of the token with this role (`bos`, `eos`, `unknown`, `padding`, …), if there is one."""
        key = f"tokenizer.ggml.{role}_token_id"
        if not self.metadata.has(key) and default is None:
            return None
        return self.metadata.integer(key, default, least=0, most=len(self.tokens) - 1)

    def of_kind(self, *kinds: Kind) -> list[str]:
        return [token for token, kind in zip(self.tokens, self.kinds, strict=True) if kind in kinds]

    def ends(self) -> list[int]:
        """Ids that end an answer, the end of the text first."""
        named = [token for role in _ENDS if (token := self.id_of(role)) is not None]
        control = (Kind.CONTROL, Kind.USER_DEFINED)
        pairs = zip(self.tokens, self.kinds, strict=True)
        found = [index for index, (token, kind) in enumerate(pairs) if kind in control and token in _END_TEXTS]
        return list(dict.fromkeys(named + found))


def read_vocabulary(metadata: Metadata) -> Vocabulary:
    """Raises `ConversionFailed` unless there is a token for each id, none of them absurdly long."""
    tokens = metadata.texts(_TOKENS)
    if not 1 <= len(tokens) <= _MAX_TOKENS:
        raise metadata.refuse(_TOKENS, f"has {len(tokens)} tokens; 1 to {_MAX_TOKENS} can be read")
    for index, token in enumerate(tokens):
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise metadata.refuse(_TOKENS, f"token {index} has more than {MAX_TOKEN_CHARACTERS} characters")
    kinds = [int(kind) for kind in metadata.numbers(_KINDS)] if metadata.has(_KINDS) else [Kind.NORMAL] * len(tokens)
    if len(kinds) != len(tokens):
        raise metadata.refuse(_KINDS, f"has {len(kinds)} values for {len(tokens)} tokens")
    return Vocabulary(metadata, tokens, kinds)
