"""Nodes in wire form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.api.wire import instant
from app.infrastructure.db.models import NodeRelease
from app.orchestrator.nodes import NodeView


def node(view: NodeView) -> dict[str, Any]:
    row = view.row
    return {
        "nodeId": str(row.id),
        "hostname": row.hostname,
        "environment": view.environment,
        "status": view.status,
        "drained": row.drained,
        "lastHeartbeat": instant(row.last_heartbeat),
        "enrolledAt": instant(row.enrolled_at),
        "agentVersion": row.agent_version,
        "address": row.address,
        "labels": row.labels,
        "resources": row.resources,
        "metrics": row.metrics,
    }


def node_with_releases(view: NodeView, releases: Sequence[NodeRelease]) -> dict[str, Any]:
    """`releases` has what is active, one for each module; what lies on the idle side is in `standby`."""
    return {
        **node(view),
        "releases": [_release(release) for release in releases if release.digest is not None],
        "standby": [
            {
                "moduleName": release.module_name,
                "version": standby.get("version"),
                "digest": standby.get("digest"),
                "status": standby.get("status"),
            }
            for release in releases
            for standby in release.standby
        ],
    }


def _release(release: NodeRelease) -> dict[str, Any]:
    return {
        "moduleName": release.module_name,
        "version": release.version,
        "digest": release.digest,
        "status": release.status,
        "endpoint": release.endpoint,
    }
