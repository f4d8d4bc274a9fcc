"""What runs where."""

from __future__ import annotations

from typing import Any

from flask.typing import ResponseReturnValue

from app.api.routing import Call, Routes
from app.api.schemas.nodes import PlacementOutput, StatusQuery
from app.api.wire import instant
from app.orchestrator import releases, status
from app.orchestrator.roles import Role
from app.orchestrator.status import Placement

routes = Routes("status")


@routes.get("/status", role=Role.VIEWER, query=StatusQuery, answers={200: [PlacementOutput]})
def everywhere(call: Call) -> ResponseReturnValue:
    """Every module in every environment: version, since when, by whom, what is under way, what drifted."""
    return [_shown(found) for found in status.placements(call.orchestrator, call.requester, call.query["module"])]


@routes.get("/modules/<module_name>/environments", role=Role.VIEWER, answers={200: [PlacementOutput]}, problems=(404,))
def of_module(call: Call, module_name: str) -> ResponseReturnValue:
    """One module in every environment where it runs."""
    releases.module(call.orchestrator, call.requester, module_name)
    return [_shown(found) for found in status.placements(call.orchestrator, call.requester, module_name)]


def _shown(placement: Placement) -> dict[str, Any]:
    return {
        "moduleName": placement.module_name,
        "environment": placement.environment,
        "version": placement.version,
        "versions": list(placement.versions),
        "since": instant(placement.since),
        "deployedBy": placement.deployed_by,
        "executionId": str(placement.execution_id),
        "previousVersion": placement.previous_version,
        "pending": list(placement.pending),
        "drift": list(placement.drift),
    }
