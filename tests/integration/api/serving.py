"""Runs one of the orchestrator's WSGI applications under a real gunicorn, as the Procfile does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
START_LIMIT = 60.0


@contextmanager
def serving(
    module: str, config: str, environment: Mapping[str, str], log: Path, answers: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, once `answers()`; it is ended at the end."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HOTSWAP_", "PROMETHEUS_"))}
    command = [sys.executable, "-m", "gunicorn", "--config", f"config/{config}", f"app.api.{module}:application"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**own, "PYTHONPATH": str(ROOT), **environment}, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_LIMIT
        while not answers():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.wait(20)
