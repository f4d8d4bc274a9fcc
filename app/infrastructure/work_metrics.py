"""Prometheus metrics of work: wake-ups, claims and node operations."""

from __future__ import annotations

from prometheus_client import Counter

CLAIMS_LOST = Counter("hotswap_claims_lost", "Claims that ended without a report.", ["reason"])
PUBLISHED = Counter("hotswap_wakes_published", "Wake-ups sent to the broker, by outcome.", ["outcome"])
NODE_OPERATIONS = Counter(
    "hotswap_node_operations", "Node operations that were reported, by direction and outcome.", ["direction", "outcome"]
)
