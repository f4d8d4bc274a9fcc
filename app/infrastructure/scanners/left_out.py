"""What it means for a scan that something was left out. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from app.domain.findings import Finding, Severity
from app.infrastructure.scanners.report import LeftOut, Reason
from app.infrastructure.scanners.wording import LONGEST_TEXT, clean

_TEXTS: dict[Reason, tuple[Severity, str]] = {
    Reason.INEXACT: (Severity.LOW, "packages without an exact version, or jars that do not tell what they are"),
    Reason.UNKNOWN_LOCK: (Severity.LOW, "lock files of a kind that is not read: their packages are not known"),
    Reason.LARGE: (Severity.LOW, "files that are too large were not looked through"),
    Reason.LONG_LINE: (Severity.LOW, "lines that are very long were searched for known forms of secrets only"),
    Reason.UNPARSED: (Severity.LOW, "manifests or Python files that are not what their name says were not understood"),
    Reason.UNREADABLE: (Severity.MEDIUM, "files or folders could not be read"),
    Reason.BROKEN: (Severity.MEDIUM, "files made a scanner fail and were not looked through"),
    Reason.SLOW: (Severity.MEDIUM, "files took a scanner too long and were not looked through to their end"),
    Reason.DEEP: (Severity.HIGH, "folders are nested too deeply and were not looked into"),
    Reason.MANY_FILES: (Severity.HIGH, "there are too many files: not all were looked through"),
    Reason.MANY_COMPONENTS: (Severity.HIGH, "there are too many packages: not all are known"),
    Reason.TIME: (Severity.HIGH, "files were not looked through: the time ran out"),
}


def left_out_findings(left_out: Iterable[LeftOut]) -> tuple[Finding, ...]:
    """One finding for each reason that leaves a doubt (`scan.<reason>`). Links, special and binary files, packed files
    and the code of dependencies are counted in the report, and are no findings."""
    return tuple(_finding(each) for each in left_out if each.reason in _TEXTS)


def _finding(left: LeftOut) -> Finding:
    severity, text = _TEXTS[left.reason]
    which = left.example if left.count == 1 else f"{left.example} and {left.count - 1} more"
    return Finding(severity, f"scan.{left.reason.value}", clean(f"{text}: {which}", LONGEST_TEXT))
