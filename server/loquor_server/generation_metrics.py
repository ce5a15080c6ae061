"""Metrics of generating: how soon and how evenly tokens come, how many, and what was saved or done twice for them.

Tokens are counted from the results of steps; times and endings are told by whoever saw them.
"""

import functools
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1.generation_pb2 import FinishReason

# A prefix that is cached takes milliseconds, a long prompt in a long queue a minute.
_FIRST_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BETWEEN_TOKENS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0)


class _Children(NamedTuple):
    """The series of one model: looking one up by its label costs more than counting does."""

    first: Histogram
    between: Histogram
    completion: Counter
    cached: Counter
    preemptions: Counter
    drafted: Counter
    accepted: Counter


class GenerationMetrics:
    """Its histograms and counters, each with the label `model`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        histogram = functools.partial(Histogram, labelnames=("model",), registry=registry)
        counter = functools.partial(Counter, labelnames=("model",), registry=registry)
        self._first = histogram(
            "loquor_time_to_first_token_seconds",
            "Seconds from the admission of a request to its first token.",
            buckets=_FIRST_TOKEN_SECONDS,
        )
        self._between = histogram(
            "loquor_inter_token_latency_seconds",
            "Seconds from one token of a text to the next; tokens of one step share its time.",
            buckets=_BETWEEN_TOKENS_SECONDS,
        )
        self._completion = counter("loquor_completion_tokens_total", "Tokens written.")
        self._cached = counter(
            "loquor_prefix_cache_hit_tokens_total", "Tokens of prompts that were found in the prefix cache."
        )
        self._preemptions = counter("loquor_preemptions_total", "Times that a sequence lost its blocks to others.")
        self._drafted = counter("loquor_draft_tokens_total", "Tokens proposed by speculation.")
        self._accepted = counter("loquor_accepted_draft_tokens_total", "Tokens proposed by speculation and kept.")
        self._finished = Counter(
            "loquor_finished_total", "Texts finished, by reason.", ("model", "reason"), registry=registry
        )

    def stepped(self, model: str, results: wire.StepResults) -> None:
        """What one step of the engine wrote for this front, added up first."""
        written = cached = preemptions = drafted = accepted = 0
        for result in results.results:
            tokens = result.tokens
            written += len(tokens.ids)
            cached += tokens.cached_prompt_tokens
            preemptions += tokens.preemptions
            drafted += tokens.draft_tokens
            accepted += tokens.accepted_draft_tokens
        children = self._children(model)
        children.completion.inc(written)
        children.cached.inc(cached)
        children.preemptions.inc(preemptions)
        children.drafted.inc(drafted)
        children.accepted.inc(accepted)

    def first_tokens(self, model: str, seconds: float) -> None:
        """The first tokens of a text came, so long after its request was admitted."""
        self._children(model).first.observe(seconds)

    def next_tokens(self, model: str, count: int, seconds: float) -> None:
        """`count` further tokens of a text came together, so long after those before them."""
        between = self._children(model).between
        for _ in range(count):
            between.observe(seconds / count)

    def finished(self, model: str, reason: FinishReason) -> None:
        self._finished_children(model, reason).inc()

    @functools.cache  # noqa: B019 - one object, which lives as long as the process
    def _children(self, model: str) -> _Children:
        return _Children(
            self._first.labels(model),
            self._between.labels(model),
            self._completion.labels(model),
            self._cached.labels(model),
            self._preemptions.labels(model),
            self._drafted.labels(model),
            self._accepted.labels(model),
        )

    @functools.cache  # noqa: B019
    def _finished_children(self, model: str, reason: FinishReason) -> Counter:
        return self._finished.labels(model, FinishReason.Name(reason).removeprefix("FINISH_REASON_").lower())
