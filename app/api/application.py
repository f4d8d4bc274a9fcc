"""The public application: every operation of the API, health and metrics, over one set of use cases."""

from __future__ import annotations

from apiflask import APIFlask
from apispec import APISpec

from app.api import (
    api_tokens,
    approvals,
    authentication,
    bodies,
    clusters,
    deployment_events,
    deployments,
    documentation,
    environments,
    health,
    keys,
    module_policies,
    modules,
    nodes,
    observation,
    problems,
    stage_logs,
    status,
    tokens,
    uploads,
    users,
)
from app.api.bodies import Bodies
from app.api.dependencies import Dependencies
from app.api.routing import Operation
from app.api.specification import describe
from app.api.streaming import Streams
from app.infrastructure.artifacts import ArtifactStore
from app.infrastructure.nodes import Nodes
from app.orchestrator.context import Orchestrator
from app.orchestrator.deployment_events import EventWatch
from app.orchestrator.health import HealthMonitor
from app.orchestrator.nodes import NodeLogs
from app.orchestrator.standing import Standing
from app.orchestrator.token_use import TokenUse

VERSION = "0.1.0"
ROUTES = (
    authentication.routes,
    api_tokens.routes,
    users.routes,
    keys.routes,
    modules.routes,
    module_policies.routes,
    deployments.routes,
    deployment_events.routes,
    stage_logs.routes,
    approvals.routes,
    status.routes,
    environments.routes,
    clusters.routes,
    nodes.routes,
    health.routes,
    documentation.routes,
)


class _Application(APIFlask):
    request_class = uploads.StreamingRequest


def operations() -> tuple[Operation, ...]:
    """Every operation that is served."""
    return tuple(operation for routes in ROUTES for operation in routes.operations)


def create_app(orchestrator: Orchestrator, *, node_logs: NodeLogs | None = None) -> APIFlask:
    """The application. What it needs from outside is in `orchestrator`; nothing is asked yet."""
    settings = orchestrator.settings
    app = bare_app()
    app.config["MAX_CONTENT_LENGTH"] = settings.body_bytes
    artifacts = ArtifactStore(settings.artifacts_dir)
    Dependencies(
        orchestrator=orchestrator,
        artifacts=artifacts,
        health=HealthMonitor(orchestrator, artifacts),
        standing=Standing(orchestrator),
        events=EventWatch(orchestrator),
        node_logs=node_logs or Nodes(settings),
        streams=Streams(max(1, settings.api_threads // 2)),
        token_use=TokenUse(orchestrator.database),
        bodies=Bodies(settings.api_threads, settings.body_timeout),
    ).attach(app.extensions)
    tokens.configure(app, settings)
    observation.register(app)
    bodies.register(app)
    problems.register(app)
    for routes in ROUTES:
        routes.register(app)
    app.teardown_request(uploads.discard_uploads)

    return app


def bare_app() -> APIFlask:
    """An application that serves nothing yet and can describe everything."""
    app = _Application(
        __name__,
        title="HotSwap",
        version=VERSION,
        spec_path=None,
        docs_path=None,
        json_errors=False,
        # None: no route for files at all, which is more than its annotation allows.
        static_folder=None,  # type: ignore[arg-type]
    )
    app.config["SPEC_PROCESSOR_PASS_OBJECT"] = True
    app.config["AUTO_SERVERS"] = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.strict_slashes = False
    # With SPEC_PROCESSOR_PASS_OBJECT the processor is given the APISpec, whatever the annotation there says.
    app.spec_processor(_describe)  # type: ignore[arg-type]
    return app


def _describe(spec: APISpec) -> APISpec:
    return describe(spec, operations())
