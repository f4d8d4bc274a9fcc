"""What the views of one application share, made when it is made and kept in its `extensions`."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from app.api.bodies import Bodies
from app.api.streaming import Streams
from app.infrastructure.artifacts import ArtifactStore
from app.orchestrator.context import Orchestrator
from app.orchestrator.deployment_events import EventWatch
from app.orchestrator.health import HealthMonitor
from app.orchestrator.nodes import NodeLogs
from app.orchestrator.standing import Standing
from app.orchestrator.token_use import TokenUse

_KEY = "hotswap"


@dataclass(frozen=True, slots=True)
class Dependencies:
    orchestrator: Orchestrator
    artifacts: ArtifactStore
    health: HealthMonitor
    standing: Standing
    events: EventWatch
    node_logs: NodeLogs
    streams: Streams
    token_use: TokenUse
    bodies: Bodies

    def attach(self, extensions: dict[str, object]) -> None:
        extensions[_KEY] = self


def dependencies() -> Dependencies:
    """Those of the application that serves the request under way."""
    found: Dependencies = current_app.extensions[_KEY]
    return found
