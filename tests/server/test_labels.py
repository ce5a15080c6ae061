"""Logits to scores, scores to the best labels."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_server.labels import best_labels, floats_of, scores_of

LOGITS = st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20)


@given(LOGITS)
def test_softmax_is_a_distribution_that_keeps_the_order(logits: list[float]) -> None:
    scores = scores_of(logits, wire.LABEL_SCORING_SOFTMAX)
    assert math.isclose(sum(scores), 1.0, rel_tol=1e-9)
    assert all(0.0 <= score <= 1.0 for score in scores)
    assert scores[logits.index(max(logits))] == max(scores)


@given(LOGITS)
def test_sigmoid_looks_at_each_label_by_itself(logits: list[float]) -> None:
    scores = scores_of(logits, wire.LABEL_SCORING_SIGMOID)
    assert all(0.0 <= score <= 1.0 for score in scores)
    for logit, score in zip(logits, scores, strict=True):
        assert score >= 0.5 if logit >= 0 else score <= 0.5


def test_known_values() -> None:
    assert scores_of([0.0, math.log(3)], wire.LABEL_SCORING_SOFTMAX) == pytest.approx([0.25, 0.75])
    assert scores_of([0.0, math.log(3)], wire.LABEL_SCORING_SIGMOID) == pytest.approx([0.5, 0.75])
    assert scores_of([-2.0, 7.0], wire.LABEL_SCORING_IDENTITY) == [-2.0, 7.0]


def test_the_best_labels_come_first_and_no_more_than_asked_for() -> None:
    scores, labels = [0.1, 0.6, 0.3], ["a", "b", "c"]
    assert best_labels(scores, labels, None) == [("b", 0.6), ("c", 0.3), ("a", 0.1)]
    assert best_labels(scores, labels, 2) == [("b", 0.6), ("c", 0.3)]
    assert best_labels(scores, labels, 2**32 - 1) == best_labels(scores, labels, None)


def test_floats_are_read_as_they_are_sent() -> None:
    assert list(floats_of(b"\0\0\x80?\0\0\0\xc0")) == [1.0, -2.0]
