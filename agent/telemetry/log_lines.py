"""Log lines of a process that has no structlog: the agent, its host. The same names and the same looks.

One JSON object a line; for people, on a terminal, a line of text.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import TextIO

from agent.telemetry import context, spans
from agent.telemetry.names import Field
from agent.telemetry.redaction import Redactor

FORMATS = ("auto", "json", "text")
LEVELS = ("debug", "info", "warning", "error")
EXTRAS = frozenset(field.value for field in Field) - {"module"}
"""What `extra` of the standard library's loggers may bring; there, `module` is something of Python's."""


def as_json(format_: str, stream: TextIO) -> bool:
    """Whether lines are for machines: as said, or `auto`: where nobody looks at a terminal."""
    return format_ == "json" or (format_ == "auto" and not stream.isatty())


class LineFormatter(logging.Formatter):
    """Records of the standard library as lines; `always` is told by each."""

    def __init__(self, always: Mapping[str, object], redactor: Redactor, *, machine: bool) -> None:
        super().__init__()
        self._always = dict(always)
        self._redactor = redactor
        self._machine = machine

    def format(self, record: logging.LogRecord) -> str:
        said = self._fields(record)
        self._redactor.fields(said)
        return self._redactor.text(json.dumps(said, default=str) if self._machine else _for_people(said))

    def _fields(self, record: logging.LogRecord) -> dict[str, object]:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        said: dict[str, object] = {
            Field.TIME.value: f"{at}.{int(record.msecs):03d}Z",
            Field.LEVEL.value: record.levelname.lower(),
            Field.EVENT.value: record.getMessage(),
            Field.LOGGER.value: record.name,
            **self._always,
            Field.PID.value: record.process,
            **context.current(),
        }
        here = spans.current()
        if here is not None:
            said[Field.TRACE_ID.value] = here.trace_id
            if here.span_id is not None:
                said[Field.SPAN_ID.value] = here.span_id
        said.update({name: value for name, value in record.__dict__.items() if name in EXTRAS})
        if record.exc_info:
            said[Field.EXCEPTION.value] = self.formatException(record.exc_info)
        return said


def _for_people(said: dict[str, object]) -> str:
    first = " ".join(str(said.pop(name)) for name in (Field.TIME, Field.LEVEL, Field.EVENT))
    exception = said.pop(Field.EXCEPTION, None)
    rest = " ".join(f"{name}={value}" for name, value in said.items())
    return f"{first}  {rest}" + (f"\n{exception}" if exception else "")


def configure(level: str, format_: str, redactor: Redactor, **always: object) -> None:
    """Let all loggers of this process write such lines to stderr. May be called again; the last call counts."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(always, redactor, machine=as_json(format_, sys.stderr)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def line(event: str, level: str = "info", **fields: object) -> str:
    """One JSON line, for a process that has not even loggers."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    named = {name: value for name, value in fields.items() if value is not None}
    return json.dumps({"time": at, "level": level, "event": event, "pid": os.getpid(), **named}, default=str)
