"""Prometheus metrics of work: tasks, wake-ups, claims and node operations."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

CLAIMS_LOST = Counter("hotswap_claims_lost", "Claims that ended without a report.", ["reason"])
PUBLISHED = Counter("hotswap_wakes_published", "Wake-ups sent to the broker, by outcome.", ["outcome"])
TASK_SECONDS = Histogram(
    "hotswap_task_duration_seconds",
    "How long a Celery task ran, by name and outcome.",
    ["task", "outcome"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800),
)
NODE_OPERATIONS = Counter(
    "hotswap_node_operations", "Node operations that were reported, by direction and outcome.", ["direction", "outcome"]
)
