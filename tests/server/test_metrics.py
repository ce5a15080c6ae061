"""What is counted, under which names and labels."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from prometheus_client import generate_latest

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_server.metrics import Metrics
from loquor_server.pending_request import Answer


class Model:
    name = "known"


class Catalog:
    """One model, which shows nothing."""

    def knows(self, name: str) -> bool:
        return name == "known"

    def models(self) -> Iterator[Any]:
        return iter(())


@pytest.fixture
def metrics() -> Metrics:
    made, untyped = Metrics("1.2.3"), Catalog()
    made.watch(untyped)  # type: ignore[arg-type]
    return made


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


MODEL: Any = Model()


def test_calls_are_counted_by_their_end(metrics: Metrics) -> None:
    for code in (grpc.StatusCode.OK, grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND):
        metrics.ended("Embed", "known", code, 0.2)
    assert value(metrics, "loquor_requests_total", method="Embed", model="known", code="OK") == 2
    assert value(metrics, "loquor_requests_total", method="Embed", model="known", code="NOT_FOUND") == 1
    assert value(metrics, "loquor_request_seconds_count", method="Embed", model="known") == 3
    assert value(metrics, "loquor_request_seconds_sum", method="Embed", model="known") == pytest.approx(0.6)


def test_steps_and_answers(metrics: Metrics) -> None:
    metrics.stepped(MODEL, wire.StepResults(compute_seconds=0.1, batch_size=3, batch_tokens=20))
    metrics.stepped(MODEL, wire.StepResults())  # what was refused between two steps
    metrics.answered(MODEL, [Answer([], 0.01, 0.1, 3, 20), Answer([], 0.03, 0.1, 3, 20)])
    assert value(metrics, "loquor_batch_size_count", model="known") == 1
    assert value(metrics, "loquor_batch_tokens_sum", model="known") == 20
    assert value(metrics, "loquor_prompt_tokens_total", model="known") == 20
    assert value(metrics, "loquor_texts_total", model="known") == 2
    assert value(metrics, "loquor_queue_seconds_sum", model="known") == pytest.approx(0.04)


def test_it_knows_the_models_of_the_catalog(metrics: Metrics) -> None:
    assert metrics.knows("known")
    assert not metrics.knows("words of a caller")


def test_the_page_says_what_runs(metrics: Metrics) -> None:
    page = generate_latest(metrics.registry).decode()
    assert 'loquor_build_info{version="1.2.3"} 1.0' in page
    assert "_created" not in page
