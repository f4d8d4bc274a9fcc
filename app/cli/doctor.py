"""`hotswap doctor`: what this machine lacks, and what to do."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def doctor(
    data_dir: Annotated[Path | None, typer.Option(help="The data folder that `hotswap up` would get.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port that `hotswap up` would get.")] = 8000,
) -> None:
    """Check everything that `hotswap up` needs, without starting anything. Exit code 2 when something is missing."""
    from deploy.local.doctor import Verdict, examine
    from deploy.local.options import DEFAULT_DATA_FOLDER

    marks = {Verdict.GOOD: "ok  ", Verdict.WARNING: "warn", Verdict.BAD: "FAIL"}
    findings = examine(data_dir or DEFAULT_DATA_FOLDER, port)
    for finding in findings:
        typer.echo(f"{marks[finding.verdict]}  {finding.subject:<16} {finding.text}")
    if any(finding.verdict is Verdict.BAD for finding in findings):
        raise typer.Exit(2)
