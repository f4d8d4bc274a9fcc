"""Every log line is one JSON object with the trace id that is bound, whoever writes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import logging, structlog
from types import SimpleNamespace
from app.infrastructure.logs import configure_logging
configure_logging(SimpleNamespace(log_level="info", log_format="json"))
structlog.contextvars.bind_contextvars(traceId="abc")
structlog.get_logger("ours").info("request", status=200)
logging.getLogger("theirs").warning("broken: %s", "pipe")
logging.getLogger("theirs").debug("not shown")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("theirs").exception("failed")
"""


def test_both_kinds_of_loggers_end_as_json() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    ours, theirs, failed = (json.loads(line) for line in done.stderr.splitlines())
    assert (ours["event"], ours["status"], ours["level"], ours["logger"]) == ("request", 200, "info", "ours")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("broken: pipe", "warning", "theirs")
    assert "ZeroDivisionError" in failed["exception"]
    assert {line["traceId"] for line in (ours, theirs, failed)} == {"abc"}
    assert all(line["time"].endswith("Z") for line in (ours, theirs, failed))
