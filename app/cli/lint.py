"""`hotswap lint`: a module's manifest checked before anybody sees it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from app.cli.errors import UsageProblem
from app.cli.invocation import invocation
from app.cli.output import counted


def lint(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A module's folder.")],
) -> None:
    """Check a module's hotswap.yaml and the files beside it, without a server. Errors end with 2, advice with 0."""
    from agent.archive import ArchiveInvalid, pack
    from agent.manifest import MANIFEST_NAME, MAXIMUM_MANIFEST_BYTES, ManifestInvalid, parse_manifest
    from agent.manifest import lint as advice

    run = invocation(ctx)
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            content = file.read(MAXIMUM_MANIFEST_BYTES + 1)
    except OSError as error:
        raise UsageProblem(f"cannot read {path}: {error.strerror}; `hotswap init DIR` makes a module") from None
    try:
        manifest = parse_manifest(content)
    except ManifestInvalid as error:
        points = counted(len(error.problems), "point")
        raise UsageProblem(f"{path} is wrong in {points}", fields=error.by_field()) from None
    try:
        with tempfile.TemporaryFile(prefix="hotswap-") as nowhere:
            pack(folder, nowhere)
    except ArchiveInvalid as error:
        raise UsageProblem(f"{folder} cannot be packed: {error}") from None
    findings = advice(manifest, folder)
    value = {
        "moduleName": manifest.name,
        "version": str(manifest.version),
        "advice": [{"path": finding.path, "message": finding.message} for finding in findings],
    }
    lines = [f"advice: {finding}" for finding in findings]
    run.output.result(value, [*lines, f"{manifest.name} {manifest.version}: {path} is valid."])
