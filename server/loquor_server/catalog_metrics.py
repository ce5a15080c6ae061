"""Metrics of the present state: read off the catalog at every scrape, counted by nobody."""

import functools
from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from loquor.v1.model_service_pb2 import TASK_GENERATE
from loquor_server.catalog import Catalog
from loquor_server.replica import ReplicaState
from loquor_server.served_model import ModelState, ServedModel


class CatalogCollector(Collector):
    """What is so at the moment of the scrape."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        models = list(self._catalog.models())
        by_model = ("model", "version")
        queued = GaugeMetricFamily("loquor_queue_requests", "Texts (or rows) waiting in the front.", labels=by_model)
        tokens = GaugeMetricFamily("loquor_queue_tokens", "Tokens (or rows) waiting in the front.", labels=by_model)
        running = GaugeMetricFamily("loquor_running_requests", "Texts (or rows) handed to workers.", labels=by_model)
        replicas = GaugeMetricFamily("loquor_replicas", "Replicas by state.", labels=(*by_model, "state"))
        restarts = CounterMetricFamily("loquor_worker_restarts", "Workers started again.", labels=by_model)
        steps = CounterMetricFamily("loquor_steps", "Steps of the present workers.", labels=by_model)
        states = GaugeMetricFamily("loquor_models", "1 for the state a model is in.", labels=(*by_model, "state"))
        starts = GaugeMetricFamily(
            "loquor_worker_start_seconds", "Phases of the last start of a worker.", labels=(*by_model, "phase")
        )
        for model in models:
            key = (model.name, str(model.version))
            queued.add_metric(key, max(0, model.queued_requests))
            tokens.add_metric(key, max(0, model.queued_tokens))
            running.add_metric(key, model.admission.requests - max(0, model.queued_requests))
            restarts.add_metric(key, sum(replica.restarts for replica in model.replicas))
            steps.add_metric(key, sum(replica.steps for replica in model.replicas))
            for replica_state in ReplicaState:
                count = sum(replica.state is replica_state for replica in model.replicas)
                replicas.add_metric((*key, replica_state.value), count)
            for model_state in ModelState:
                states.add_metric((*key, model_state.value), model.state is model_state)
            for phase, seconds in _start_seconds(model).items():
                starts.add_metric((*key, phase), seconds)
        yield from (queued, tokens, running, replicas, restarts, steps, states, starts)
        yield from _loads(models)


def _loads(models: Iterable[ServedModel]) -> Iterator[GaugeMetricFamily]:
    """What the engines of models that generate have taken on, all fronts together, as each said after its last step."""
    gauge = functools.partial(GaugeMetricFamily, labels=("model", "version"))
    running = gauge("loquor_running_sequences", "Sequences in the steps of the engines.")
    waiting = gauge("loquor_waiting_sequences", "Sequences that wait in the workers for blocks or for their turn.")
    blocks = gauge("loquor_kv_blocks", "Blocks of the KV caches.")
    used = gauge("loquor_kv_blocks_used", "Blocks of the KV caches that sequences hold.")
    for model in models:
        ready = [(replica.hello, replica.load) for replica in model.replicas if replica.hello is not None]
        if not any(hello.task == TASK_GENERATE for hello, _ in ready):
            continue
        key = (model.name, str(model.version))
        running.add_metric(key, sum(load.running_sequences for _, load in ready))
        waiting.add_metric(key, sum(load.waiting_sequences for _, load in ready))
        blocks.add_metric(key, sum(hello.kv_blocks for hello, _ in ready))
        used.add_metric(key, sum(load.kv_blocks_used for _, load in ready))
    yield from (running, waiting, blocks, used)


def _start_seconds(model: ServedModel) -> dict[str, float]:
    """The slowest replica's, phase by phase."""
    slowest: dict[str, float] = {}
    for replica in model.replicas:
        if replica.hello is not None:
            for phase, seconds in replica.hello.start_seconds.items():
                slowest[phase] = max(slowest.get(phase, 0.0), seconds)
    return slowest
