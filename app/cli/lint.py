"""`hotswap lint`: what the server would say about a module, before it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.exit_codes import ExitCode
from app.cli.invocation import invocation
from app.cli.judged import judged, problem

if TYPE_CHECKING:
    from app.cli.looking import Looked, Refusal


def lint(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="DIR|ARCHIVE", help="A module's folder, or its .tar.gz.")],
    strict: Annotated[bool, typer.Option("--strict", help="End with 2 for advice, too.")] = False,
) -> None:
    """Say what the server would say about a module: its manifest, its archive. No server is asked.

    Errors are what `release publish` would be refused for, in the same words, and end with 2. Advice is what is allowed
    and probably not meant; it ends with 0, unless --strict is given.
    """
    from app.cli.looking import Looked

    run = invocation(ctx)
    found = judged(source)
    if not isinstance(found, Looked):
        if not run.output.json:
            raise problem(source, found)
        run.output.data(_refused(source, found))
        raise typer.Exit(ExitCode.USAGE)
    run.output.result(_valid(source, found), _lines(source, found))
    if strict and found.advice:
        raise typer.Exit(ExitCode.USAGE)


def _refused(source: Path, refusal: Refusal) -> dict[str, Any]:
    problems = [{"line": each.line, "path": each.path, "message": each.message} for each in refusal.problems]
    return {"source": str(source), "valid": False, "error": refusal.sentence, "problems": problems, "advice": []}


def _valid(source: Path, looked: Looked) -> dict[str, Any]:
    inspection = looked.inspection
    return {
        "source": str(source),
        "valid": True,
        "moduleName": inspection.manifest.name,
        "version": str(inspection.manifest.version),
        "digest": str(inspection.digest),
        "entries": len(inspection.entries),
        "sizeBytes": inspection.archive_bytes,
        "unpackedBytes": inspection.unpacked_bytes,
        "problems": [],
        "advice": [{"path": finding.path, "message": finding.message} for finding in looked.advice],
    }


def _lines(source: Path, looked: Looked) -> Iterator[str]:
    from app.cli.upload import shown_size

    inspection = looked.inspection
    for finding in looked.advice:
        yield f"advice: {finding}"
    size = f"entries: {len(inspection.entries)}, {shown_size(inspection.archive_bytes)} packed"
    yield f"{inspection.manifest.name} {inspection.manifest.version}: {source} is valid ({size})."
