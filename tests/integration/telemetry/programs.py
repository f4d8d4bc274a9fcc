"""Programs of a process of the orchestrator's, run by tests with settings of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
JWT_SECRET = "planted-jwt-0123456789-abcdefghijklmnop"
SETTINGS = {
    "HOTSWAP_DATABASE_URL": "postgresql://hotswap:planted-database@127.0.0.1:1/hotswap",
    "HOTSWAP_BROKER_URL": "redis://:planted-broker@127.0.0.1:1/0",
    "HOTSWAP_JWT_SECRET": JWT_SECRET,
    "HOTSWAP_ADMIN_PASSWORD": "planted-password-1",
    "HOTSWAP_TLS_CA": "ca",
    "HOTSWAP_TLS_CERTIFICATE": "certificate",
    "HOTSWAP_TLS_KEY": "key",
    "HOTSWAP_ARTIFACTS_DIR": "artifacts",
    "HOTSWAP_INSTANCE": "of-a-test",
}
PREPARED = """
import logging, os, sys, time
from agent.telemetry import spans
from agent.telemetry.context import bound
from agent.telemetry.traceparent import SpanContext
from app.infrastructure.observing import begin_observing
from config.settings import load
settings = load()
begin_observing(settings, service="deploy")
place = SpanContext("a" * 32, "b" * 16)
"""


def run(program: str, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `PREPARED` and then the program; it must end well, within a minute."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HOTSWAP_", "OTEL_"))}
    return subprocess.run(
        [sys.executable, "-c", PREPARED + program],
        cwd=ROOT,
        env={**kept, **SETTINGS, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
