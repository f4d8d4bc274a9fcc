"""The agents' listener: heartbeats and artifacts, for who shows a node's certificate. Not on the public port."""

from __future__ import annotations

import re
from typing import Any

from flask import Flask, request
from flask.typing import ResponseReturnValue

from app.api import file_answers, observation, problems
from app.api.node_identity import node_identity
from app.api.parsing import parse
from app.api.schemas.heartbeats import HeartbeatInput
from app.domain.errors import NotFound
from app.infrastructure.artifacts import ArtifactStore
from app.orchestrator import heartbeats
from app.orchestrator.context import Orchestrator
from app.orchestrator.heartbeats import Heartbeat, Instructions, ModuleReport, Turns

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_BODY_BYTES = 4 * 1024 * 1024


def create_agent_app(orchestrator: Orchestrator) -> Flask:
    """The application of the listener. The server in front of it must demand and verify client certificates."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _BODY_BYTES
    observation.register(app, quiet=True)
    problems.register(app)
    artifacts = ArtifactStore(orchestrator.settings.artifacts_dir)
    turns = Turns(orchestrator.settings.metrics_sample_interval)

    def heartbeat() -> ResponseReturnValue:
        identity = node_identity()
        body, _query = parse(request, HeartbeatInput, None)
        reports = [ModuleReport(**report) for report in body.pop("modules")]
        beat = Heartbeat(node_id=identity.node_id, environment=identity.environment, modules=reports, **body)
        return _shown(heartbeats.beat(orchestrator, beat, sample=turns.take(identity.node_id)))

    def artifact(digest: str) -> ResponseReturnValue:
        node_identity()
        if not _DIGEST.fullmatch(digest):
            raise NotFound("An artifact is named by sha256: and 64 lower-case hex digits.")
        path = artifacts.existing(digest)
        return file_answers.answer(path, "application/gzip", digest, f"{digest.removeprefix('sha256:')}.tar.gz")

    app.add_url_rule("/agent/v1/heartbeat", "heartbeat", heartbeat, methods=["POST"])
    app.add_url_rule("/agent/v1/artifacts/<digest>", "artifact", artifact, methods=["GET"])
    return app


def _shown(told: Instructions) -> dict[str, Any]:
    return {
        "interval": told.interval,
        "nodeLostAfter": told.node_lost_after,
        "void": [str(operation_id) for operation_id in told.void],
        "tokenFloors": [
            {"tenant": str(floor.tenant), "module": floor.module, "fencingToken": floor.fencing_token}
            for floor in told.token_floors
        ],
    }
