"""Prometheus metrics of Celery tasks."""

from __future__ import annotations

from agent.telemetry.names import Field
from app.infrastructure.metrics import histogram

TASK_SECONDS = histogram(
    "hotswap_task_duration_seconds",
    "How long a Celery task ran, by name and outcome.",
    Field.TASK,
    Field.OUTCOME,
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800),
)
