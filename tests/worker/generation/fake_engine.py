"""An engine whose next token is a function of all tokens before it, read from a KV store that it checks.

It keeps for each slot of each block which token was written there and at which position, behind which tokens. A chunk
that attends to a slot with anything else in it, or writes into a block that others read, fails the test.
"""

from collections.abc import Callable, Sequence
from hashlib import blake2b

from loquor_worker.generation.block_pool import BlockPool
from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.generation.step import Chunk, Produced, TokenLogprob

END = 0

NextToken = Callable[[Sequence[int]], int]


def next_token(tokens: Sequence[int], vocabulary: int = 12) -> int:
    """Looks random, depends on every token."""
    return blake2b(bytes(token % 251 for token in tokens), digest_size=1).digest()[0] % vocabulary


def looping_token(tokens: Sequence[int]) -> int:
    """Often repeats what was written three tokens ago, so that guesses prove right."""
    picked = next_token(tokens, 40)
    return picked if picked < 8 or len(tokens) < 3 else tokens[-3]


def alone(prompt: Sequence[int], max_tokens: int, pick: NextToken, ends: frozenset[int], min_tokens: int) -> list[int]:
    """What a sequence writes with nobody beside it, the end token left out."""
    tokens = list(prompt)
    while len(tokens) < len(prompt) + max_tokens:
        token = pick(tokens)
        if token in ends and len(tokens) - len(prompt) >= min_tokens:
            break
        tokens.append(token)
    return tokens[len(prompt) :]


class FakeEngine:
    """`slots[block][offset]` is what was written there: all tokens up to and with its position, and the salt."""

    def __init__(self, pool: BlockPool, pick: NextToken = next_token) -> None:
        self._pool = pool
        self._pick = pick
        self._slots: list[list[tuple[bytes, tuple[int, ...]] | None]] = [
            [None] * pool.block_tokens for _ in range(pool.blocks)
        ]

    def step(self, chunks: Sequence[Chunk]) -> list[Produced]:
        for chunk in chunks:
            self._write(chunk)
        return [self._produce(chunk) for chunk in chunks]

    def _write(self, chunk: Chunk) -> None:
        sequence = chunk.sequence
        behind = sequence.tokens[: chunk.start] + chunk.tokens
        known = len(chunk.tokens) - chunk.drafts
        assert chunk.tokens[:known] == sequence.tokens[chunk.start : chunk.start + known]
        for position in range(chunk.start, len(behind)):
            block, offset = self._slot(sequence, position)
            assert self._pool._references[block] == 1, "a block that others read is written"
            assert self._pool._keys[block] is None, "a block that can be found is written"
            self._slots[block][offset] = (sequence.cache_salt, tuple(behind[: position + 1]))

    def _produce(self, chunk: Chunk) -> Produced:
        behind = chunk.sequence.tokens[: chunk.start] + chunk.tokens
        self._attend(chunk.sequence, behind)
        if not chunk.samples:
            assert not chunk.drafts
            assert len(behind) < len(chunk.sequence.tokens)
            return Produced([], [])
        assert len(behind) == len(chunk.sequence.tokens) + chunk.drafts
        ids = [self._pick(behind[: len(behind) - chunk.drafts])]
        for draft in chunk.tokens[len(chunk.tokens) - chunk.drafts :]:
            if draft != ids[-1]:
                break
            ids.append(self._pick(chunk.sequence.tokens + ids))
        wants = chunk.sequence.params.logprobs is not None
        return Produced(ids, [TokenLogprob(-float(id), [], []) for id in ids] if wants else [])

    def _attend(self, sequence: GenerationSequence, behind: list[int]) -> None:
        for position in range(len(behind)):
            block, offset = self._slot(sequence, position)
            written = self._slots[block][offset]
            assert written == (sequence.cache_salt, tuple(behind[: position + 1])), f"position {position}"

    def _slot(self, sequence: GenerationSequence, position: int) -> tuple[int, int]:
        return sequence.blocks[position // self._pool.block_tokens], position % self._pool.block_tokens
