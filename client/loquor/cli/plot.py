"""A picture of a run: the latencies by percentile and by frequency, the throughput and the errors over time."""

import math
from pathlib import Path
from typing import Any

from loquor.cli.failure import Failure
from loquor.cli.load import Sample
from loquor.cli.report import PERCENTILES, Report, percentile
from loquor.cli.status import USAGE

_FORMATS = (".png", ".svg", ".pdf")
_BLUE, _GREY = "#2f6db3", "#8a8f98"
_REDS = ["#c8453b", "#e39a3b", "#7b5ea7", "#5b8f6b", "#555555", "#b07aa1", "#9c755f", "#d4a6c8"]
_TICKS = (0, 50, 90, 95, 99, 99.9, 99.99)
_MOST_BINS = 60
_MOST_TIMES = 40
_BINS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


def check_plot(path: Path) -> None:
    """Before the run, so that no run is lost. Raises `Failure`."""
    if path.suffix not in _FORMATS:
        raise Failure(f"--plot: {path} takes a name that ends in one of {', '.join(_FORMATS)}", USAGE)
    if not path.absolute().parent.is_dir():
        raise Failure(f"--plot: there is no folder {path.parent}", USAGE)
    _matplotlib()


def draw(report: Report, path: Path) -> None:
    """Writes the picture."""
    pyplot = _matplotlib()
    style = {
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": _GREY,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.axisbelow": True,
    }
    with pyplot.rc_context(style):
        rows = 3 if report.writings else 2
        figure, axes = pyplot.subplots(rows, 2, figsize=(11, 3.5 * rows), layout="constrained")
        (curve, histogram), (throughput, errors) = axes[-2:]
        figure.suptitle(f"{report.title}\n{_summary(report)}", fontsize=11, x=0.01, ha="left")
        _draw_curve(curve, "latency", report.latencies)
        _draw_histogram(histogram, report)
        _draw_throughput(throughput, report)
        _draw_errors(errors, report)
        if report.writings:
            _draw_curve(axes[0][0], "time to first token", report.first_token_latencies)
            _draw_curve(axes[0][1], "inter-token latency", report.inter_token_latencies)
        figure.savefig(path, dpi=150)
        pyplot.close(figure)


def _summary(report: Report) -> str:
    values = report.as_json()
    written = f"   ·   {values['output_tokens_per_second']:.1f} tokens/s written" if report.writings else ""
    return (
        f"{values['answered']} of {values['requests']} requests answered in {report.seconds:.1f} s   ·   "
        f"{values['requests_per_second']:.1f} requests/s   ·   {values['texts_per_second']:.1f} texts/s   ·   "
        f"{values['tokens_per_second']:.0f} tokens/s{written}"
    )


def _draw_curve(axes: Any, what: str, ordered_seconds: list[float]) -> None:
    """Over percentile, on a scale on which every further nine takes the same room."""
    latencies = [1000 * seconds for seconds in ordered_seconds]
    count = len(latencies)
    axes.set(title=f"{what} by percentile", xlabel="percentile", ylabel="ms")
    shown = [tick for tick in _TICKS if tick < 100 * (1 - 0.5 / max(1, count))]
    axes.set_xticks([_nines(tick) for tick in shown], [f"{tick:g}" for tick in shown])
    axes.grid(axis="both", alpha=0.25)
    if not count:
        return
    places = [_nines(100 * place / count) for place in range(count)]
    axes.step(places, latencies, where="post", color=_BLUE, linewidth=1.8)
    axes.fill_between(places, latencies, step="post", color=_BLUE, alpha=0.12)
    axes.set_ylim(0, 1.08 * latencies[-1])
    ranks = [(rank, percentile(latencies, rank) or 0.0) for rank in PERCENTILES]
    axes.plot([_nines(rank) for rank, _ in ranks], [value for _, value in ranks], "o", color=_BLUE, markersize=5)
    listed = [f"{f'p{rank}':>4} {value:9.1f} ms" for rank, value in ranks] + [f" max {latencies[-1]:9.1f} ms"]
    axes.text(
        0.97, 0.06, "\n".join(listed), transform=axes.transAxes, ha="right", va="bottom", family="monospace", fontsize=9
    )


def _draw_histogram(axes: Any, report: Report) -> None:
    latencies = [1000 * seconds for seconds in report.latencies]
    axes.set(title="latency by frequency", xlabel="ms", ylabel="requests")
    axes.grid(axis="y", alpha=0.25)
    if latencies:
        axes.hist(latencies, bins=min(_MOST_BINS, max(10, int(len(latencies) ** 0.5))), color=_BLUE, alpha=0.85)
        middle = percentile(latencies, 50)
        axes.axvline(middle, color=_GREY, linestyle="--", linewidth=1)
        axes.annotate(
            "median",
            (middle, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -10),
            color=_GREY,
            textcoords="offset points",
        )


def _draw_throughput(axes: Any, report: Report) -> None:
    """Answers by the time at which they came."""
    axes.set(title="throughput", ylabel="answers/s")
    _draw_rates(axes, report, {"answered": [_end(sample) for sample in report.answered]}, [_BLUE])


def _draw_errors(axes: Any, report: Report) -> None:
    axes.set(title="errors", ylabel="errors/s")
    ends = {status: [_end(sample) for sample in report.samples if sample.status == status] for status in report.errors}
    if ends:
        _draw_rates(axes, report, ends, _REDS[: len(ends)])
        axes.legend(frameon=False)
        return
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center", color=_GREY, fontsize=14)


def _draw_rates(axes: Any, report: Report, ends: dict[str, list[float]], colors: list[str]) -> None:
    """Events a second, stacked."""
    width = _bin_seconds(report.seconds)
    edges = [width * number for number in range(max(1, math.ceil(report.seconds / width)) + 1)]
    weights = [[1 / width] * len(times) for times in ends.values()]
    axes.hist(
        list(ends.values()), bins=edges, weights=weights, stacked=True, color=colors, label=list(ends), alpha=0.85
    )
    axes.set(xlabel="s", xlim=(0, edges[-1]))
    axes.grid(axis="y", alpha=0.25)


def _end(sample: Sample) -> float:
    return sample.due + sample.latency_seconds


def _bin_seconds(seconds: float) -> float:
    return next((width for width in _BINS_SECONDS if seconds / width <= _MOST_TIMES), seconds / _MOST_TIMES)


def _nines(rank: float) -> float:
    """0 for the least, 1 for p90, 2 for p99, 3 for p99.9."""
    return -math.log10(1 - rank / 100)


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise Failure("loquor bench --plot needs matplotlib: pip install 'loquor[cli]'") from None
    matplotlib.use("agg")
    from matplotlib import pyplot

    return pyplot
