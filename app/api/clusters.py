"""Clusters: the nodes of each environment."""

from __future__ import annotations

from flask.typing import ResponseReturnValue

from app.api import node_views
from app.api.routing import Call, Routes
from app.api.schemas.nodes import ClusterOutput, ClusterSummaryOutput, HistoryOutput, HistoryQuery
from app.api.wire import instant
from app.domain.durations import wire_duration
from app.orchestrator import clusters, metric_history
from app.orchestrator.roles import Role

routes = Routes("clusters")


@routes.get("/clusters", role=Role.VIEWER, answers={200: [ClusterSummaryOutput]})
def list_clusters(call: Call) -> ResponseReturnValue:
    """Every environment's cluster, in their order."""
    return [
        {
            "environment": found.environment,
            "totalNodes": found.total,
            "healthyNodes": found.healthy,
            "isHealthy": 0 < found.total == found.healthy,
        }
        for found in clusters.list_clusters(call.orchestrator, call.requester)
    ]


@routes.get("/clusters/<environment>", role=Role.VIEWER, answers={200: ClusterOutput}, problems=(404,))
def show(call: Call, environment: str) -> ResponseReturnValue:
    """One cluster: its nodes, what runs on each, means of what they report."""
    found = clusters.cluster(call.orchestrator, call.requester, environment)
    metrics = found.metrics
    return {
        "environment": found.environment,
        "totalNodes": len(found.nodes),
        "healthyNodes": found.healthy,
        "unhealthyNodes": len(found.nodes) - found.healthy,
        "metrics": {
            "avgCpuUsage": metrics.cpu,
            "avgMemoryUsage": metrics.memory,
            "avgLatency": metrics.latency,
            "errorRate": metrics.error_rate,
            "requestsPerSecond": metrics.requests_per_second,
        },
        "nodes": [node_views.node_with_releases(view, releases) for view, releases in found.nodes],
        "routes": [],
    }


@routes.get(
    "/clusters/<environment>/metrics",
    role=Role.VIEWER,
    query=HistoryQuery,
    answers={200: HistoryOutput},
    problems=(404,),
)
def show_history(call: Call, environment: str) -> ResponseReturnValue:
    """A cluster's metrics over time, oldest first: at most 1,000 points. Older than an hour they are by the minute."""
    asked = call.query
    found = metric_history.history(
        call.orchestrator, call.requester, environment, asked["from_"], asked["to"], asked["interval"]
    )
    return {
        "environment": found.environment,
        "interval": wire_duration(found.interval),
        "dataPoints": [
            {
                "timestamp": instant(point.at),
                "cpuUsage": _rounded(point.cpu),
                "memoryUsage": _rounded(point.memory),
                "latency": _rounded(point.latency),
                "errorRate": _rounded(point.error_rate),
            }
            for point in found.points
        ],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
