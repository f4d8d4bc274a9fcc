"""Logs of a process: one JSON object a line on stderr (or a line for people), with what is bound to the context.

Both structlog's loggers and the standard library's end here, so that what a request or task binds
(`agent.telemetry.context`) is on every line that follows from it, whoever writes it. Names: `agent.telemetry.names`.
"""

from __future__ import annotations

import json
import logging
import os
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from agent.telemetry import context, log_lines, spans
from agent.telemetry.names import Field
from agent.telemetry.redaction import Redactor
from app.infrastructure.secrets_known import redactor_of
from config.settings import Settings

QUIET = {
    # A line for each call and for each message says nothing that events, metrics and Flower do not.
    "httpx": logging.WARNING,
    "urllib3": logging.WARNING,
    "kombu": logging.WARNING,
    "celery.worker.strategy": logging.WARNING,
    "tornado.access": logging.WARNING,
    # What a task raised is told by the tasks' base class, which knows whose it is.
    "celery.app.trace": logging.CRITICAL,
}


def configure_logging(settings: Settings, *, service: str = "") -> None:
    """Set up both kinds of loggers. May be called again; the last call counts."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    redactor = redactor_of(settings)
    shared: list[Processor] = [
        _Bound(service, settings.instance),
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key=Field.TIME.value),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # modules have theirs before this is called a second time
    )
    machine = log_lines.as_json(settings.log_format, sys.stderr)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow=sorted(log_lines.EXTRAS))],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([structlog.processors.format_exc_info] if machine else []),
                _ByName(redactor),
                _Rendered(redactor, machine=machine),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(max(level, least))


_ENCODER = json.JSONEncoder(default=str)  # made once: json.dumps() with a default makes one for each line


def _json(said: EventDict, **_: object) -> str:
    return _ENCODER.encode(said)


class _Bound:
    """What is known without being said: the process, and what is bound where the line is written."""

    def __init__(self, service: str, instance: str) -> None:
        self._always = {Field.SERVICE.value: service, Field.INSTANCE.value: instance} if service else {}

    def __call__(self, _logger: WrappedLogger, _method: str, said: EventDict) -> EventDict:
        here = spans.current()
        known: EventDict = {**self._always, Field.PID.value: os.getpid(), **context.current()}
        if here is not None:
            known[Field.TRACE_ID.value] = here.trace_id
            if here.span_id is not None:
                known[Field.SPAN_ID.value] = here.span_id
        for name, value in known.items():
            said.setdefault(name, value)
        return said


class _ByName:
    """No field whose name says that it is secret."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _logger: WrappedLogger, _method: str, said: EventDict) -> EventDict:
        self._redactor.fields(said)
        return said


class _Rendered:
    """The line, without known secrets and what looks like one."""

    def __init__(self, redactor: Redactor, *, machine: bool) -> None:
        self._redactor = redactor
        self._render: Processor = (
            structlog.processors.JSONRenderer(serializer=_json)
            if machine
            else structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                timestamp_key=Field.TIME.value,
                # The other one shows the values of variables.
                exception_formatter=structlog.dev.plain_traceback,
            )
        )

    def __call__(self, logger: WrappedLogger, method: str, said: EventDict) -> str:
        return self._redactor.text(str(self._render(logger, method, said)))
