"""Health for load balancers and people, metrics for Prometheus. No token is needed, and no prefix."""

from __future__ import annotations

from flask import Response
from flask.typing import ResponseReturnValue

from app.api.dependencies import dependencies
from app.api.routing import Call, Routes
from app.api.schemas.health import HealthOutput, LiveOutput
from app.infrastructure.metrics import exposition
from app.orchestrator.health import HealthReport, Overall

routes = Routes("health", prefix="")


@routes.get("/health/live", role=None, answers={200: LiveOutput})
def live(_call: Call) -> ResponseReturnValue:
    """This process can answer; nothing else is asked."""
    return {"status": "ok"}


@routes.get("/health/ready", role=None, answers={200: HealthOutput, 503: HealthOutput})
def ready(_call: Call) -> ResponseReturnValue:
    """Whether deployments can be submitted here: 503 until each check passed once, then while it is not."""
    return _answer(dependencies().health.report())


@routes.get("/health", role=None, answers={200: HealthOutput, 503: HealthOutput})
def report(_call: Call) -> ResponseReturnValue:
    """The same report."""
    return _answer(dependencies().health.report())


def _answer(found: HealthReport) -> ResponseReturnValue:
    body = {
        "status": found.status.value,
        "checks": {
            name: {
                "status": "ok" if check.passed else "failed",
                "latencyMs": check.latency_ms,
                "detail": check.detail,
            }
            for name, check in found.checks.items()
        },
    }
    if found.status is Overall.UNAVAILABLE:
        return body, 503, {"Retry-After": "1"}
    return body


@routes.get("/metrics", role=None, answers={200: "text/plain"})
def metrics(_call: Call) -> ResponseReturnValue:
    """Prometheus text of all processes of this instance."""
    text, content_type = exposition(dependencies().standing)
    return Response(text, content_type=content_type)
