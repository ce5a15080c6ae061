"""Texts to ids in the pool: in order, cut as asked, refused when too much waits."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from loquor_server.errors import FailedPrecondition, Overloaded
from loquor_server.tokenization import TextTokenizer, TokenizerPool

WORDS = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "one": 3, "two": 4, "three": 5}


@pytest.fixture
def pool() -> Iterator[TokenizerPool]:
    made = TokenizerPool(1)
    yield made
    made.close()


@pytest.fixture
def tokenizer(pool: TokenizerPool, tmp_path: Path) -> TextTokenizer:
    """Its file asks for padding and truncation, which are not its business."""
    made = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    made.add_special_tokens(["[CLS]", "[SEP]"])
    made.enable_padding(length=20)
    made.enable_truncation(4)
    made.save(str(tmp_path / "tokenizer.json"))
    return TextTokenizer(pool, tmp_path / "tokenizer.json")


async def test_texts_and_pairs_in_order(tokenizer: TextTokenizer) -> None:
    encodings = await tokenizer.encode(["one two three one two three", ("one", "two"), ""])
    assert [encoding.ids for encoding in encodings] == [[1, 3, 4, 5, 3, 4, 5, 2], [1, 3, 2, 4, 2], [1, 2]]
    assert encodings[1].type_ids == [0, 0, 0, 1, 1]
    assert not any(encoding.overflowing for encoding in encodings)


async def test_what_is_too_long_is_cut_when_asked(tokenizer: TextTokenizer) -> None:
    whole, cut, pair = await tokenizer.encode(["one two", "one two three one", ("one two three", "two")], cut_to=5)
    assert whole.ids == [1, 3, 4, 2]
    assert not whole.overflowing
    assert (cut.ids, bool(cut.overflowing)) == ([1, 3, 4, 5, 2], True)
    assert (len(pair.ids), bool(pair.overflowing)) == (5, True)
    again = await tokenizer.encode(["one two three one"])
    assert len(again[0].ids) == 6


async def test_offsets_are_in_code_points(tokenizer: TextTokenizer) -> None:
    (encoding,) = await tokenizer.encode(["😀é one"], offsets=True, special=False)
    assert encoding.offsets[-1] == (3, 6)


async def test_ids_become_texts_again(tokenizer: TextTokenizer) -> None:
    assert await tokenizer.decode([[1, 3, 4, 2], []], skip_special=True) == ["one two", ""]
    assert tokenizer.vocabulary_size == len(WORDS)


async def test_too_much_waiting_text_is_refused_but_never_the_first(pool: TokenizerPool) -> None:
    most = 64 * 1024 * 1024
    release = threading.Event()
    first = asyncio.create_task(pool.run(2 * most, lambda: release.wait(5)))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refusal:
        await pool.run(1, lambda: None)
    assert refusal.value.retry_after_seconds == 1.0
    release.set()
    assert await first is True
    assert await pool.run(most, lambda: "fits again") == "fits again"


async def test_a_cancelled_caller_gives_the_room_back(pool: TokenizerPool) -> None:
    release = threading.Event()
    running = asyncio.create_task(pool.run(10, lambda: release.wait(5)))
    waiting = asyncio.create_task(pool.run(64 * 1024 * 1024 - 10, lambda: None))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    last = asyncio.create_task(pool.run(1000, lambda: "done"))
    release.set()
    assert await last == "done"
    await running


def test_a_file_that_is_no_tokenizer_is_refused_by_name(pool: TokenizerPool, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(FailedPrecondition, match=r"tokenizer\.json"):
        TextTokenizer(pool, tmp_path / "tokenizer.json")
