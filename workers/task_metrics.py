"""Prometheus metrics of Celery tasks."""

from __future__ import annotations

from prometheus_client import Histogram

TASK_SECONDS = Histogram(
    "hotswap_task_duration_seconds",
    "How long a Celery task ran, by name and outcome.",
    ["task", "outcome"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800),
)
