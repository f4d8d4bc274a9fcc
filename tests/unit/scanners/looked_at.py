"""Small trees, and what the scanners say about them (without the sandbox: these files are ours)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from app.infrastructure.scanners.inside.program import look
from app.infrastructure.scanners.report import LeftOut, Reason, Report


def made(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def looked_at(root: Path, files: Mapping[str, str | bytes], seconds: float = 60.0) -> Report:
    return look(made(root, files), time.monotonic() + seconds, lambda _place: None)


def found(report: Report, rule: str = "") -> list[tuple[str, str, str | None, int | None]]:
    return [
        (each.rule, each.severity.value, each.file, each.line) for each in report.findings if each.rule.startswith(rule)
    ]


def left_out(report: Report, reason: Reason) -> LeftOut | None:
    return next((each for each in report.left_out if each.reason is reason), None)
