"""Running one foreign command: plans, starts the supervisor, keeps its output, and hands back how it ended."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.launch import start_supervisor
from app.infrastructure.sandbox.log import BoundedLog
from app.infrastructure.sandbox.plan import Plan
from app.infrastructure.sandbox.planner import describe, make_plan
from app.infrastructure.sandbox.probe import available
from app.infrastructure.sandbox.removal import remove_tree
from app.infrastructure.sandbox.spec import Limit, SandboxBroken, SandboxOutcome, SandboxSpec

_LOOK_EVERY = 0.05
_PIECE = 65536
# The supervisor keeps the wall time itself. Should it hang, the caller does not: so much later it is ended.
_OVERDUE = 30.0


def run(
    spec: SandboxSpec, log_path: Path, cancelled: Event | None = None, *, capabilities: Capabilities | None = None
) -> SandboxOutcome:
    """Runs the command to its end, or to one of its limits, or until `cancelled` is set; then nothing of it is left.

    Its output goes to `log_path`, which may be followed meanwhile (see `log`). Callable from any thread and from a
    Celery child; blocks. `capabilities` replaces what the machine was found to be able to do (less of it, in tests).
    The workspace stays, with what was written into it; `removal.remove_tree` takes it away. Raises SandboxRefused
    before anything is started, SandboxBroken when the sandbox itself fails, OSError for a log that cannot be written.
    """
    can = available() if capabilities is None else capabilities
    make_plan(can, spec)
    scratch = None if can.mount_namespace and (can.root or can.user_namespace) else _make_scratch(spec.workspace)
    try:
        plan = make_plan(can, spec, os.fspath(scratch) if scratch else "")
        with BoundedLog(log_path, spec.limits.log_head_bytes, spec.limits.log_tail_bytes) as log:
            answer = _Running(plan, log, cancelled or Event()).to_its_end()
    finally:
        if scratch is not None:
            remove_tree(scratch)
    return _outcome(plan, spec, answer, log)


def _make_scratch(workspace: Path) -> Path:
    """Beside the workspace: reachable for whom that is reachable, and on the file system that is watched.

    The guardian takes it away as well, for callers that die; the name is always the same, for when both do.
    """
    folder = workspace.with_name(f".{workspace.name}.scratch")
    remove_tree(folder)
    folder.mkdir(mode=0o700)
    for name in ("home", "tmp"):
        (folder / name).mkdir(mode=0o700)
    return folder


class _Running:
    """One run, from the caller's side."""

    def __init__(self, plan: Plan, log: BoundedLog, cancelled: Event) -> None:
        self._plan = plan
        self._log = log
        self._cancelled = cancelled
        self._answer = b""

    def to_its_end(self) -> dict[str, Any]:
        """The supervisor's answer. Raises SandboxBroken."""
        output, output_writer = os.pipe()
        result, result_writer = os.pipe()
        try:
            try:
                guardian = start_supervisor(output_writer, result_writer)
            finally:
                os.close(output_writer)
                os.close(result_writer)
            try:
                self._serve(guardian, output, result)
            finally:
                self._end(guardian)
        finally:
            os.close(output)
            os.close(result)
        return self._checked(guardian.returncode)

    def _serve(self, guardian: subprocess.Popen[bytes], output: int, result: int) -> None:
        assert guardian.stdin is not None
        with suppress(BrokenPipeError):
            guardian.stdin.write(self._plan.dumps())
            guardian.stdin.flush()
        overdue = time.monotonic() + self._plan.wall_seconds + self._plan.grace_seconds + _OVERDUE
        poll = select.poll()
        for source in (output, result):
            poll.register(source, select.POLLIN)
        open_ends = {output, result}
        told_to_end = False
        # The answer comes when all of the run has ended. The guardian, last to close its end, is waited for afterwards.
        while output in open_ends or (result in open_ends and b"\n" not in self._answer):
            if not told_to_end and self._cancelled.is_set():
                told_to_end = True
                with suppress(BrokenPipeError):
                    guardian.stdin.write(b"c")
                    guardian.stdin.flush()
            if time.monotonic() > overdue:
                raise SandboxBroken("the supervisor of the run did not end in time; it was ended")
            for source, _ in poll.poll(_LOOK_EVERY * 1000):
                if not self._take(source, from_result=source == result):
                    poll.unregister(source)
                    open_ends.discard(source)

    def _take(self, source: int, *, from_result: bool) -> bool:
        """One piece; False at the end."""
        piece = os.read(source, _PIECE)
        if from_result:
            self._answer += piece
        elif piece:
            self._log.write(piece)
        return bool(piece)

    def _end(self, guardian: subprocess.Popen[bytes]) -> None:
        """Closing the control pipe makes the supervisor end all. A guardian that was stopped goes on for that."""
        assert guardian.stdin is not None
        with suppress(BrokenPipeError):
            guardian.stdin.close()
        for number in (signal.SIGCONT, signal.SIGKILL):
            try:
                guardian.wait(_OVERDUE / 3)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(guardian.pid, number)
        guardian.wait()

    def _checked(self, code: int) -> dict[str, Any]:
        line = self._answer.partition(b"\n")[0]
        if not line:
            raise SandboxBroken(f"the supervisor of the run ended with {code} before the run did")
        answer: dict[str, Any] = json.loads(line)
        if "failure" in answer:
            raise SandboxBroken(f"the command could not be put into its sandbox: {answer['failure']}")
        return answer


def _outcome(plan: Plan, spec: SandboxSpec, answer: dict[str, Any], log: BoundedLog) -> SandboxOutcome:
    code = None if answer["status"] is None else os.waitstatus_to_exitcode(answer["status"])
    return SandboxOutcome(
        exit_code=code if code is not None and code >= 0 else None,
        signal=-code if code is not None and code < 0 else None,
        limit=Limit[answer["limit"]] if answer["limit"] else None,
        seconds=answer["seconds"],
        cpu_seconds=answer["cpu"],
        peak_memory_bytes=answer["peak"],
        output_bytes=log.total,
        left_out_bytes=log.left_out,
        isolation=describe(plan, spec.network),
    )
