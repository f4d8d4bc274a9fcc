"""How a process begins to be seen: logs, traces, reports of errors. Called once, before it does anything else."""

from __future__ import annotations

from app.infrastructure import error_reports, tracing
from app.infrastructure.error_reports import configure_error_reports
from app.infrastructure.logs import configure_logging
from app.infrastructure.tracing import configure_tracing
from config.settings import Settings


def begin_observing(settings: Settings, *, service: str) -> None:
    """`service` names the kind of process: api, pipeline, beat, ... May be called again; the last call counts."""
    configure_logging(settings, service=service)
    configure_tracing(settings, service=service)
    configure_error_reports(settings, service=service)


def farewell() -> None:
    """A moment for what is queued, in a process that ends without the interpreter's own farewell."""
    tracing.farewell()
    error_reports.farewell()
