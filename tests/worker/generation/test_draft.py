"""Guesses are what followed the last few tokens the last time, and cost little however long the text is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor_worker.generation.draft import PromptLookup


def test_what_followed_the_latest_time_is_proposed() -> None:
    lookup = PromptLookup(2, 2, most_drafts=3)
    assert lookup.follow([1, 2, 7, 8, 9, 1, 2, 5, 6, 4, 1, 2]).propose(9) == [5, 6, 4]


def test_the_longest_match_counts_before_the_latest() -> None:
    tokens = [1, 2, 3, 40, 41, 9, 2, 3, 50, 51, 1, 2, 3]
    assert PromptLookup(3, 1, most_drafts=2).follow(tokens).propose(9) == [40, 41]
    assert PromptLookup(2, 1, most_drafts=2).follow(tokens).propose(9) == [50, 51]


def test_a_match_that_is_too_short_is_none() -> None:
    assert PromptLookup(3, 2).follow([1, 5, 2, 5]).propose(9) == []
    assert PromptLookup(3, 1).follow([1, 5, 2, 5]).propose(2) == [2, 5]
    assert PromptLookup().follow([1, 2, 3, 4]).propose(9) == []
    assert PromptLookup().follow([1]).propose(9) == []


def test_room_and_most_drafts_are_kept() -> None:
    guesser = PromptLookup(2, 2, most_drafts=4).follow([1, 2, 3, 4, 5, 6, 7, 1, 2])
    assert guesser.propose(0) == []
    assert guesser.propose(-1) == []
    assert guesser.propose(3) == [3, 4, 5]
    assert guesser.propose(99) == [3, 4, 5, 6]


def test_a_loop_is_gone_on_with() -> None:
    assert PromptLookup(2, 2, most_drafts=5).follow([8, 1, 2, 3, 1, 2, 3]).propose(9) == [1, 2, 3, 1, 2]
    assert PromptLookup(2, 2, most_drafts=3).follow([6, 6, 6]).propose(9) == [6, 6, 6]


def test_what_is_appended_is_followed() -> None:
    tokens = [1, 2, 3, 4]
    guesser = PromptLookup(2, 2, most_drafts=2).follow(tokens)
    assert guesser.propose(9) == []
    tokens += [1, 2]
    assert guesser.propose(9) == [3, 4]
    tokens += [5, 1, 2]
    assert guesser.propose(9) == [5, 1]


@pytest.mark.parametrize("settings", [(3, 0, 8), (1, 2, 8), (3, 2, 0)])
def test_settings_that_make_no_sense_are_refused(settings: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="are required"):
        PromptLookup(*settings)


def plainly(tokens: list[int], longest: int, shortest: int, count: int) -> list[int]:
    """The same, by looking everywhere."""
    for length in range(longest, shortest - 1, -1):
        for end in range(len(tokens) - 1, length - 1, -1):
            if tokens[end - length : end] == tokens[-length:]:
                endless = tokens[end:]
                while len(endless) < count:
                    endless = endless + endless
                return endless[:count]
    return []


@given(
    tokens=st.lists(st.integers(0, 3), min_size=1, max_size=40),
    shortest=st.integers(1, 2),
    longer=st.integers(0, 2),
    count=st.integers(1, 6),
)
def test_it_finds_what_a_plain_search_finds(tokens: list[int], shortest: int, longer: int, count: int) -> None:
    lookup = PromptLookup(shortest + longer, shortest, most_drafts=count)
    assert lookup.follow(tokens).propose(count) == plainly(tokens, shortest + longer, shortest, count)


def test_a_look_up_visits_64_places_at_the_most() -> None:
    far = PromptLookup(3, 2, most_drafts=1).follow([1, 2, 3, 9, *[5, 3] * 64, 1, 2, 3])
    near = PromptLookup(3, 2, most_drafts=1).follow([1, 2, 3, 9, *[5, 3] * 63, 1, 2, 3])
    assert (far.propose(1), near.propose(1)) == ([], [9])


class Watched(list[int]):
    """Counts what is read of it."""

    reads = 0

    def __getitem__(self, place: Any) -> Any:
        self.reads += 1
        return super().__getitem__(place)


def test_a_long_text_is_read_once() -> None:
    tokens = Watched([number * number % 97 for number in range(8000)])
    guesser = PromptLookup().follow(tokens)
    assert guesser.propose(8)
    tokens.reads = 0
    tokens.append(5)
    guesser.propose(8)
    assert 0 < tokens.reads < 500
