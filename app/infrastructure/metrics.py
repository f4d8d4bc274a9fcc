"""The orchestrator's Prometheus metrics, declared once."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

STALE_COMMANDS = Counter(
    "hotswap_stale_commands_total",
    "Commands and reports of a claim or lane grant that is no longer current, refused.",
    ["where", "reason"],
)
CLAIMS_LOST = Counter("hotswap_claims_lost_total", "Claims that ended without a report.", ["reason"])
PUBLISHED = Counter("hotswap_wakes_published_total", "Wake-ups sent to the broker.", ["outcome"])
TASK_SECONDS = Histogram(
    "hotswap_task_duration_seconds",
    "How long a Celery task ran, by name and outcome.",
    ["task", "outcome"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800),
)
NODE_OPERATIONS = Counter(
    "hotswap_node_operations_total", "Node operations that ended, by direction and outcome.", ["direction", "outcome"]
)
