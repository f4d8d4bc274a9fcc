"""Looking through a tree, from the worker's side: the program runs in the sandbox, its report is read back as a
stranger's word.

No report is never "no findings": whatever keeps the program from its end makes a report with a `failure`, and a finding
of high severity that says the same.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from threading import Event

from app.domain.findings import Finding, Severity
from app.infrastructure.sandbox.capabilities import Capabilities
from app.infrastructure.sandbox.own_program import READABLE, own_program
from app.infrastructure.sandbox.removal import remove_tree
from app.infrastructure.sandbox.runner import run
from app.infrastructure.sandbox.spec import (
    MIB,
    Claim,
    Limits,
    SandboxBroken,
    SandboxOutcome,
    SandboxRefused,
    SandboxSpec,
)
from app.infrastructure.scanners.left_out import left_out_findings
from app.infrastructure.scanners.report import SCANNER_VERSION, Report, ReportInvalid, read_report
from app.infrastructure.scanners.wording import LONGEST_TEXT, clean

SCAN_LIMITS = Limits(
    wall_seconds=300.0,
    cpu_seconds=400.0,
    memory_bytes=1536 * MIB,
    processes=32,
    file_bytes=64 * MIB,
    disk_bytes=192 * MIB,
    files=1000,
    scratch_bytes=64 * MIB,
    log_head_bytes=64 * 1024,
    log_tail_bytes=64 * 1024,
)
# Of the wall time; the rest is for starting, and for writing the report.
_SHARE = 0.8
# What a hostile one of this size becomes in memory is some hundred megabytes, for a moment.
_LONGEST_REPORT = 16 * MIB
_LONGEST_PLACE = 4096
_LONGEST_LOG = 4096
_PROGRAM = "app.infrastructure.scanners.inside.program"


def look_through(
    tree: Path,
    work: Path,
    limits: Limits = SCAN_LIMITS,
    cancelled: Event | None = None,
    *,
    require: frozenset[Claim] = frozenset(),
    capabilities: Capabilities | None = None,
) -> Report:
    """What is in an unpacked archive, or a built tree: secrets, Python code, packages and their licences.

    `tree` is only read; whom the sandbox makes of us must be able to read it (0755 and 0644, as unpacking leaves it).
    `work` is a folder of the caller's, on which the same holds as for a workspace of the sandbox; what is made in it
    is taken away again, but for `scan.log`. There is no network; `require` names further claims of the sandbox without
    which the tree shall rather not be looked through. Blocks. Raises OSError when `work` cannot be written.
    """
    folder = work / "scan"
    remove_tree(folder)
    folder.mkdir(mode=0o755)
    # Seen as /workspace in a mount namespace, under its own name otherwise: both are where the program starts.
    arguments = (os.fspath(tree), "report", f"{limits.wall_seconds * _SHARE:.1f}")
    spec = SandboxSpec(
        command=own_program(_PROGRAM, arguments),
        workspace=folder,
        readable=(*READABLE, tree),
        limits=limits,
        require=require | {Claim.NETWORK},
    )
    try:
        outcome = run(spec, work / "scan.log", cancelled, capabilities=capabilities)
        report = _report(outcome, folder, work / "scan.log")
    except (SandboxRefused, SandboxBroken) as error:
        report = _failed(f"the scanner could not be run: {error}")
    finally:
        remove_tree(folder)
    return report


def _report(outcome: SandboxOutcome, folder: Path, log: Path) -> Report:
    if not outcome.succeeded:
        at = _beginning(folder / "report.at", _LONGEST_PLACE).partition(b"\n")[0]
        place = f", while it was at {clean(os.fsdecode(at), 200)}" if at else ""
        said = _last_line(log)
        return _failed(f"the scanner {outcome.sentence()}{place}" + (f": {said}" if said else ""))
    try:
        report = read_report(json.loads(_whole(folder / "report", _LONGEST_REPORT)))
    except (OSError, ReportInvalid, ValueError, RecursionError) as error:
        return _failed(f"the scanner's report cannot be used: {error}")
    if report.failure is not None:
        return _failed(f"the scanner says: {report.failure}")
    findings = (*left_out_findings(report.left_out), *report.findings)
    return replace(report, findings=findings, version=SCANNER_VERSION)


def _failed(sentence: str) -> Report:
    text = clean(sentence, LONGEST_TEXT)
    return Report(findings=(Finding(Severity.HIGH, "scan.failed", text),), failure=text)


def _whole(path: Path, most: int) -> bytes:
    content = _beginning(path, most + 1)
    if len(content) > most:
        raise ReportInvalid(f"it is longer than {most} bytes")
    if not content:
        raise ReportInvalid("there is none")
    return content


def _beginning(path: Path, most: int) -> bytes:
    """Of a regular file that a stranger may have made; empty for whatever else there is."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        return file.read(most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _LONGEST_LOG))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return clean(lines[-1], 200) if lines else ""
