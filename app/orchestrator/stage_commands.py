"""A foreign command as the work of a stage: in the sandbox, its output carried into the stage's log while it runs.

The log's writer also learns whether the stage is still this attempt's. When it is not (cancelled, or taken over after a
pause), the command is ended and nothing is reported. What is done outside of the sandbox, before and after the command,
asks a `StageWatch` the same.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from agent.telemetry import spans
from app.domain.policy import BuildNetwork
from app.infrastructure.sandbox import runner
from app.infrastructure.sandbox.spec import (
    Claim,
    Limits,
    Network,
    SandboxBroken,
    SandboxOutcome,
    SandboxRefused,
    SandboxSpec,
)
from app.infrastructure.stage_logs import StageLogWriter
from app.infrastructure.workspaces import Workspace
from app.orchestrator.claims import ClaimedStage
from app.orchestrator.context import Orchestrator
from app.orchestrator.stage_watch import LOOK_EVERY, Abandoned, Stopped
from config.settings import Settings

log = logging.getLogger(__name__)

LAST_CARRY = 30.0
"""Seconds for which a log's end is tried to be written to a database that is away."""
TAIL_BYTES = 4096
# Of zip files and their like, which know no time before 1980: what the same source makes shall be the same bytes.
_SOURCE_DATE = "315532800"


class CommandFailed(Exception):
    """The stage's work cannot be done; one sentence."""


@dataclass(frozen=True, slots=True)
class StageCommand:
    """What is to be run; `timeout` in seconds, as the manifest asks."""

    command: tuple[str, ...]
    timeout: float
    network: BuildNetwork
    environment: Mapping[str, str] = field(default_factory=dict)


def run_command(
    orchestrator: Orchestrator, claimed: ClaimedStage, workspace: Workspace, asked: StageCommand
) -> SandboxOutcome:
    """Run it in `workspace.tree`. Raises Abandoned, Stopped, CommandFailed (the sandbox refuses, or broke)."""
    writer = StageLogWriter(orchestrator.database, claimed.stage_id, claimed.attempt, workspace.log)
    carrier = _Carrier(writer, orchestrator.stopping)
    carrier.start()
    try:
        with spans.span("run command") as span:
            outcome = runner.run(_spec(orchestrator.settings, workspace, asked), workspace.log, carrier.end)
            span.set(outcome="succeeded" if outcome.succeeded else "failed", reason=outcome.sentence())
    except SandboxRefused as refusal:
        raise CommandFailed(f"{refusal} (HOTSWAP_SANDBOX_REQUIRE names what is required)") from refusal
    except SandboxBroken as error:
        raise CommandFailed(str(error)) from error
    finally:
        carrier.finish()
    if carrier.abandoned:
        raise Abandoned
    if carrier.end.is_set():
        raise Stopped
    return outcome


def _spec(settings: Settings, workspace: Workspace, asked: StageCommand) -> SandboxSpec:
    return SandboxSpec(
        command=asked.command,
        workspace=workspace.tree,
        readable=settings.build_tools,
        environment={"SOURCE_DATE_EPOCH": _SOURCE_DATE, **_path(settings), **asked.environment},
        limits=Limits(
            wall_seconds=min(asked.timeout, settings.build_timeout),
            cpu_seconds=min(asked.timeout, settings.build_timeout) * 4,
            memory_bytes=settings.build_memory,
            processes=settings.build_processes,
            disk_bytes=settings.build_disk,
            file_bytes=settings.build_disk,
            files=settings.build_files,
        ),
        network=Network(asked.network.value),
        require=frozenset(Claim[name.upper()] for name in settings.sandbox_require),
    )


def _path(settings: Settings) -> dict[str, str]:
    return {"PATH": settings.build_path} if settings.build_path else {}


def tail_of(file: Path) -> str:
    """The last 4 KB of a log."""
    with file.open("rb") as opened:
        opened.seek(0, 2)
        opened.seek(max(0, opened.tell() - TAIL_BYTES))
        return opened.read().decode("utf-8", "replace")


class _Carrier(threading.Thread):
    """Carries the log until told to finish, and says when the command is to end: the stage is not ours any more, or
    the process stops. A database that is away is asked again; the command goes on meanwhile."""

    def __init__(self, writer: StageLogWriter, stopping: threading.Event) -> None:
        super().__init__(name="stage-log", daemon=True)
        self._writer = writer
        self._stopping = stopping
        self._finished = threading.Event()
        self.end = threading.Event()
        self.abandoned = False

    def run(self) -> None:
        while not self._finished.wait(LOOK_EVERY) and not self.end.is_set():
            self._carry()
            if self.abandoned or self._stopping.is_set():
                self.end.set()

    def finish(self) -> None:
        self._finished.set()
        self.join()
        deadline = time.monotonic() + LAST_CARRY
        while not self.abandoned and not self._carry(to_the_end=True) and time.monotonic() < deadline:
            if self._stopping.wait(LOOK_EVERY):
                return

    def _carry(self, *, to_the_end: bool = False) -> bool:
        """Whether it was written, or need not be."""
        try:
            self.abandoned = not self._writer.carry(to_the_end=to_the_end)
        except (psycopg.Error, SQLAlchemyError) as error:
            log.warning("a stage's log cannot be written: %s", str(error).strip().splitlines()[0])
            return False
        return True
