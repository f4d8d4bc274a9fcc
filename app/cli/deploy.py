"""`hotswap deploy`, `hotswap rollback`."""

from __future__ import annotations

import uuid
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import known_names
from app.cli.errors import Gone, UsageProblem
from app.cli.following import CancelFlag, Follow, TimeoutOption, WaitFlag, WatchFlag, follow, follow_options
from app.cli.invocation import Invocation, invocation
from app.cli.key_values import key_values
from app.cli.output import counted, one_line
from app.cli.summary_file import SummaryOption


def deploy(
    ctx: typer.Context,
    module: Annotated[str, typer.Argument(autocompletion=known_names.modules)],
    version: Annotated[str, typer.Argument(autocompletion=known_names.versions)],
    to: Annotated[
        str,
        typer.Option(
            "--to", "-t", metavar="ENVIRONMENT", help="Where to.", autocompletion=known_names.environments
        ),
    ],
    watch: WatchFlag = False,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
    cancel_on_timeout: CancelFlag = False,
    summary: SummaryOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; change nothing.")] = False,
    require_approval: Annotated[bool, typer.Option("--require-approval", help="Add a gate for a person.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also where this version runs already.")] = False,
    strategy: Annotated[str | None, typer.Option(help="In place of the environment's: direct or rolling.")] = None,
    description: Annotated[str | None, typer.Option(help="Why, for the list.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="May be repeated.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key again is the same deployment.")] = None,
) -> None:
    """Bring a release to an environment."""
    run = invocation(ctx)
    options = follow_options(
        watch=watch, wait=wait, timeout=timeout, cancel_on_timeout=cancel_on_timeout, summary=summary
    )
    if dry_run and options.asked:
        raise UsageProblem("--dry-run changes nothing, so there is nothing to watch or to wait for")
    optional = {
        "strategy": strategy,
        "description": description,
        "metadata": key_values(metadata, "--metadata") or None,
        "requireApproval": require_approval or None,
        "force": force or None,
    }
    body: dict[str, Any] = {"moduleName": module, "version": version, "targetEnvironment": to}
    body |= {key: value for key, value in optional.items() if value is not None}
    if dry_run:
        _show_plan(run, body)
        return
    _submit(run, body, options, idempotency_key)


def rollback(
    ctx: typer.Context,
    module: Annotated[str, typer.Argument(autocompletion=known_names.modules)],
    environment: Annotated[
        str,
        typer.Option("--in", "-i", metavar="ENVIRONMENT", help="Where.", autocompletion=known_names.environments),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="VERSION", help="Default: what ran before.", autocompletion=known_names.versions
        ),
    ] = None,
    preempt: Annotated[bool, typer.Option("--preempt", help="Also cancel what is being deployed there now.")] = False,
    watch: WatchFlag = False,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
    cancel_on_timeout: CancelFlag = False,
    summary: SummaryOption = None,
) -> None:
    """Bring back what ran before, ahead of what waits; it skips scans, tests and approvals.

    With --to another version than the one before, that release is deployed again in the usual way.
    """
    run = invocation(ctx)
    options = follow_options(
        watch=watch, wait=wait, timeout=timeout, cancel_on_timeout=cancel_on_timeout, summary=summary
    )
    row = _running(run, module, environment)
    if to is not None and to != row.get("previousVersion"):
        if preempt:
            raise UsageProblem("--preempt goes with the version that ran before only; leave it out, or leave --to out")
        named = {"moduleName": module, "version": to, "targetEnvironment": row.get("environment") or environment}
        _submit(run, {**named, "description": f"back to {to} by hotswap rollback"}, options, None)
        return
    execution = row.get("executionId")
    if not execution:
        raise Gone(f"no deployment brought {module} to {environment}, so there is nothing to go back to")
    roll_back(run, str(execution), preempt=preempt, options=options)


def roll_back(run: Invocation, deployment_id: str, *, preempt: bool, options: Follow) -> None:
    """Start the rollback of a deployment, and follow it as asked."""
    path = f"/deployments/{quote(deployment_id, safe='')}/rollback"
    answer = run.client.post(path, {"preempt": True} if preempt else {})
    rollback_id = str(answer.get("rollbackId"))
    text = f"Rollback {rollback_id} {_accepted(answer)}, {_nodes(answer.get('nodesAffected'))}."
    started(run, answer, rollback_id, text, options)


def started(run: Invocation, answer: Any, deployment_id: str, text: str, options: Follow) -> None:
    """Tell that something was accepted, then follow it or say how it can be."""
    if not options.asked:
        run.output.result(answer, [text])
        run.output.say(f"Watch it with: hotswap deployment watch {deployment_id}")
        return
    if not run.output.json and not run.output.live:
        run.output.line(text)
    follow(run, deployment_id, options)


def _submit(run: Invocation, body: dict[str, Any], options: Follow, idempotency_key: str | None) -> None:
    # A key of our own lets the client send again when the answer got lost.
    answer = run.client.post("/deployments", body, idempotency_key=idempotency_key or str(uuid.uuid4()))
    deployment_id = str(answer.get("executionId"))
    where = f"{body['moduleName']} {body['version']} to {body['targetEnvironment']}"
    started(run, answer, deployment_id, f"Deployment {deployment_id} {_accepted(answer)}: {where}.", options)


def _accepted(answer: Any) -> str:
    return f"accepted ({one_line(answer.get('status'))})"


def _nodes(count: object) -> str:
    return "nodes affected: unknown" if count is None else f"{counted(count, 'node')} affected"


def _running(run: Invocation, module: str, environment: str) -> dict[str, Any]:
    rows = run.client.get(f"/modules/{quote(module, safe='')}/environments")
    for row in rows:
        if str(row.get("environment", "")).lower() == environment.lower():
            return dict(row)
    run.client.get(f"/environments/{quote(environment, safe='')}")  # one that does not exist is told as such
    raise Gone(f"{module} does not run in {environment}, so there is nothing to go back from")


def _show_plan(run: Invocation, body: dict[str, Any]) -> None:
    from app.cli.plan import plan_lines

    plan = run.client.post("/deployments", body, query={"dryRun": True})
    run.output.result(plan, plan_lines(plan, run.output))
