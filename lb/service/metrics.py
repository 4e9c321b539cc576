"""Metrics of a daemon: what is counted as it happens, and what is looked up when somebody asks.

Counting is for batches and requests, never for single events: an observation costs about a microsecond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

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
