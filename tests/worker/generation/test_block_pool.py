"""Blocks are counted right, found by what they hold and for whom, and given up in the right order."""

from collections import Counter
from collections.abc import Callable

import pytest

from loquor_worker.generation.block_keys import extend_keys
from loquor_worker.generation.block_pool import BlockPool, IntegrityError


def keys(tokens: list[int], salt: bytes = b"", size: int = 2) -> list[bytes]:
    made: list[bytes] = []
    extend_keys(made, tokens, salt, size, len(tokens) // size)
    return made


def published(pool: BlockPool, chain: list[bytes]) -> list[int]:
    """Blocks in use that hold this chain."""
    blocks = [pool.allocate() for _ in chain]
    for block, key in zip(blocks, chain, strict=True):
        pool.publish(block, key)
    return blocks


# --- keys ---


def test_a_key_says_all_tokens_up_to_its_block() -> None:
    first, second = keys([1, 2, 3, 4]), keys([9, 9, 3, 4])
    assert keys([1, 2, 3, 4, 5]) == first
    assert len({*first, *second}) == 4


def test_keys_are_the_same_whether_made_at_once_or_one_by_one() -> None:
    tokens, grown = list(range(8)), keys([0, 1])
    extend_keys(grown, tokens, b"", 2, 3)
    extend_keys(grown, tokens, b"", 2, 4)
    assert grown == keys(tokens)


def test_salts_never_share_and_reach_into_no_other_chain() -> None:
    plain = keys([1, 2, 3, 4])
    assert not {*plain} & {*keys([1, 2, 3, 4], b"tenant")}
    forged = plain[0] + (3).to_bytes(4, "little") + (4).to_bytes(4, "little")
    deeper = keys([1, 2, 3, 4, 5, 6])
    assert keys([5, 6], forged)[0] != deeper[2]


def test_where_a_token_ends_is_clear() -> None:
    assert keys([256, 1]) != keys([1, 256])
    assert keys([2**32 - 1, 0])
    with pytest.raises(OverflowError):
        keys([2**32, 0])


# --- the pool ---


def test_every_block_is_handed_out_once() -> None:
    pool = BlockPool(3, 2)
    assert {pool.allocate() for _ in range(3)} == {0, 1, 2}
    assert (pool.free, pool.used) == (0, 3)
    with pytest.raises(IndexError, match="no block is free"):
        pool.allocate()
    pool.check_integrity(Counter({0: 1, 1: 1, 2: 1}))


@pytest.mark.parametrize(("blocks", "block_tokens"), [(0, 16), (4, 0)])
def test_a_pool_of_nothing_is_refused(blocks: int, block_tokens: int) -> None:
    with pytest.raises(ValueError, match="at least one block"):
        BlockPool(blocks, block_tokens)


def test_a_shared_block_returns_with_its_last_sequence() -> None:
    pool = BlockPool(3, 2)
    blocks = published(pool, keys([1, 2, 3, 4]))
    pool.share(blocks[:1])
    pool.release(blocks)
    assert (pool.used, pool.cached) == (1, 1)
    pool.release(blocks[:1])
    assert (pool.used, pool.cached, pool.free) == (0, 2, 3)
    pool.check_integrity(Counter())


def test_a_block_cannot_be_released_twice() -> None:
    pool = BlockPool(2, 2)
    block = pool.allocate()
    pool.release([block])
    with pytest.raises(IntegrityError, match=f"block {block} is released, but not in use"):
        pool.release([block])


def test_the_longest_run_from_the_start_is_found() -> None:
    pool = BlockPool(8, 2)
    chain = keys([1, 2, 3, 4, 5, 6])
    blocks = published(pool, chain)
    assert pool.find(chain) == blocks
    assert pool.find(keys([1, 2, 3, 4, 7, 7])) == blocks[:2]
    assert pool.find(keys([7, 7, 3, 4])) == []
    assert pool.find(keys([1, 2, 3, 4], b"other")) == []


def test_unused_blocks_stay_findable_and_sharing_takes_them_off_the_free_ones() -> None:
    pool = BlockPool(4, 2)
    chain = keys([1, 2, 3, 4])
    blocks = published(pool, chain)
    pool.release(blocks)
    assert pool.find(chain) == blocks
    assert (pool.unused(blocks), pool.free) == (2, 4)
    pool.share(blocks)
    assert (pool.unused(blocks), pool.free, pool.cached) == (0, 2, 0)


def test_blank_blocks_go_first_then_the_least_recently_used_and_deeper_ones_before_their_parents() -> None:
    pool = BlockPool(5, 2)
    old, new = keys([1, 2, 3, 4]), keys([5, 6, 7, 8])
    old_blocks, new_blocks = published(pool, old), published(pool, new)
    pool.release(old_blocks)
    pool.release(new_blocks)
    pool.allocate()
    assert (pool.find(old), pool.find(new)) == (old_blocks, new_blocks)
    assert [pool.allocate() for _ in range(3)] == [old_blocks[1], old_blocks[0], new_blocks[1]]
    assert (pool.find(old), pool.find(new)) == ([], new_blocks[:1])
    pool.check_integrity()


def test_use_makes_a_block_recent() -> None:
    pool = BlockPool(2, 2)
    first, second = keys([1, 2]), keys([3, 4])
    first_blocks, second_blocks = published(pool, first), published(pool, second)
    pool.release(first_blocks)
    pool.release(second_blocks)
    pool.share(first_blocks)
    pool.release(first_blocks)
    assert pool.allocate() == second_blocks[0]


def test_of_twins_the_one_in_use_counts() -> None:
    pool = BlockPool(4, 2)
    chain = keys([1, 2])
    first, twin = published(pool, chain), published(pool, chain)
    assert pool.find(chain) == first
    pool.release(first)
    pool.publish(twin[0], chain[0])
    assert (pool.find(chain), pool.cached) == (twin, 0)
    pool.check_integrity()
    pool.release(twin)
    assert (pool.find(chain), pool.cached, pool.free) == (twin, 1, 4)


def test_only_blocks_in_use_are_published_and_under_one_key() -> None:
    pool = BlockPool(2, 2)
    block = published(pool, keys([1, 2]))[0]
    with pytest.raises(IntegrityError, match="published"):
        pool.publish(block, keys([3, 4])[0])
    with pytest.raises(IntegrityError, match="published"):
        pool.publish(1 - block, keys([3, 4])[0])


def test_without_a_prefix_cache_nothing_is_found() -> None:
    pool = BlockPool(2, 2, prefix_cache=False)
    blocks = published(pool, keys([1, 2]))
    pool.release(blocks)
    assert (pool.find(keys([1, 2])), pool.cached, pool.free) == ([], 0, 2)


def _lose(pool: BlockPool) -> None:
    pool._blank.pop()


def _list_twice(pool: BlockPool) -> None:
    pool._blank.append(pool._blank[0])


def _count_wrong(pool: BlockPool) -> None:
    pool._references[pool._blank[0]] = 1


def _forget(pool: BlockPool) -> None:
    pool._by_key.clear()


def _misname(pool: BlockPool) -> None:
    pool._by_key[b"nobody's"] = 0


def _leave_a_key(pool: BlockPool) -> None:
    block = pool._blank[0]
    pool._keys[block] = b"left over"
    pool._by_key[b"left over"] = block


def _lose_a_key(pool: BlockPool) -> None:
    block = next(iter(pool._cached))
    pool._by_key.clear()
    pool._keys[block] = None


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_lose, "counts 0 sequences and is listed as free 0 times"),
        (_list_twice, "listed as free 2 times"),
        (_count_wrong, "counts 1 sequences and is listed as free 1 times"),
        (_forget, "has a key by which block None is found"),
        (_misname, "a key finds a block that does not have it"),
        (_leave_a_key, "listed as blank, but has a key"),
        (_lose_a_key, "listed as cached, but has no key"),
    ],
)
def test_books_that_do_not_balance_are_told_of(spoil: Callable[[BlockPool], None], sentence: str) -> None:
    pool = BlockPool(4, 2)
    pool.release(published(pool, keys([1, 2])))
    pool.check_integrity(Counter())
    spoil(pool)
    with pytest.raises(IntegrityError, match=sentence):
        pool.check_integrity()


def test_blocks_held_by_nobody_are_told_of() -> None:
    pool = BlockPool(4, 2)
    block = pool.allocate()
    with pytest.raises(IntegrityError, match=f"block {block} counts 1 sequences, but 0 hold it"):
        pool.check_integrity(Counter())
