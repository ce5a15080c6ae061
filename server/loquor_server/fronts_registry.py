"""One Prometheus page for several fronts: the samples of all of them, each with the label `front`."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families


class FrontsRegistry(CollectorRegistry):
    """The first front's own registry, which adds the `pages` of the others, by their index, as it is read."""

    def __init__(self, pages: Mapping[int, str]) -> None:
        super().__init__()
        self._pages = pages

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        _add(families, 0, super().collect())
        for front, page in sorted(self._pages.items()):
            _add(families, front, text_string_to_metric_families(page))
        yield from families.values()


def _add(families: dict[str, Metric], front: int, metrics: Iterable[Metric]) -> None:
    for metric in metrics:
        family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
        for sample in metric.samples:
            family.samples.append(sample._replace(labels={**sample.labels, "front": str(front)}))
