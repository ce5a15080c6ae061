"""Metrics: what is counted, and the page `/metrics`, which a thread of its own serves.

Names are the vocabulary's, in seconds and tokens; docs/metrics.md maps them to Triton's and vLLM's. Labels are bounded:
a model that is not in the catalog is counted under an empty name.
"""

import functools
from collections.abc import Mapping, Sequence

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1.generation_pb2 import GenerationFinished
from loquor_server.catalog import Catalog
from loquor_server.catalog_metrics import CatalogCollector
from loquor_server.fronts_registry import FrontsRegistry
from loquor_server.generation_metrics import GenerationMetrics
from loquor_server.pending_request import Answer
from loquor_server.served_model import ServedModel

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_TOKENS = (16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


disable_created_metrics()  # type: ignore[no-untyped-call]  # nobody asks for them, and they double the page


class NoMetrics:
    """An `RpcObserver` for calls between our own processes."""

    def knows(self, model: str) -> bool:
        return True

    def ended(self, *_: object) -> None: ...


class Metrics:
    """Counters and histograms, told by the front as things happen.

    With `pages`, the registry shows those of further fronts, too, and says of every sample which front it is of.
    """

    def __init__(self, version: str, pages: Mapping[int, str] | None = None) -> None:
        self.version = version
        self.registry = registry = CollectorRegistry() if pages is None else FrontsRegistry(pages)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        histogram = functools.partial(Histogram, registry=registry)
        counter = functools.partial(Counter, registry=registry)
        self._requests = counter("loquor_requests_total", "Calls ended, by gRPC status.", ("method", "model", "code"))
        self._request_seconds = histogram(
            "loquor_request_seconds", "From the arrival of a call to its end.", ("method", "model"), buckets=_SECONDS
        )
        self._queue_seconds = histogram(
            "loquor_queue_seconds",
            "From the end of tokenization to the start of the step.",
            ("model",),
            buckets=_SECONDS,
        )
        self._compute_seconds = histogram(
            "loquor_compute_seconds", "Duration of a step of the engine.", ("model",), buckets=_SECONDS
        )
        self._batch_size = histogram("loquor_batch_size", "Texts (or rows) in a step.", ("model",), buckets=_SIZES)
        self._batch_tokens = histogram(
            "loquor_batch_tokens", "Tokens (or rows) in a step.", ("model",), buckets=_TOKENS
        )
        self._texts = counter("loquor_texts_total", "Texts (or tensor requests) answered.", ("model",))
        self._prompt_tokens = counter(
            "loquor_prompt_tokens_total", "Tokens (or rows) of texts and prompts, cached ones included.", ("model",)
        )
        self._generation = GenerationMetrics(registry)
        self.loop_lag = Gauge(
            "loquor_event_loop_lag_seconds",
            "Longest delay of the front's event loop in the last second.",
            registry=registry,
        )
        build = Gauge("loquor_build_info", "Always 1; the labels say what runs.", ("version",), registry=registry)
        build.labels(version).set(1)

    def watch(self, catalog: Catalog) -> None:
        """Read the catalog's present state at every scrape; name its models in labels from now on."""
        self._catalog = catalog
        self.registry.register(CatalogCollector(catalog))

    # --- RpcObserver ---

    def knows(self, model: str) -> bool:
        return self._catalog.knows(model)

    def ended(self, method: str, model: str, code: grpc.StatusCode, seconds: float) -> None:
        self._ended_children(method, model, code).inc()
        self._seconds_children(method, model).observe(seconds)

    # --- ModelObserver ---

    def stepped(self, model: ServedModel, results: wire.StepResults) -> None:
        generates = results.HasField("load")
        if generates:
            self._generation.stepped(model.name, results)
        if not results.batch_size:
            return
        compute, size, tokens, prompt_tokens = self._step_children(model.name)
        compute.observe(results.compute_seconds)
        size.observe(results.batch_size)
        tokens.observe(results.batch_tokens)
        if not generates:
            prompt_tokens.inc(results.batch_tokens)

    def answered(self, model: ServedModel, answers: Sequence[Answer]) -> None:
        queue, texts = self._answer_children(model.name)
        texts.inc(len(answers))
        for answer in answers:
            queue.observe(answer.queue_seconds)

    def tokens_came(self, model: ServedModel, count: int, seconds: float, *, first: bool) -> None:
        """Tokens of one text: how long after its admission, if they are the first ones, or after those before them."""
        if first:
            self._generation.first_tokens(model.name, seconds)
        else:
            self._generation.next_tokens(model.name, count, seconds)

    def generated(self, model: ServedModel, finished: GenerationFinished) -> None:
        """One text is finished. The prompt of several texts counts for each."""
        queue, texts = self._answer_children(model.name)
        texts.inc()
        queue.observe(finished.timings.queue_seconds)
        self._prompt_tokens.labels(model.name).inc(finished.usage.prompt_tokens)
        self._generation.finished(model.name, finished.reason)

    def moved(self, model: ServedModel) -> None:
        """States are read at the scrape."""

    # Looking a child up by its labels costs more than counting does.

    @functools.cache  # noqa: B019 - one object, which lives as long as the process
    def _ended_children(self, method: str, model: str, code: grpc.StatusCode) -> Counter:
        return self._requests.labels(method, model, code.name)

    @functools.cache  # noqa: B019
    def _seconds_children(self, method: str, model: str) -> Histogram:
        return self._request_seconds.labels(method, model)

    @functools.cache  # noqa: B019
    def _step_children(self, model: str) -> tuple[Histogram, Histogram, Histogram, Counter]:
        return (
            self._compute_seconds.labels(model),
            self._batch_size.labels(model),
            self._batch_tokens.labels(model),
            self._prompt_tokens.labels(model),
        )

    @functools.cache  # noqa: B019
    def _answer_children(self, model: str) -> tuple[Histogram, Counter]:
        return self._queue_seconds.labels(model), self._texts.labels(model)
