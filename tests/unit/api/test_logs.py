"""Every log line is one JSON object with what is bound, whoever writes it, and without any secret."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from agent.telemetry.names import Field

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = """
from config.settings import load
settings = load({
    "HOTSWAP_DATABASE_URL": "postgresql://hotswap:planted%2Fdatabase@127.0.0.1:1/hotswap",
    "HOTSWAP_BROKER_URL": "redis://:planted-broker@127.0.0.1:1/0",
    "HOTSWAP_JWT_SECRET": "planted-jwt-0123456789-abcdefghijklmnop",
    "HOTSWAP_ADMIN_PASSWORD": 'planted "quoted" password',
    "HOTSWAP_OTLP_HEADERS": "api-key=planted-header",
    "HOTSWAP_TLS_CA": "ca", "HOTSWAP_TLS_CERTIFICATE": "c", "HOTSWAP_TLS_KEY": "k", "HOTSWAP_ARTIFACTS_DIR": "a",
    "HOTSWAP_LOG_FORMAT": "LOOKS",
})
import logging, structlog
from agent.telemetry import spans
from agent.telemetry.context import bound
from agent.telemetry.traceparent import SpanContext
from app.infrastructure.logs import configure_logging
configure_logging(settings, service="api")
ours, theirs = structlog.get_logger("ours"), logging.getLogger("theirs")
"""
LINES = """
with bound(deployment="d1", stage="Test", attempt=2), spans.continued(SpanContext("a" * 32, "b" * 16)):
    ours.info("request", status=200)
    theirs.warning("broken: %s", "pipe", extra={"reason": "stale", "fencing_token": 7, "unknown": "left out"})
    theirs.debug("not shown")
    try:
        variable = "planted-variable"
        1 / 0
    except ZeroDivisionError:
        theirs.exception("failed")
ours.info("after", pid=3)
"""
PLANTED = """
ours.info("said", password="planted-named", token="planted-token", nested={"api_key": "planted-key"}, fencing_token=9)
theirs.error("cannot reach %s", settings.database_url)
theirs.error("%s", settings.admin_password.get_secret_value())
theirs.info("a header: Authorization: Bearer planted.bearer.token1 and hs_planted_token_0123456789")
theirs.info("header %s, jwt %s", "planted-header", settings.jwt_secret.get_secret_value())
theirs.info("-----BEGIN PRIVATE KEY-----\\nplantedkey\\n-----END PRIVATE KEY-----")
try:
    secret = "planted-variable"
    raise ValueError("broker " + settings.broker_url)
except ValueError as error:
    ours.error("request.failed", exc_info=error)
    theirs.exception("failed")
"""


def _said(program: str, format_: str = "json") -> str:
    command = [sys.executable, "-c", SETTINGS.replace("LOOKS", format_) + program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stderr


def test_both_kinds_of_loggers_end_as_json_with_what_is_bound() -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in _said(LINES).splitlines()]
    ours, theirs, failed, after = lines
    assert (ours["event"], ours["status"], ours["level"], ours["logger"]) == ("request", 200, "info", "ours")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("broken: pipe", "warning", "theirs")
    assert (theirs["reason"], theirs["fencing_token"]) == ("stale", 7) and "unknown" not in theirs
    assert "ZeroDivisionError" in failed["exception"] and "planted-variable" not in failed["exception"]
    for line in (ours, theirs, failed):
        assert (line["deployment"], line["stage"], line["attempt"]) == ("d1", "Test", 2)
        assert (line["trace_id"], line["span_id"]) == ("a" * 32, "b" * 16)
    assert "deployment" not in after and "trace_id" not in after and after["pid"] == 3
    for line in lines:
        assert line["time"].endswith("Z") and (line["service"], line["instance"]) == ("api", "local")
        assert set(line) <= set(Field)


def test_no_secret_is_told_as_json_or_to_people() -> None:
    for format_ in ("json", "text"):
        said = _said(PLANTED, format_)
        assert "planted" not in said, said
        assert "fencing_token" in said and "9" in said
        assert said.count("[redacted]") >= 9


def test_lines_are_for_people_only_on_a_terminal() -> None:
    assert _said("ours.info('hello')", "auto").startswith("{")
    assert not _said("ours.info('hello')", "text").startswith("{")
