"""What Celery and its pool say by themselves goes where all log lines go."""

from __future__ import annotations

import subprocess
import sys

# As a worker's start has it: named and observed first, then Celery sets its loggers up and makes the pool's anew. In a
# process of its own, since loggers are everybody's.
_PROGRAM = """
import logging, sys
from billiard.util import get_logger
from celery import Celery
from workers import lifecycle

lifecycle._observed = True
lifecycle.install()
ours = logging.StreamHandler(sys.stdout)
ours.setFormatter(logging.Formatter("ours: %(message)s"))
logging.getLogger().handlers[:] = [ours]
Celery("worker").log.setup_logging_subsystem()
get_logger().error("Process %r exited with %r", "ForkPoolWorker-1", "signal 9 (SIGKILL)")
"""


def test_what_the_pool_says_of_a_child_that_died_is_a_line_of_ours() -> None:
    ran = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout == "ours: Process 'ForkPoolWorker-1' exited with 'signal 9 (SIGKILL)'\n"
    assert ran.stderr == ""
