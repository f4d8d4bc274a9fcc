"""Prometheus metrics of the orchestrator: how each is declared, and their text for all its processes.

Every metric is made by a function of this module, with labels that are names of `agent.telemetry.names`: so the
reference in docs/guides/observing.md is complete, and a label is called what log lines and spans call it. Labels
have few values; no id is ever one.

With PROMETHEUS_MULTIPROC_DIR set (before this module is imported) every process writes to files there, and any of
them answers for all; without it a process answers for itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from agent.telemetry.names import MEANINGS, Field
from app.infrastructure.metric_files import MetricFiles

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True, slots=True)
class Declared:
    """A metric as the reference tells it. `asked`: its value is asked for at each scrape."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str
    asked: bool = False

    def family(self) -> GaugeMetricFamily:
        """For the values of one scrape."""
        return GaugeMetricFamily(self.name, self.help, labels=self.labels)


DECLARED: dict[str, Declared] = {}


def counter(name: str, help_: str, *labels: Field) -> Counter:
    """What only grows. `name` ends in `_total`."""
    return Counter(name, help_, _declare(name, "counter", labels, help_))


def histogram(name: str, help_: str, *labels: Field, buckets: Sequence[float]) -> Histogram:
    """Spans of time, in seconds."""
    return Histogram(name, help_, _declare(name, "histogram", labels, help_), buckets=buckets)


def gauge(name: str, help_: str, *labels: Field) -> Gauge:
    """A state of the moment, summed over the processes that live."""
    return Gauge(name, help_, _declare(name, "gauge", labels, help_), multiprocess_mode="livesum")


def asked(name: str, help_: str, *labels: Field) -> Declared:
    """A gauge that is asked for at the scrape; absent where nobody answers."""
    _declare(name, "gauge", labels, help_, asked=True)
    return DECLARED[name]


def _declare(name: str, type_: str, labels: tuple[Field, ...], help_: str, *, asked: bool = False) -> tuple[str, ...]:
    if not name.startswith("hotswap_"):
        raise ValueError(f"{name}: names of metrics start with hotswap_")
    wide = [label.value for label in labels if not MEANINGS[label].label]
    if wide:
        raise ValueError(f"{name}: {', '.join(wide)} has too many values to be a label")
    words = tuple(label.value for label in labels)
    DECLARED[name] = Declared(name, type_, words, help_, asked)
    return words


STALE_COMMANDS = counter(
    "hotswap_stale_commands_total",
    "Commands and reports refused because something newer is known: where they were refused, and why.",
    Field.WHERE,
    Field.REASON,
)

_EXPECTED = (
    ("agent", "void"),
    ("agent", "stale"),
    ("agent", "known_id"),
    ("orchestrator", "older attempt"),
    ("orchestrator", "not claimed"),
    ("orchestrator", "lane granted"),
)
# A metric that was never counted must read 0 and not be absent: alerts compare with it.
for _where, _reason in _EXPECTED:
    STALE_COMMANDS.labels(_where, _reason)


def count_stale(where: str, reason: str) -> None:
    """`where` is `agent` or `orchestrator`; `reason` one of the few that agent-protocol.md and the domain name."""
    STALE_COMMANDS.labels(where, reason).inc()


def exposition(*more: Collector) -> tuple[bytes, str]:
    """The text of all processes' metrics with that of further collectors, and its content type."""
    folder = os.environ.get(VARIABLE)
    own: Collector = MetricFiles(Path(folder)) if folder else REGISTRY
    registry = CollectorRegistry(auto_describe=False)
    for each in (own, *more):
        registry.register(each)
    return generate_latest(registry), CONTENT_TYPE_LATEST
