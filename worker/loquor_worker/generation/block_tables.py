"""Which blocks each running sequence holds: found in the cache, taken from the pool, published when full, given back.

It ties sequences to a pool. It decides nothing: who gets room, and at whose cost, is the scheduler's.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

from loquor_worker.generation.block_keys import extend_keys
from loquor_worker.generation.block_pool import BlockPool, IntegrityError
from loquor_worker.generation.sequence import GenerationSequence


class BlockTables:
    """The one that writes a sequence's `blocks`, `keys` and `published`, and `computed` when it opens and closes."""

    def __init__(self, pool: BlockPool) -> None:
        self.pool = pool
        self._coming: set[bytes] = set()  # keys of blocks that are about to be computed

    def find(self, sequence: GenerationSequence) -> list[int]:
        """The cached blocks of its first tokens, not yet taken. Its last token is always left to be computed."""
        if not self.pool.prefix_cache:
            return []
        full = (len(sequence.tokens) - 1) // self.pool.block_tokens
        self._extend_keys(sequence, full)
        return self.pool.find(sequence.keys[:full])

    def is_coming(self, sequence: GenerationSequence, found: int) -> bool:
        """Half or more of what it lacks behind the `found` blocks is being computed for another."""
        keys = sequence.keys[found:]
        if not keys or keys[0] not in self._coming:
            return False
        size = self.pool.block_tokens
        coming = sum(1 for _ in takewhile(self._coming.__contains__, keys))
        return 2 * coming * size >= len(sequence.tokens) - found * size

    def missing(self, sequence: GenerationSequence, found: Sequence[int]) -> int:
        """How many free blocks it takes to open a table for all its tokens, unused ones among the `found` included."""
        blocks = -(-len(sequence.tokens) // self.pool.block_tokens)
        return blocks - len(found) + self.pool.unused(found)

    def open(self, sequence: GenerationSequence, found: list[int]) -> None:
        """Share the `found` blocks and take as many more as its tokens need."""
        size = self.pool.block_tokens
        self.pool.share(found)
        sequence.blocks = found.copy()
        sequence.published = len(found)
        sequence.computed = len(found) * size
        self.grow(sequence, len(sequence.tokens))
        self._coming.update(sequence.keys[len(found) :])

    def grow(self, sequence: GenerationSequence, tokens: int) -> bool:
        """Make room for so many tokens, as far as blocks are free. False if there are too few."""
        pool, blocks = self.pool, sequence.blocks
        while len(blocks) * pool.block_tokens < tokens:
            if not pool.free:
                return False
            blocks.append(pool.allocate())
        return True

    def publish(self, sequence: GenerationSequence) -> None:
        """Let what is full and computed be found by others with the same salt."""
        full = sequence.computed // self.pool.block_tokens
        if full <= sequence.published or not self.pool.prefix_cache:
            return
        self._extend_keys(sequence, full)
        for index in range(sequence.published, full):
            self.pool.publish(sequence.blocks[index], sequence.keys[index])
            self._coming.discard(sequence.keys[index])
        sequence.published = full

    def close(self, sequence: GenerationSequence) -> None:
        """Give all blocks back. The full ones are published again: a twin that counted for one may be gone since."""
        self._coming.difference_update(sequence.keys[sequence.published :])
        sequence.published = 0
        self.publish(sequence)
        self.pool.release(sequence.blocks)
        sequence.blocks = []
        sequence.computed = sequence.published = 0

    def check_integrity(self, running: Sequence[GenerationSequence]) -> None:
        """Raise `IntegrityError` if the pool's books are wrong, or if others than these sequences hold blocks."""
        for sequence in running:
            self._check(sequence)
        lacking = {key for sequence in running for key in sequence.keys[sequence.published :]}
        if awaited := self._coming - lacking:
            raise IntegrityError(f"{len(awaited)} blocks are awaited that no sequence is about to compute")
        self.pool.check_integrity(Counter(block for sequence in running for block in sequence.blocks))

    def _check(self, sequence: GenerationSequence) -> None:
        size = self.pool.block_tokens
        room = len(sequence.blocks) * size
        if not sequence.published * size <= sequence.computed < len(sequence.tokens) <= room + 1:
            raise IntegrityError(
                f"sequence {sequence.id} runs with {sequence.computed} of {len(sequence.tokens)} tokens computed, "
                f"{sequence.published} blocks published, and room for {room}"
            )

    def _extend_keys(self, sequence: GenerationSequence, blocks: int) -> None:
        extend_keys(sequence.keys, sequence.tokens, sequence.cache_salt, self.pool.block_tokens, blocks)
