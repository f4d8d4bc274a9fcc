"""Prometheus metrics of the orchestrator that more than one part counts, and their text for all its processes.

With PROMETHEUS_MULTIPROC_DIR set (before this module is imported) every process writes to files there, and any of them
answers for all; without it a process answers for itself.
"""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

STALE_COMMANDS = Counter(
    "hotswap_stale_commands",
    "Commands and reports refused because something newer is known: where they were refused, and why.",
    ("where", "reason"),
)

_EXPECTED = (
    ("agent", "void"),
    ("agent", "stale"),
    ("agent", "known"),
    ("orchestrator", "older attempt"),
    ("orchestrator", "ended"),
    ("orchestrator", "not claimed"),
)
# A metric that was never counted must read 0 and not be absent: alerts compare with it.
for _where, _reason in _EXPECTED:
    STALE_COMMANDS.labels(_where, _reason)


def count_stale(where: str, reason: str) -> None:
    """`where` is `agent` or `orchestrator`; `reason` one of the few that agent-protocol.md and the domain name."""
    STALE_COMMANDS.labels(where, reason).inc()


def exposition() -> tuple[bytes, str]:
    """The text of all processes' metrics, and its content type."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
