"""What a run's samples say: percentiles, throughput and errors, as text and as JSON."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loquor.cli.load import OK, Sample

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
            "latency_seconds": {
                **{f"p{rank}": _rounded(percentile(latencies, rank)) for rank in PERCENTILES},
                "max": _rounded(latencies[-1] if latencies else None),
                "mean": _rounded(_mean(latencies)),
            },
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
        latency, server = values["latency_seconds"], values["server"]
        quantiles = "   ".join(f"{name} {_milliseconds(latency[name])}" for name in (*_names(), "max", "mean"))
        lines = [
            self.title,
            f"  requests     {values['requests']} in {self.seconds:.1f} s, {values['answered']} answered",
            f"  throughput   {values['requests_per_second']:.1f} requests/s   {values['texts_per_second']:.1f} texts/s"
            f"   {values['tokens_per_second']:.0f} tokens/s",
            f"  latency      {quantiles}",
            f"  server       queue {_milliseconds(server['queue_seconds_mean'])}   compute "
            f"{_milliseconds(server['compute_seconds_mean'])}   batch {server['batch_size_mean'] or 0:.1f} (means)",
            f"  errors       {_listed(self.errors)}",
        ]
        return "\n".join(lines)


def percentile(ordered: Sequence[float], rank: float) -> float | None:
    """The least value that so many percent of all do not exceed (nearest rank); None of nothing."""
    return ordered[max(0, math.ceil(len(ordered) * rank / 100) - 1)] if ordered else None


def _names() -> list[str]:
    return [f"p{rank}" for rank in PERCENTILES]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _listed(errors: dict[str, int]) -> str:
    return ", ".join(f"{status} {number}" for status, number in errors.items()) or "none"
