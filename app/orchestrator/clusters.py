"""Clusters: the nodes of each environment, how they are, and what runs there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from app.infrastructure.db.models import NodeRelease
from app.orchestrator import environments, nodes
from app.orchestrator.context import Orchestrator, Requester
from app.orchestrator.nodes import NodeFilters, NodeView
from app.orchestrator.paging import PageRequest

MOST_NODES = 2000
_COUNTS = text(
    """
    select e.name,
           count(n.id) as total,
           count(n.id) filter (
               where hotswap_now() - n.last_heartbeat <= (e.policy->>'unavailableAfter')::interval
           ) as healthy
    from environments e left join nodes n on n.environment_id = e.id
    where e.tenant_id = :tenant
    group by e.id order by e.position, e.name
    """
)


@dataclass(frozen=True, slots=True)
class ClusterSummary:
    environment: str
    total: int
    healthy: int


@dataclass(frozen=True, slots=True)
class ClusterMetrics:
    """Means over the nodes that are heard from (shares 0 to 1) and over their modules' requests; None: nobody says.

    `latency` is in milliseconds, weighted like `error_rate` by requests per second.
    """

    cpu: float | None
    memory: float | None
    latency: float | None
    error_rate: float | None
    requests_per_second: float | None


@dataclass(frozen=True, slots=True)
class Cluster:
    environment: str
    nodes: Sequence[tuple[NodeView, list[NodeRelease]]]
    metrics: ClusterMetrics

    @property
    def healthy(self) -> int:
        return sum(view.healthy for view, _releases in self.nodes)


def list_clusters(orchestrator: Orchestrator, requester: Requester) -> Sequence[ClusterSummary]:
    """One for each environment, in their order."""
    with orchestrator.database.session() as session:
        rows = session.execute(_COUNTS, {"tenant": requester.tenant_id})
        return [ClusterSummary(row.name, row.total, row.healthy) for row in rows]


def cluster(orchestrator: Orchestrator, requester: Requester, name: str) -> Cluster:
    """Every node of an environment with what it runs. Raises NotFound."""
    environment = environments.environment(orchestrator, requester, name)
    page = nodes.list_nodes(
        orchestrator, requester, NodeFilters([environment.name]), PageRequest(limit=MOST_NODES)
    )
    views = sorted(page.items, key=lambda view: view.row.hostname)
    with orchestrator.database.session() as session:
        releases = nodes.releases_of(session, [view.row.id for view in views])
    members = [(view, releases[view.row.id]) for view in views]
    return Cluster(environment.name, members, _metrics(members))


def _metrics(members: Sequence[tuple[NodeView, list[NodeRelease]]]) -> ClusterMetrics:
    alive = [(view, releases) for view, releases in members if view.healthy]
    traffic = [release.metrics for _view, releases in alive for release in releases if release.metrics]
    rate = _numbers(traffic, "requestsPerSecond")
    return ClusterMetrics(
        cpu=_mean(_numbers([view.row.metrics for view, _releases in alive], "cpuUsage")),
        memory=_mean(_numbers([view.row.metrics for view, _releases in alive], "memoryUsage")),
        latency=_weighted(traffic, "latencyMs"),
        error_rate=_weighted(traffic, "errorRate"),
        requests_per_second=sum(rate) if rate else None,
    )


def _numbers(metrics: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [float(found[name]) for found in metrics if isinstance(found.get(name), int | float)]


def _mean(values: Sequence[float]) -> float | None:
    """None for no values: an average of nothing is not zero."""
    return sum(values) / len(values) if values else None


def _weighted(traffic: Sequence[dict[str, Any]], name: str) -> float | None:
    pairs = [
        (float(found[name]), float(found["requestsPerSecond"]))
        for found in traffic
        if isinstance(found.get(name), int | float) and isinstance(found.get("requestsPerSecond"), int | float)
    ]
    weight = sum(requests for _value, requests in pairs)
    return sum(value * requests for value, requests in pairs) / weight if weight else None
