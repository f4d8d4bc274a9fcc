"""`--summary FILE`: where the Markdown goes. It is appended, so that the commands of one job can share a file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from app.cli.deployment_view import DeploymentView, NodeView
from app.cli.errors import UsageProblem
from app.cli.invocation import Invocation

SummaryOption = Annotated[
    Path | None,
    typer.Option("--summary", metavar="FILE", help="Append a summary in Markdown, e.g. to $GITHUB_STEP_SUMMARY."),
]


def writable(file: Path | None) -> Path | None:
    """The file, once it is sure that it can be appended to: before anything is started. Raises UsageProblem."""
    if file is not None:
        _append(file, "")
    return file


def write_summary(run: Invocation, file: Path, view: DeploymentView, nodes: Sequence[NodeView]) -> None:
    """Raises UsageProblem when the file cannot be written."""
    from app.cli.summary import summary

    _append(file, summary(view, nodes, run.configuration.url, datetime.now(UTC)))


def _append(file: Path, text: str) -> None:
    try:
        with file.open("a", encoding="utf-8") as opened:
            if text and opened.tell():
                opened.write("\n")
            opened.write(text)
    except OSError as error:
        raise UsageProblem(f"cannot write the summary to {file}: {error.strerror}") from None
