"""What a run's samples say: percentiles, throughput and errors, as text and as JSON."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loquor.cli.load import OK, Sample, Writing

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Report:
    """Of one run. Latencies are those of the requests that were answered; throughput counts them alone."""

    title: str
    samples: Sequence[Sample]
    seconds: float

    @property
    def answered(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.status == OK]

    @property
    def latencies(self) -> list[float]:
        """Sorted."""
        return sorted(sample.latency_seconds for sample in self.answered)

    @property
    def writings(self) -> list[Writing]:
        """Of a model that writes."""
        return [sample.work.writing for sample in self.answered if sample.work and sample.work.writing]

    @property
    def first_token_latencies(self) -> list[float]:
        """Sorted; from when the request was due, as every latency."""
        pairs = ((sample, sample.work.writing) for sample in self.answered if sample.work)
        return sorted(sample.lag_seconds + writing.first_seconds for sample, writing in pairs if writing)

    @property
    def inter_token_latencies(self) -> list[float]:
        """Sorted; of all texts together."""
        return sorted(gap for writing in self.writings for gap in writing.gaps_seconds)

    @property
    def errors(self) -> dict[str, int]:
        """How many of each status, the most frequent first."""
        return dict(Counter(sample.status for sample in self.samples if sample.status != OK).most_common())

    def as_json(self) -> dict[str, Any]:
        """Seconds, and counts a second."""
        latencies, works = self.latencies, [sample.work for sample in self.answered if sample.work]
        return {
            "title": self.title,
            "seconds": round(self.seconds, 3),
            "requests": len(self.samples),
            "answered": len(latencies),
            "errors": self.errors,
            "requests_per_second": round(len(latencies) / self.seconds, 3),
            "texts_per_second": round(sum(work.texts for work in works) / self.seconds, 3),
            "tokens_per_second": round(sum(work.tokens for work in works) / self.seconds, 3),
            "latency_seconds": _quantiles(latencies),
            **self._writing_as_json(),
            "server": {
                "queue_seconds_mean": _rounded(_mean([work.queue_seconds for work in works])),
                "compute_seconds_mean": _rounded(_mean([work.compute_seconds for work in works])),
                "batch_size_mean": _rounded(_mean([float(work.batch_size) for work in works])),
            },
            "lag_seconds_p99": _rounded(percentile(sorted(sample.lag_seconds for sample in self.samples), 99)),
        }

    def as_text(self) -> str:
        """For people."""
        values = self.as_json()
        server = values["server"]
        lines = [
            self.title,
            f"  requests     {values['requests']} in {self.seconds:.1f} s, {values['answered']} answered",
            f"  throughput   {values['requests_per_second']:.1f} requests/s   {values['texts_per_second']:.1f} texts/s"
            f"   {values['tokens_per_second']:.0f} tokens/s",
            *self._writing_as_text(values),
            f"  latency      {_listed_quantiles(values['latency_seconds'])}",
            f"  server       queue {_milliseconds(server['queue_seconds_mean'])}   compute "
            f"{_milliseconds(server['compute_seconds_mean'])}   batch {server['batch_size_mean'] or 0:.1f} (means)",
            f"  errors       {_listed(self.errors)}",
        ]
        return "\n".join(lines)

    def _writing_as_json(self) -> dict[str, Any]:
        """Nothing of a model that does not write."""
        if not self.writings:
            return {}
        return {
            "output_tokens_per_second": round(sum(one.tokens for one in self.writings) / self.seconds, 3),
            "time_to_first_token_seconds": _quantiles(self.first_token_latencies),
            "inter_token_seconds": _quantiles(self.inter_token_latencies),
        }

    def _writing_as_text(self, values: dict[str, Any]) -> list[str]:
        if not self.writings:
            return []
        return [
            f"  written      {values['output_tokens_per_second']:.1f} tokens/s",
            f"  first token  {_listed_quantiles(values['time_to_first_token_seconds'])}",
            f"  inter-token  {_listed_quantiles(values['inter_token_seconds'])}",
        ]


def percentile(ordered: Sequence[float], rank: float) -> float | None:
    """The least value that so many percent of all do not exceed (nearest rank); None of nothing."""
    return ordered[max(0, math.ceil(len(ordered) * rank / 100) - 1)] if ordered else None


def _quantiles(ordered: Sequence[float]) -> dict[str, float | None]:
    return {
        **{f"p{rank}": _rounded(percentile(ordered, rank)) for rank in PERCENTILES},
        "max": _rounded(ordered[-1] if ordered else None),
        "mean": _rounded(_mean(ordered)),
    }


def _listed_quantiles(quantiles: dict[str, float | None]) -> str:
    return "   ".join(f"{name} {_milliseconds(seconds)}" for name, seconds in quantiles.items())


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _listed(errors: dict[str, int]) -> str:
    return ", ".join(f"{status} {number}" for status, number in errors.items()) or "none"
