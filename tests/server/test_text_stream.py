"""Whatever way tokens are split over pushes, the text is that of all of them, whole character by whole character."""

import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from loquor_server.text_stream import TextStream, token_text

TEXTS = [
    "Hello, world",
    "naïve café — “quotes”",
    "日本語のテキスト",
    "👩‍👩‍👧 family 🎉🎉",
    "é̂ combining",
    "a\n\n  b\t",
    "ابجد",
]
SPECIAL = "<|end|>"


def byte_level() -> Tokenizer:
    """Bytes, and a few words: what GPT-2, Llama 3, Qwen and SmolLM have."""
    words = [SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġthe", "Hello", "ĠĠ", "caf"]
    tokenizer = Tokenizer(models.BPE(vocab={word: id for id, word in enumerate(words)}, merges=[]))
    tokenizer.add_special_tokens([SPECIAL])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sentence_piece() -> Tokenizer:
    """Words with a mark where a blank was, and bytes for the rest: what Llama 2, Gemma and Mistral have."""
    words = [SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁Hello", "▁the", ",", "▁wor", "ld", "é", "a"]
    tokenizer = Tokenizer(models.BPE(vocab={w: i for i, w in enumerate(words)}, merges=[], byte_fallback=True))
    tokenizer.add_special_tokens([SPECIAL])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def word_piece() -> Tokenizer:
    """Words parted by blanks, and pieces that go on in them: what BERT has."""
    words = ["[SEP]", "hello", "##s", "##é", ".", ",", "'", "s", "do", "not", "n", "t", "日", "##本"]
    tokenizer = Tokenizer(models.WordPiece({word: id for id, word in enumerate(words)}, unk_token="[SEP]"))
    tokenizer.add_special_tokens(["[SEP]"])
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    return tokenizer


BYTES, PIECES, WORDS = byte_level(), sentence_piece(), word_piece()


def shown(stream: TextStream, ids: list[int], sizes: list[int]) -> list[str]:
    """Pushes of these sizes, again and again, and the rest."""
    pieces, place, turn = [], 0, 0
    while place < len(ids) and stream.stop is None:
        size = sizes[turn % len(sizes)]
        pieces.append(stream.push(ids[place : place + size]))
        place, turn = place + size, turn + 1
    return [*pieces, stream.finish()]


SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=6)


@given(text=st.text(max_size=40) | st.sampled_from(TEXTS), sizes=SIZES)
def test_texts_come_whole(text: str, sizes: list[int]) -> None:
    ids = BYTES.encode(text).ids
    pieces = shown(TextStream(BYTES, [], []), ids, sizes)
    assert "".join(pieces) == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


@given(ids=st.lists(st.integers(0, BYTES.get_vocab_size() - 1), max_size=60), sizes=SIZES)
def test_any_bytes_are_decoded_as_all_at_once(ids: list[int], sizes: list[int]) -> None:
    assert "".join(shown(TextStream(BYTES, [], []), ids, sizes)) == BYTES.decode(ids)


@given(
    prompt=st.lists(st.integers(257, 264), max_size=9),
    # Words and whole characters: a decoder that falls back on bytes breaks a whole run of them for a broken one.
    words=st.lists(st.integers(257, 264).map(lambda id: [id]) | st.just([0xC3 + 1, 0xA9 + 1]), max_size=40),
    sizes=SIZES,
)
def test_a_text_goes_on_where_the_prompt_ended(prompt: list[int], words: list[list[int]], sizes: list[int]) -> None:
    ids = [id for word in words for id in word]
    before, whole = PIECES.decode(prompt), PIECES.decode(prompt + ids)
    assert before + "".join(shown(TextStream(PIECES, prompt, []), ids, sizes)) == whole


WORD_IDS = st.lists(st.integers(0, WORDS.get_vocab_size() - 1), max_size=40)


@given(prompt=WORD_IDS, ids=WORD_IDS, sizes=SIZES)
def test_words_are_parted_and_cleaned_up_as_in_one_piece(prompt: list[int], ids: list[int], sizes: list[int]) -> None:
    whole = WORDS.decode(prompt + ids)
    assert WORDS.decode(prompt) + "".join(shown(TextStream(WORDS, prompt, []), ids, sizes)) == whole


@given(
    ids=st.lists(st.sampled_from([*BYTES.encode("ab—é").ids, 0xED, 0xF1]), max_size=30),
    stops=st.lists(st.text("ab—é", min_size=1, max_size=3), min_size=1, max_size=3),
    min_tokens=st.integers(0, 8),
    sizes=SIZES,
)
def test_how_tokens_are_split_makes_no_difference(
    ids: list[int], stops: list[str], min_tokens: int, sizes: list[int]
) -> None:
    ends = set()
    for its_sizes in ([1], [30], sizes):
        stream = TextStream(BYTES, [], stops, min_tokens)
        ends.add(("".join(shown(stream, ids, its_sizes)), stream.stop))
    assert len(ends) == 1


def test_a_word_after_a_prompt_keeps_its_blank() -> None:
    hello, the = (PIECES.get_vocab()[word] for word in ("▁Hello", "▁the"))
    assert TextStream(PIECES, [hello], []).push([the]) == " the"
    assert TextStream(PIECES, [], []).push([the]) == "the"


def test_a_character_that_the_prompt_began_is_completed() -> None:
    first, second = BYTES.encode("é").ids
    assert TextStream(BYTES, [*BYTES.encode("ab").ids, first], []).push([second]) == "é"
    assert TextStream(BYTES, [*BYTES.encode("ab").ids, first], []).push(BYTES.encode("c").ids) == "c"


def test_bytes_go_on_after_a_prompt_that_ends_with_bytes() -> None:
    """Five tokens of context would begin in the midst of a character, and break all after it."""
    party = [byte + 1 for byte in "🎉".encode()]
    assert "".join(shown(TextStream(PIECES, party * 3, []), [*party, *party], [1])) == "🎉🎉"


@pytest.mark.parametrize("idle", [SPECIAL, "\n"])
def test_what_is_not_seen_costs_no_more_the_longer_it_lasts(idle: str) -> None:
    stream = TextStream(BYTES, BYTES.encode("a").ids, [])
    for id in BYTES.encode(idle).ids * 3000:
        stream.push([id])
    assert len(stream._decoder._ids) < 64
    assert stream.push(BYTES.encode("b").ids) == "b"


def test_special_tokens_are_left_out() -> None:
    stream = TextStream(BYTES, [0], [])
    assert stream.push([0, *BYTES.encode("ab").ids, 0]) == "ab"
    assert token_text(BYTES, 0) == SPECIAL


def test_broken_characters_are_shown_at_the_end_and_hold_up_nothing_for_long() -> None:
    (first, *_) = BYTES.encode("é").ids
    stream = TextStream(BYTES, [], [])
    assert stream.push([first]) == ""
    assert stream.finish() == "\ufffd"
    stream = TextStream(BYTES, [], [])
    assert sum(len(stream.push([first])) for _ in range(40)) > 25


def reference(text: str, stops: list[str]) -> str:
    """Character by character, the first moment at which some stop string is complete."""
    for end in range(1, len(text) + 1):
        places = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if places:
            return text[: min(places)]
    return text


LETTERS = st.text("ab—", min_size=1, max_size=5)


@given(text=st.text("ab—", max_size=30), stops=st.lists(LETTERS, min_size=1, max_size=4), sizes=SIZES)
def test_a_stop_string_ends_the_text_and_no_part_of_it_is_shown(text: str, stops: list[str], sizes: list[int]) -> None:
    stream = TextStream(BYTES, [], stops)
    pieces = shown(stream, BYTES.encode(text).ids, sizes)
    wanted = reference(text, stops)
    assert "".join(pieces) == wanted
    assert (stream.stop is not None) == (wanted != text or any(text.endswith(s) and wanted + s == text for s in stops))
    assert stream.stop is None or text.startswith(wanted + stream.stop)


def test_what_may_be_a_stop_is_held_back_until_it_is_none() -> None:
    stream = TextStream(BYTES, [], ["END."])
    assert [stream.push(BYTES.encode(part).ids) for part in ("a E", "N", "D", " b")] == ["a ", "", "", "END b"]
    assert stream.push(BYTES.encode("EN").ids) == ""
    assert stream.finish() == "EN"
    assert stream.stop is None


def test_stop_strings_made_to_be_slow_are_not() -> None:
    """Each token, the longest text that may be a stop is held, and 63 others have to be told from it."""
    stops = ["a" * 1022 + "b", *("b" * 1000 + chr(0x100 + place) for place in range(63))]
    stream, letter = TextStream(BYTES, [], stops), BYTES.encode("a").ids
    started = time.process_time()
    pieces = [stream.push(letter) for _ in range(2000)]
    assert time.process_time() - started < 2.0  # with every end tried against every stop, ten times as long
    assert "".join(pieces) + stream.finish() == "a" * 2000


@pytest.mark.parametrize("sizes", [[1], [2], [7]])
def test_no_stop_counts_before_the_least_tokens(sizes: list[int]) -> None:
    ids = BYTES.encode("xxaxbxcx").ids
    stream = TextStream(BYTES, [], ["x"], min_tokens=4)
    assert "".join(shown(stream, ids, sizes)) == "xxaxb"
    assert stream.stop == "x"


@pytest.mark.parametrize("sizes", [[1], [5], [6]])
def test_a_stop_held_behind_broken_bytes_does_not_count_late(sizes: list[int]) -> None:
    ids = [*BYTES.encode("b").ids, *[0xED] * 5]
    stream = TextStream(BYTES, [], ["b"], min_tokens=5)
    assert "".join(shown(stream, ids, sizes)) == BYTES.decode(ids)
    assert stream.stop is None


def test_the_real_tokenizer(models: Path) -> None:
    tokenizer = Tokenizer.from_file(str(models / "smollm2" / "1" / "tokenizer.json"))
    dice = random.Random(1)
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert "".join(shown(TextStream(tokenizer, ids[:3], []), ids, [1])) == text
    noise = [dice.randrange(tokenizer.get_vocab_size()) for _ in range(400)]
    assert "".join(shown(TextStream(tokenizer, [], []), noise, [1, 3])) == tokenizer.decode(noise)
