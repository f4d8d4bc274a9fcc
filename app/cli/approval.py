"""`hotswap approval ...`: what waits for people, and their yes or no."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import known_names, lookup
from app.cli.durations import clock, wire_seconds
from app.cli.invocation import invocation
from app.cli.lazy import application
from app.cli.output import one_line, table, when

app = application(help="Approvals: what waits for people, and their yes or no.")
Identity = Annotated[
    str,
    typer.Argument(
        metavar="DEPLOYMENT",
        help="The deployment's id, or the beginning of it.",
        autocompletion=known_names.approvals,
    ),
]
Reason = Annotated[str | None, typer.Option("--reason", "-r", help="Why; everybody can read it.")]


@app.callback()
def _group() -> None:
    """Approvals: what waits for people, and their yes or no."""


@app.command("list")
def list_approvals(
    ctx: typer.Context,
    environment: Annotated[list[str] | None, typer.Option("--environment", "-e", help="Only to there.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
) -> None:
    """What waits for an approval, newest first."""
    run = invocation(ctx)
    found = list(run.client.pages("/approvals/pending", {"environment": environment}, most=limit))
    rows = [
        (
            each.get("deploymentExecutionId"),
            each.get("moduleName"),
            each.get("version"),
            each.get("targetEnvironment"),
            each.get("requestedBy"),
            f"{each.get('given')}/{each.get('required')}",
            clock(wire_seconds(each.get("timeRemaining")) or 0),
        )
        for each in found
    ]
    head = ("DEPLOYMENT", "MODULE", "VERSION", "TO", "ASKED BY", "GIVEN", "LEFT")
    run.output.result(found, table(head, rows, run.output.width()) if rows else ["Nothing waits for an approval."])


@app.command()
def approve(ctx: typer.Context, deployment: Identity, reason: Reason = None) -> None:
    """Say yes to a deployment."""
    _answer(ctx, deployment, "approve", reason)


@app.command()
def reject(ctx: typer.Context, deployment: Identity, reason: Reason = None) -> None:
    """Say no: the deployment ends Rejected, and no node was touched."""
    _answer(ctx, deployment, "reject", reason)


def _answer(ctx: typer.Context, deployment: str, answer: str, reason: str | None) -> None:
    run = invocation(ctx)
    identity = lookup.deployment_id(run.client, deployment)
    approval = run.client.post(f"/approvals/deployments/{quote(identity, safe='')}/{answer}", {"reason": reason})
    run.output.result(approval, _told(approval))


def _told(approval: dict[str, Any]) -> Iterator[str]:
    what = " ".join(one_line(approval.get(name)) for name in ("moduleName", "version"))
    yield f"{what} to {one_line(approval.get('targetEnvironment'))}: {one_line(approval.get('status'))}"
    if approval.get("status") == "Pending":
        given = ", ".join(one_line(name) for name in approval.get("approvers") or ()) or "nobody"
        yield f"{given} of {approval.get('required')} so far; until {when(approval.get('timeoutAt'))}"
