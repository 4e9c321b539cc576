"""Metrics of a daemon: what is counted as it happens, and what is looked up when somebody asks.

Counting is for batches and requests, never for single events. The counters of prometheus_client take a lock and a
dozen calls, which a batch of one event feels: what its way passes is counted in plain numbers and told when asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

#: Seconds of the buckets of a duration: a commit takes less than a millisecond, a great query some seconds.
DURATIONS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
#: Buckets of a number of events.
NUMBERS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)

Values = Mapping[tuple[str, ...], float]


class Sampled:
    """A metric whose values are looked up when it is asked for, by the values of its labels."""

    def __init__(
        self,
        name: str,
        meaning: str,
        read: Callable[[], Values | float],
        labels: tuple[str, ...] = (),
        *,
        counter: bool = False,
    ) -> None:
        """`counter`: whether the values only grow."""
        self._name = name
        self._meaning = meaning
        self._read = read
        self._labels = labels
        self._family = CounterMetricFamily if counter else GaugeMetricFamily

    def describe(self) -> list[Metric]:
        """The metric without values, which need not be there yet."""
        return [self._family(self._name, self._meaning, labels=self._labels)]

    def collect(self) -> Iterator[Metric]:
        """The metric with its values of now."""
        family = self._family(self._name, self._meaning, labels=self._labels)
        found = self._read()
        for labels, value in (found if isinstance(found, Mapping) else {(): found}).items():
            family.add_metric(labels, value)
        yield family


class Distribution:
    """A histogram of one thread's observations, by the value of a label if it has one."""

    def __init__(self, name: str, meaning: str, bounds: Sequence[float], label: str | None = None) -> None:
        """`bounds`: the greatest values of the buckets, ascending; what is beyond them counts too."""
        self._name = name
        self._meaning = meaning
        self._bounds = bounds
        self._labels = () if label is None else (label,)
        self._counts: dict[tuple[str, ...], list[int]] = {}
        self._sums: dict[tuple[str, ...], float] = {}
        if label is None:
            self._begin(())

    def _begin(self, labels: tuple[str, ...]) -> None:
        self._sums[labels] = 0.0
        self._counts[labels] = [0] * (len(self._bounds) + 1)

    def observe(self, value: float, *labels: str) -> None:
        """Count a value; `labels`: the value of the label."""
        if labels not in self._counts:
            self._begin(labels)
        self._counts[labels][bisect_left(self._bounds, value)] += 1
        self._sums[labels] += value

    def describe(self) -> list[Metric]:
        """The metric without values, which need not be there yet."""
        return [HistogramMetricFamily(self._name, self._meaning, labels=self._labels)]

    def collect(self) -> Iterator[Metric]:
        """The metric with its values of now."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        for labels, counts in list(self._counts.items()):
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), self._sums[labels])
        yield family


def registry() -> CollectorRegistry:
    """A registry with the figures of the process itself."""
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    return made


def figures(metrics: CollectorRegistry) -> dict[str, float]:
    """All values by name and labels, the buckets of distributions left out."""
    found: dict[str, float] = {}
    for metric in metrics.collect():
        for sample in metric.samples:
            if not sample.name.endswith(("_bucket", "_created")):
                labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found
