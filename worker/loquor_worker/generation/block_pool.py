"""Which blocks of the KV cache are in use, by how many sequences, and which full ones can be found again by their key.

It hands out numbers. It knows neither the memory behind them, nor a sequence, nor how keys are made.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence


class IntegrityError(RuntimeError):
    """The books do not balance. The text says where."""


class BlockPool:
    """`blocks` blocks, numbered from 0, each with room for the keys and values of `block_tokens` tokens in all layers.

    A block is blank (unused, its contents nothing), in use (by one sequence, or by several that share it), or cached
    (unused, but found by its key until it is needed). Blank blocks are handed out first, then cached ones, the least
    recently used first. A sequence gives back its deepest block first, so a block always goes before its parent.
    """

    def __init__(self, blocks: int, block_tokens: int, prefix_cache: bool = True) -> None:
        if blocks < 1 or block_tokens < 1:
            raise ValueError("a pool needs at least one block of at least one token")
        self.blocks = blocks
        self.block_tokens = block_tokens
        self.prefix_cache = prefix_cache
        self._references = [0] * blocks
        self._keys: list[bytes | None] = [None] * blocks
        self._by_key: dict[bytes, int] = {}
        self._blank = list(reversed(range(blocks)))
        self._cached: OrderedDict[int, None] = OrderedDict()  # the least recently used first

    @property
    def free(self) -> int:
        """Blocks that can be handed out: the blank and the cached ones."""
        return len(self._blank) + len(self._cached)

    @property
    def used(self) -> int:
        return self.blocks - self.free

    @property
    def cached(self) -> int:
        """Unused blocks that can be found by their key."""
        return len(self._cached)

    # --- hand out and take back ---

    def allocate(self) -> int:
        """A block for one sequence. `IndexError` if none is free; O(1)."""
        block = self._blank.pop() if self._blank else self._evict()
        self._references[block] = 1
        return block

    def share(self, blocks: Iterable[int]) -> None:
        """Count one more sequence for each of these, found just now."""
        for block in blocks:
            if not self._references[block]:
                del self._cached[block]
            self._references[block] += 1

    def release(self, blocks: Sequence[int]) -> None:
        """Count one sequence less for each. They are in the order of their positions."""
        for block in reversed(blocks):
            if not self._references[block]:
                raise IntegrityError(f"block {block} is released, but not in use")
            self._references[block] -= 1
            if not self._references[block]:
                self._put_back(block)

    # --- the prefix cache ---

    def find(self, keys: Iterable[bytes]) -> list[int]:
        """The blocks of the longest run of these keys, from the first on, that are in the cache. Takes none of them."""
        found = []
        for key in keys:
            block = self._by_key.get(key)
            if block is None:
                break
            found.append(block)
        return found

    def unused(self, blocks: Iterable[int]) -> int:
        """How many of these no sequence uses: what sharing them would take off `free`."""
        return sum(not self._references[block] for block in blocks)

    def publish(self, block: int, key: bytes) -> None:
        """Let a full block that is in use be found by its key.

        Where another block has that key, the one in use stays, and an unused one makes way: a parent that is in use
        must not be given up before its child, as would happen if its unused twin were the one that counts.
        """
        holder = self._by_key.get(key)
        if not self.prefix_cache or holder == block or (holder is not None and self._references[holder]):
            return
        if not self._references[block] or self._keys[block] is not None:
            raise IntegrityError(f"block {block} is published, but unused or published with another key")
        if holder is not None:
            del self._cached[holder]
            self._forget_key(holder)
            self._blank.append(holder)
        self._by_key[key] = block
        self._keys[block] = key

    # --- the books ---

    def check_integrity(self, in_use: Counter[int] | None = None) -> None:
        """Raise `IntegrityError` if a list and a count disagree, or if blocks are used otherwise than `in_use` says."""
        self._check_unused()
        self._check_keys()
        for block, count in enumerate(self._references):
            if in_use is not None and count != in_use[block]:
                raise IntegrityError(f"block {block} counts {count} sequences, but {in_use[block]} hold it")

    def _check_unused(self) -> None:
        listed = Counter(self._blank) + Counter(self._cached.keys())
        for block, count in enumerate(self._references):
            if count < 0 or listed[block] != (count == 0):
                raise IntegrityError(
                    f"block {block} counts {count} sequences and is listed as free {listed[block]} times"
                )

    def _check_keys(self) -> None:
        for block, key in enumerate(self._keys):
            if key is not None and self._by_key.get(key) != block:
                raise IntegrityError(f"block {block} has a key by which block {self._by_key.get(key)} is found")
            if key is None and block in self._cached:
                raise IntegrityError(f"block {block} is listed as cached, but has no key")
        if blank := next((block for block in self._blank if self._keys[block] is not None), None):
            raise IntegrityError(f"block {blank} is listed as blank, but has a key")
        if len(self._by_key) != sum(key is not None for key in self._keys):
            raise IntegrityError("a key finds a block that does not have it")

    def _evict(self) -> int:
        if not self._cached:
            raise IndexError("no block is free")
        block, _ = self._cached.popitem(last=False)
        self._forget_key(block)
        return block

    def _put_back(self, block: int) -> None:
        if self._keys[block] is None:
            self._blank.append(block)
        else:
            self._cached[block] = None

    def _forget_key(self, block: int) -> None:
        key = self._keys[block]
        self._keys[block] = None
        if key is not None:
            del self._by_key[key]
