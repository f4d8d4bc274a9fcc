"""Prometheus metrics of work: wake-ups, claims, stages, deployments, node operations and what agents say of them."""

from __future__ import annotations

from agent.failures import FailureCode
from agent.manifest import HookEvent
from agent.operation import Step
from agent.telemetry.names import Field
from app.infrastructure.metrics import counter, gauge, histogram

CLAIMS_LOST = counter("hotswap_claims_lost_total", "Claims that ended without a report.", Field.REASON)
PUBLISHED = counter("hotswap_wakes_published_total", "Wake-ups sent to the broker, by outcome.", Field.OUTCOME)
STAGE_SECONDS = histogram(
    "hotswap_stage_duration_seconds",
    "From a stage's first start to its end, waiting included.",
    Field.STAGE,
    Field.OUTCOME,
    buckets=(0.05, 0.2, 1, 5, 20, 60, 300, 900, 3600, 14400, 86400),
)
DEPLOYMENTS_ENDED = counter(
    "hotswap_deployments_ended_total", "Deployments by the status in which they ended.", Field.ENVIRONMENT, Field.STATUS
)
NODE_OPERATIONS = counter(
    "hotswap_node_operations_total",
    "Node operations that were reported, by direction and outcome.",
    Field.DIRECTION,
    Field.OUTCOME,
)
NODE_OPERATION_SECONDS = histogram(
    "hotswap_node_operation_duration_seconds",
    "From the claim of a node operation to its report.",
    Field.DIRECTION,
    Field.OUTCOME,
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600, 3600),
)
STEP_SECONDS = histogram(
    "hotswap_node_step_duration_seconds",
    "Steps of node operations, as their agents measured them.",
    Field.STEP,
    buckets=(0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
SWAPS = counter("hotswap_swaps_total", "What is active on a node was changed by an operation.", Field.DIRECTION)
FAILED_HEALTH_CHECKS = counter(
    "hotswap_failed_health_checks_total",
    "Releases that did not come up on a node: never_healthy, not_listening, exited, hook_failed.",
    Field.REASON,
)
NODE_FAILURES = counter(
    "hotswap_node_operation_failures_total", "Failed node operations by the agent's error code.", Field.REASON
)
BREAKERS = gauge("hotswap_breakers", "Circuit breakers of nodes that are not closed, by state.", Field.STATE)
BREAKER_CHANGES = counter("hotswap_breaker_changes_total", "Changes of circuit breakers, by new state.", Field.STATE)
SPANS = counter("hotswap_spans_total", "Spans for the collector: sent, failed, dropped.", Field.OUTCOME)

HEALTH_FAILURES = (
    FailureCode.NEVER_HEALTHY.value,
    FailureCode.NOT_LISTENING.value,
    FailureCode.EXITED.value,
    FailureCode.HOOK_FAILED.value,
)
"""Error codes of docs/agent-protocol.md that say: the release itself did not come up."""
ERROR_CODES = frozenset(code.value for code in FailureCode)
STEPS = frozenset((*(step.value for step in Step), *(event.value for event in HookEvent)))

# What was never counted must read 0 and not be absent: alerts compare with it.
for _reason in ("process died", "lease expired"):
    CLAIMS_LOST.labels(_reason)
for _outcome in ("sent", "failed", "dropped"):
    PUBLISHED.labels(_outcome)
for _direction in ("forward", "back"):
    SWAPS.labels(_direction)
for _reason in HEALTH_FAILURES:
    FAILED_HEALTH_CHECKS.labels(_reason)
for _state in ("open", "half-open"):
    BREAKERS.labels(_state)
