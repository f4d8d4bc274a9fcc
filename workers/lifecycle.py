"""When worker processes begin and end: presence in each process that executes, a reconciler beside each worker.

A thread-pool worker executes in its own process and reconciles on a thread of it. A prefork parent holds nothing (a
process with presence never forks without exec): its children hold theirs, and its reconciler is a spawned helper that
dies with it.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

from celery.signals import (
    celeryd_init,
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
)
from celery.utils.log import get_multiprocessing_logger

from app.infrastructure import observing
from app.infrastructure.observing import begin_observing
from config.settings import settings_or_exit
from workers import process, reconciler

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_reconciler: reconciler.Loop | subprocess.Popen[bytes] | None = None
_prefork = False
_observed = False


def install() -> None:
    """Connect to Celery's signals; nothing happens in processes that are no workers (beat, Flower, the API)."""
    celeryd_init.connect(_worker_is_named, weak=False, dispatch_uid="hotswap-named")
    setup_logging.connect(_log_as_everywhere, weak=False, dispatch_uid="hotswap-logging")
    worker_init.connect(_worker_init, weak=False, dispatch_uid="hotswap-init")
    worker_ready.connect(_worker_ready, weak=False, dispatch_uid="hotswap-ready")
    worker_process_init.connect(_child_begins, weak=False, dispatch_uid="hotswap-child-init")
    worker_process_shutdown.connect(_child_ends, weak=False, dispatch_uid="hotswap-child-shutdown")
    worker_shutdown.connect(_worker_shutdown, weak=False, dispatch_uid="hotswap-shutdown")


def _worker_is_named(sender: Any = None, **_rest: Any) -> None:
    """The first that is heard of a worker, before it says anything itself.

    What Celery says of a signal goes past all loggers, to this stream, with a blank line before it; where there is
    none, which Python allows, it says nothing.
    """
    sys.__stdout__ = None  # type: ignore[misc]
    _begin_observing(str(sender).partition("@")[0])


def _log_as_everywhere(**_rest: Any) -> None:
    """In place of Celery's own set-up of loggers (its documented meaning of this signal). Who has no name is beat."""
    if not _observed:
        _begin_observing("beat")
    # What the pool says of children that died: its logger, made anew just now, keeps what it hears to itself.
    get_multiprocessing_logger().propagate = True


def _begin_observing(service: str) -> None:
    global _observed
    _observed = True
    begin_observing(settings_or_exit(), service=service)


def _worker_init(sender: Any = None, **_rest: Any) -> None:
    global _prefork
    _prefork = "prefork" in str(getattr(sender, "pool_cls", ""))


def _worker_ready(sender: Any = None, **_rest: Any) -> None:
    global _reconciler
    if _prefork:
        _reconciler = subprocess.Popen(
            [sys.executable, "-m", "workers.reconciler"], close_fds=True, preexec_fn=_die_with_parent
        )
        return
    name = str(getattr(sender, "hostname", "worker")).partition("@")[0]
    process.current(name)
    _reconciler = reconciler.Loop(process.current().orchestrator)
    _reconciler.start()
    _break_off_long_work_on(signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _child_begins(**_rest: Any) -> None:
    process.current("pipeline")


def _child_ends(**_rest: Any) -> None:
    process.leave()
    observing.farewell()  # these children end without the interpreter's own


def _break_off_long_work_on(*numbers: signal.Signals) -> None:
    """Before Celery's own handler, whose soft shutdown waits for tasks, and tells its signal only afterwards."""
    for number in numbers:
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, partial(_stop, handler))


def _stop(handler: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None) -> None:
    process.stop_long_work()
    handler(number, frame)


def _worker_shutdown(**_rest: Any) -> None:
    global _reconciler
    running, _reconciler = _reconciler, None
    if isinstance(running, subprocess.Popen):
        running.terminate()
        running.wait(5)
    elif running is not None:
        running.stop()
        process.leave()
    log.info("worker %d has left", os.getpid())
