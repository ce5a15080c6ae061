"""Labels of tokens to spans of text, with a tokenizer of whole words."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Encoding, Tokenizer, models, pre_tokenizers, processors

from loquor_server.spans import spans_of

LABELS = ["O", "B-CITY", "I-CITY", "B-NAME", "I-NAME", "DATE"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return made


def found(tokenizer: Tokenizer, text: str, labels: list[str]) -> list[tuple[str, str]]:
    encoding: Encoding = tokenizer.encode(text)
    label_ids = array("i", [1, *(LABELS.index(label) for label in labels), 1])  # special tokens are lied about
    weights = array("f", [0.5] * len(label_ids))
    return [(span.label, text[span.start : span.end]) for span in spans_of(encoding, label_ids, weights, LABELS, text)]


def test_neighbours_of_one_kind_are_one_span(tokenizer: Tokenizer) -> None:
    labels = ["O", "B-CITY", "I-CITY", "O", "B-NAME"]
    assert found(tokenizer, "in New York with Ada", labels) == [("CITY", "New York"), ("NAME", "Ada")]


def test_a_new_begin_starts_a_new_span(tokenizer: Tokenizer) -> None:
    assert found(tokenizer, "Paris London", ["B-CITY", "B-CITY"]) == [("CITY", "Paris"), ("CITY", "London")]


def test_a_change_of_kind_starts_a_new_span(tokenizer: Tokenizer) -> None:
    assert found(tokenizer, "Paris Ada", ["B-CITY", "I-NAME"]) == [("CITY", "Paris"), ("NAME", "Ada")]


def test_a_gap_ends_a_span(tokenizer: Tokenizer) -> None:
    assert found(tokenizer, "Paris or London", ["B-CITY", "O", "I-CITY"]) == [("CITY", "Paris"), ("CITY", "London")]


def test_a_label_without_a_prefix_is_a_kind_of_its_own(tokenizer: Tokenizer) -> None:
    assert found(tokenizer, "on 3 May now", ["O", "DATE", "DATE", "O"]) == [("DATE", "3 May")]


def test_the_score_is_the_mean_of_the_tokens(tokenizer: Tokenizer) -> None:
    encoding = tokenizer.encode("New York City")
    ids, scores = array("i", [0, 1, 2, 2, 0]), array("f", [0.0, 0.25, 0.5, 0.75, 0.0])
    (span,) = spans_of(encoding, ids, scores, LABELS, "New York City")
    assert span.score == pytest.approx(0.5)
    assert span.tokens == 3


def test_nothing_found_is_no_span(tokenizer: Tokenizer) -> None:
    assert found(tokenizer, "", []) == []
    assert found(tokenizer, "nothing here", ["O", "O"]) == []


@given(st.lists(st.tuples(st.text("abé漢😀 -", min_size=1, max_size=4), st.sampled_from(LABELS)), max_size=12))
def test_spans_are_in_order_and_never_overlap(tokenizer: Tokenizer, words: list[tuple[str, str]]) -> None:
    text = " ".join(word for word, _ in words)
    encoding = tokenizer.encode(text)
    count = len(encoding.ids)
    ids = array("i", [LABELS.index(words[index % len(words)][1]) if words else 0 for index in range(count)])
    spans = spans_of(encoding, ids, array("f", [0.5] * count), LABELS, text)
    ends = [0]
    for span in spans:
        assert ends[-1] <= span.start <= span.end <= len(text)
        assert text[span.start : span.end] == text[span.start : span.end].strip()
        assert span.label in ("CITY", "NAME", "DATE")
        ends.append(span.end)
