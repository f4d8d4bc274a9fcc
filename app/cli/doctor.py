"""`hotswap doctor`: what this machine lacks, and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.exit_codes import ExitCode
from app.cli.invocation import invocation
from app.cli.server_part import ServerPartMissing, server_part


def doctor(
    ctx: typer.Context,
    data_dir: Annotated[Path | None, typer.Option(help="The data folder that `hotswap up` would get.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port that `hotswap up` would get.")] = 8000,
) -> None:
    """Check everything that `hotswap up` needs, without starting anything. Exit code 2 when something is missing."""
    run = invocation(ctx)
    try:
        with server_part():
            from deploy.local.doctor import Verdict, examine
            from deploy.local.options import DEFAULT_DATA_FOLDER
    except ServerPartMissing as error:
        missing = "server's part"
        value = [{"subject": missing, "verdict": "bad", "text": str(error)}]
        run.output.result(value, [f"FAIL  {missing:<16} {error}"])
        raise typer.Exit(ExitCode.USAGE) from None
    marks = {Verdict.GOOD: "ok  ", Verdict.WARNING: "warn", Verdict.BAD: "FAIL"}
    findings = examine(data_dir or DEFAULT_DATA_FOLDER, port)
    value = [{"subject": each.subject, "verdict": each.verdict.value, "text": each.text} for each in findings]
    run.output.result(value, [f"{marks[each.verdict]}  {each.subject:<16} {each.text}" for each in findings])
    if any(each.verdict is Verdict.BAD for each in findings):
        raise typer.Exit(ExitCode.USAGE)
