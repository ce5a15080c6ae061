"""What one program found: a table of the sides, the ratios with what they should be, and the machine, printed and kept.

Files go to benchmarks/results/, which git ignores.
"""

import datetime
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Ratio:
    """A figure to reach: `at_least`, `at_most`, or neither where the machine cannot show it."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reached(self) -> bool:
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    def __str__(self) -> str:
        return f"{self.name}: {self.value:.3g} ({self._verdict()})"

    def _verdict(self) -> str:
        if self.at_least is None and self.at_most is None:
            return "nothing to reach here"
        wanted = f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"
        return f"{wanted}: {'reached' if self.reached else 'MISSED'}"


@dataclass
class Record:
    """`sides` holds one row of named figures a side, one list entry a round."""

    name: str
    question: str
    sides: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    ratios: list[Ratio] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    load_average: list[float] = field(default_factory=list)

    def note_round(self, side: str, figures: Mapping[str, float]) -> None:
        """Keep the figures of one side in one round, and say them."""
        self.sides.setdefault(side, []).append(dict(figures))
        self.load_average.append(os.getloadavg()[0])
        print(f"  {side}: {_row(figures)}", flush=True)

    def median(self, side: str, figure: str) -> float:
        return median(figures[figure] for figures in self.sides[side])

    def medians(self, side: str) -> dict[str, float]:
        return {figure: self.median(side, figure) for figure in self.sides[side][0]}

    def finish(self) -> "Record":
        """Print the medians and the ratios, and write the file."""
        width = max(map(len, self.sides), default=0)
        print(f"\n{self.question}\n")
        for side in self.sides:
            print(f"  {side:{width}}  {_row(self.medians(side))}")
        print()
        for ratio in self.ratios:
            print(f"  {ratio}")
        for note in self.notes:
            print(f"  {note}")
        print(flush=True)
        self._write()
        return self

    def _write(self) -> None:
        RESULTS.mkdir(exist_ok=True)
        content = asdict(self) | {
            "ratios": [asdict(ratio) | {"reached": ratio.reached} for ratio in self.ratios],
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": machine(),
        }
        (RESULTS / f"{self.name}.json").write_text(json.dumps(content, indent=2) + "\n")


def machine() -> str:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].partition(":")[2].strip() if models else platform.processor()
    return f"{model}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}"


def _row(figures: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
