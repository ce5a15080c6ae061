"""What is counted, under which names and labels."""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from prometheus_client import generate_latest

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1 import generation_pb2 as generation
from loquor.v1.model_service_pb2 import TASK_EMBED, TASK_GENERATE, Task
from loquor_server.metrics import Metrics
from loquor_server.pending_request import Answer
from loquor_server.replica import ReplicaState
from loquor_server.served_model import ModelState


class Model:
    name = "known"


class Replica:
    """Ready, and at work on 3 sequences."""

    state = ReplicaState.READY
    restarts = steps = 0
    load = wire.Load(running_sequences=3, waiting_sequences=2, kv_blocks_used=40)

    def __init__(self, task: Task) -> None:
        self.hello = wire.WorkerHello(task=task, kv_blocks=100)


class Shown:
    """A model of two replicas, of which the collector takes its gauges."""

    version, state = 1, ModelState.READY
    queued_requests = queued_tokens = 0
    admission = SimpleNamespace(requests=0)

    def __init__(self, name: str, task: Task) -> None:
        self.name = name
        self.replicas = [Replica(task), Replica(task)]


class Catalog:
    """A model that generates, and one that does not."""

    def knows(self, name: str) -> bool:
        return name == "known"

    def models(self) -> Iterator[Any]:
        return iter((Shown("writer", TASK_GENERATE), Shown("embedder", TASK_EMBED)))


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


def test_steps_that_write(metrics: Metrics) -> None:
    first = wire.Tokens(ids=[5], cached_prompt_tokens=16)
    later = wire.Tokens(ids=[6, 7, 8], draft_tokens=4, accepted_draft_tokens=2, preemptions=1)
    load = wire.Load(running_sequences=2)
    results = [wire.Result(id=1, tokens=first), wire.Result(id=2, tokens=later)]
    metrics.stepped(MODEL, wire.StepResults(batch_size=2, batch_tokens=9, results=results, load=load))
    metrics.stepped(MODEL, wire.StepResults(results=[wire.Result(id=3, failure=wire.Failure())], load=load))
    assert value(metrics, "loquor_batch_tokens_sum", model="known") == 9
    assert value(metrics, "loquor_completion_tokens_total", model="known") == 4
    assert value(metrics, "loquor_prefix_cache_hit_tokens_total", model="known") == 16
    assert value(metrics, "loquor_draft_tokens_total", model="known") == 4
    assert value(metrics, "loquor_accepted_draft_tokens_total", model="known") == 2
    assert value(metrics, "loquor_preemptions_total", model="known") == 1
    assert value(metrics, "loquor_prompt_tokens_total", model="known") == 0


def test_texts_as_they_come_and_end(metrics: Metrics) -> None:
    metrics.tokens_came(MODEL, 1, 0.2, first=True)
    metrics.tokens_came(MODEL, 1, 0.05, first=False)
    metrics.tokens_came(MODEL, 4, 0.08, first=False)
    finished = generation.GenerationFinished(reason=generation.FINISH_REASON_LENGTH)
    finished.usage.prompt_tokens = 30
    finished.timings.queue_seconds = 0.1
    metrics.generated(MODEL, finished)
    assert value(metrics, "loquor_time_to_first_token_seconds_sum", model="known") == pytest.approx(0.2)
    assert value(metrics, "loquor_inter_token_latency_seconds_count", model="known") == 5
    assert value(metrics, "loquor_inter_token_latency_seconds_sum", model="known") == pytest.approx(0.13)
    assert value(metrics, "loquor_inter_token_latency_seconds_bucket", model="known", le="0.025") == 4
    assert value(metrics, "loquor_prompt_tokens_total", model="known") == 30
    assert value(metrics, "loquor_texts_total", model="known") == 1
    assert value(metrics, "loquor_queue_seconds_sum", model="known") == pytest.approx(0.1)
    assert value(metrics, "loquor_finished_total", model="known", reason="length") == 1


def test_the_load_of_models_that_generate(metrics: Metrics) -> None:
    for name, expected in (
        ("running_sequences", 6),
        ("waiting_sequences", 4),
        ("kv_blocks", 200),
        ("kv_blocks_used", 80),
    ):
        assert value(metrics, f"loquor_{name}", model="writer", version="1") == expected
        assert value(metrics, f"loquor_{name}", model="embedder", version="1") is None


def test_it_knows_the_models_of_the_catalog(metrics: Metrics) -> None:
    assert metrics.knows("known")
    assert not metrics.knows("words of a caller")


def test_the_page_says_what_runs(metrics: Metrics) -> None:
    page = generate_latest(metrics.registry).decode()
    assert 'loquor_build_info{version="1.2.3"} 1.0' in page
    assert "_created" not in page


_ABBREVIATED = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
_NOT_BASE_UNITS = {
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "minutes",
    "hours",
    "kilobytes",
    "megabytes",
    "percent",
}
_TYPES = {"counter", "gauge", "histogram", "summary"}


def test_names_are_as_promtool_wants_them(metrics: Metrics) -> None:
    """The rules of `promtool check metrics`, for all that is ours."""
    families = [family for family in metrics.registry.collect() if family.name.startswith("loquor_")]
    assert len(families) > 20
    for family in families:
        words = set(family.name.split("_"))
        assert re.fullmatch(r"[a-z][a-z0-9_]*", family.name)
        assert not words & (_ABBREVIATED | _NOT_BASE_UNITS | _TYPES), family.name
        assert not family.name.endswith(("_total", "_sum", "_count", "_bucket")), family.name
        assert family.documentation.endswith("."), family.name
