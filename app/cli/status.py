"""`hotswap status`: what runs where."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import known_names
from app.cli.invocation import invocation
from app.cli.output import counted, one_line, table, when


def status(
    ctx: typer.Context,
    module: Annotated[str | None, typer.Argument(help="Only this module.", autocompletion=known_names.modules)] = None,
) -> None:
    """What runs where, what is on its way there, and which nodes differ from what was decided."""
    run = invocation(ctx)
    rows = run.client.get(f"/modules/{quote(module, safe='')}/environments" if module else "/status")
    head = ("MODULE", "ENVIRONMENT", "VERSION", "SINCE", "BY", "BEFORE", "NOTE")
    lines = [
        (
            row.get("moduleName") or module,
            row.get("environment"),
            row.get("version"),
            when(row.get("since")),
            row.get("deployedBy"),
            row.get("previousVersion"),
            _note(row),
        )
        for row in rows
    ]
    run.output.result(rows, table(head, lines, run.output.width()) if rows else ["Nothing is deployed."])


def _note(row: dict[str, Any]) -> str:
    """What is pending and what drifted, in as few words as there are."""
    notes = []
    others = (row.get("versions") or [])[1:]
    if others:
        named = (f"{one_line(each['version'])} on {counted(each['nodes'], 'node')}" for each in others)
        notes.append("also " + ", ".join(named))
    pending = row.get("pending")
    if pending:
        notes.append(f"coming: {_versions(pending)}")
    drift = row.get("drift")
    if drift:
        count = len(drift) if isinstance(drift, list) else drift
        notes.append("drift" if isinstance(count, bool) else f"drift on {counted(count, 'node')}")
    return ", ".join(notes)


def _versions(pending: object) -> str:
    items = pending if isinstance(pending, list) else [pending]
    return ", ".join(one_line(item.get("version") if isinstance(item, dict) else item) for item in items)
