"""Work of our own programs for a stage, in the sandbox: ended as soon as the stage is not this attempt's any more."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from threading import Event
from typing import TypeVar

from app.orchestrator.stage_commands import LOOK_EVERY, StageWatch

Result = TypeVar("Result")


def watched(watch: StageWatch, work: Callable[[Event], Result]) -> Result:
    """What `work` returns; it is given an event that says when it is to end early, which it must do soon then.

    Raises what `work` and `watch` raise.
    """
    cancelled = Event()
    with futures.ThreadPoolExecutor(1, thread_name_prefix="watched-work") as pool:
        doing = pool.submit(work, cancelled)
        try:
            while not futures.wait((doing,), timeout=LOOK_EVERY).done:
                watch.look()
        except BaseException:
            cancelled.set()
            raise
    return doing.result()
