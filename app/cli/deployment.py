"""`hotswap deployment ...`: look at deployments, and steer those under way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import known_names, known_words, lookup
from app.cli.deploy import roll_back, started
from app.cli.deployment_events import INTERNAL, event_of, told
from app.cli.deployment_view import DeploymentView, NodeView, StageView, deployment_view, node_view
from app.cli.durations import clock, wire_seconds
from app.cli.errors import UsageProblem
from app.cli.following import CancelFlag, Follow, TimeoutOption, WaitFlag, WatchFlag, follow, follow_options
from app.cli.invocation import invocation
from app.cli.lazy import application
from app.cli.logs import show_log
from app.cli.output import Output, fields, one_line, table, when
from app.cli.reporting import failures, tail, verdict
from app.cli.summary_file import SummaryOption, writable, write_summary

app = application(help="Deployments: look at them, and steer those under way.")
Identity = Annotated[
    str,
    typer.Argument(metavar="ID", help="Its id, or the beginning of it.", autocompletion=known_names.deployments),
]
_SHORT = 13  # of a UUID of version 7: its time in milliseconds


@app.command("list")
def list_deployments(
    ctx: typer.Context,
    status: Annotated[
        list[str] | None,
        typer.Option(help="Only these, e.g. Running,Paused.", autocompletion=known_words.deployment_statuses),
    ] = None,
    environment: Annotated[
        list[str] | None,
        typer.Option("--environment", "-e", help="Only to there.", autocompletion=known_names.environments),
    ] = None,
    module: Annotated[
        list[str] | None, typer.Option("--module", "-m", help="Only of it.", autocompletion=known_names.modules)
    ] = None,
    requester: Annotated[list[str] | None, typer.Option(help="Only this user's.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
) -> None:
    """Deployments, newest first. Each filter may be given several times."""
    run = invocation(ctx)
    filters = {"status": status, "environment": environment, "module": module, "requester": requester}
    found = list(run.client.pages("/deployments", filters, most=limit))
    shown = _short_ids([str(each.get("executionId")) for each in found]) if run.output.terminal else {}
    rows = [
        (
            shown.get(str(each.get("executionId")), each.get("executionId")),
            run.output.status(each.get("status")),
            each.get("moduleName"),
            each.get("version"),
            each.get("targetEnvironment"),
            when(each.get("startTime")),
            _took(each.get("duration")),
        )
        for each in found
    ]
    head = ("ID", "STATUS", "MODULE", "VERSION", "TO", "STARTED", "TOOK")
    run.output.result(found, table(head, rows, run.output.width()))


@app.command()
def show(
    ctx: typer.Context,
    deployment: Identity,
    nodes: Annotated[bool, typer.Option("--nodes", help="Also what happened on each node.")] = False,
    summary: SummaryOption = None,
) -> None:
    """One deployment: its stages, what it waits for, why it failed."""
    run = invocation(ctx)
    file = writable(summary)
    identity = lookup.deployment_id(run.client, deployment)
    path = f"/deployments/{quote(identity, safe='')}"
    raw = run.client.get(path)
    view = deployment_view(raw)
    failed = view.terminal and view.status != "Succeeded"
    wanted = nodes or file is not None or (failed and not run.output.json)
    operations = list(run.client.pages(f"{path}/nodes")) if wanted else []
    value = {**raw, "nodes": operations} if nodes else raw
    views = [node_view(each) for each in reversed(operations)]
    run.output.result(value, _shown(view, views, run.output, every_node=nodes))
    if file is not None:
        write_summary(run, file, view, views)


@app.command()
def watch(
    ctx: typer.Context,
    deployment: Identity,
    timeout: TimeoutOption = None,
    after: Annotated[int, typer.Option(min=0, metavar="N", help="Tell only events after number N.")] = 0,
    summary: SummaryOption = None,
) -> None:
    """Show what happens until it ends. Ctrl-C detaches; the deployment goes on."""
    run = invocation(ctx)
    checked = follow_options(watch=True, wait=False, timeout=timeout, cancel_on_timeout=False, summary=summary)
    identity = lookup.deployment_id(run.client, deployment)
    follow(run, identity, replace(checked, after=after))


@app.command()
def log(
    ctx: typer.Context,
    deployment: Identity,
    stage: Annotated[
        str | None,
        typer.Option(
            help="All that a stage's commands printed: Build, Test, ...",
            metavar="NAME",
            autocompletion=known_words.stages,
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="With --stage: go on until it has ended.")] = False,
) -> None:
    """Everything that has happened so far, and what failing commands said."""
    run = invocation(ctx)
    if follow and stage is None:
        raise UsageProblem("--follow needs --stage; hotswap deployment watch follows the whole")
    identity = lookup.deployment_id(run.client, deployment)
    path = f"/deployments/{quote(identity, safe='')}"
    if stage is not None:
        show_log(run, f"{path}/stages/{quote(stage, safe='')}/log", follow=follow)
        return
    events = list(run.client.pages(f"{path}/events"))[::-1]
    operations = list(run.client.pages(f"{path}/nodes"))[::-1]
    raw = run.client.get(path)
    if run.output.json:
        run.output.data({"events": events, "nodes": operations, "stages": raw.get("stages", [])})
        return
    for event in map(event_of, events):
        if event is not None and event.kind not in INTERNAL:
            run.output.line(told(event))
    for line in _outputs(deployment_view(raw), [node_view(each) for each in operations]):
        run.output.line(line)


@app.command()
def cancel(
    ctx: typer.Context,
    deployment: Identity,
    rollback: Annotated[bool, typer.Option("--rollback/--no-rollback", help="What was changed goes back.")] = True,
    watch: WatchFlag = False,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
) -> None:
    """End it; what was changed goes back, unless told otherwise. Watching it ends with 1: it did not succeed."""
    _steer(ctx, deployment, "cancel", {"rollback": rollback}, _follow(watch, wait, timeout))


@app.command()
def pause(ctx: typer.Context, deployment: Identity) -> None:
    """Let what is in flight end, and start nothing more."""
    _steer(ctx, deployment, "pause", {}, Follow())


@app.command()
def resume(
    ctx: typer.Context,
    deployment: Identity,
    watch: WatchFlag = False,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
) -> None:
    """Go on with a paused one, without what failed or was lost."""
    _steer(ctx, deployment, "resume", {}, _follow(watch, wait, timeout))


@app.command()
def promote(ctx: typer.Context, deployment: Identity) -> None:
    """Skip the soak that is under way now, and no more."""
    _steer(ctx, deployment, "promote", {}, Follow())


@app.command()
def rollback(
    ctx: typer.Context,
    deployment: Identity,
    preempt: Annotated[bool, typer.Option("--preempt", help="Also cancel what is being deployed there now.")] = False,
    watch: WatchFlag = False,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
    cancel_on_timeout: CancelFlag = False,
) -> None:
    """Bring back what ran before this one, as a new deployment."""
    run = invocation(ctx)
    options = follow_options(watch=watch, wait=wait, timeout=timeout, cancel_on_timeout=cancel_on_timeout)
    roll_back(run, lookup.deployment_id(run.client, deployment), preempt=preempt, options=options)


@app.command()
def retry(
    ctx: typer.Context,
    deployment: Identity,
    watch: WatchFlag = False,
    wait: WaitFlag = False,
    timeout: TimeoutOption = None,
    cancel_on_timeout: CancelFlag = False,
) -> None:
    """Try again: an ended one as a new deployment, a paused one in place what failed."""
    run = invocation(ctx)
    options = follow_options(watch=watch, wait=wait, timeout=timeout, cancel_on_timeout=cancel_on_timeout)
    identity = lookup.deployment_id(run.client, deployment)
    answer = run.client.post(f"/deployments/{quote(identity, safe='')}/retry")
    new = str(answer.get("executionId"))
    what = "goes on" if new == identity else f"is tried again as {new}"
    started(run, answer, new, f"Deployment {identity} {what} ({one_line(answer.get('status'))}).", options)


def _follow(watch: bool, wait: bool, timeout: str | None) -> Follow:
    return follow_options(watch=watch, wait=wait, timeout=timeout, cancel_on_timeout=False)


def _steer(ctx: typer.Context, deployment: str, action: str, body: dict[str, Any], options: Follow) -> None:
    run = invocation(ctx)
    identity = lookup.deployment_id(run.client, deployment)
    answer = run.client.post(f"/deployments/{quote(identity, safe='')}/{action}", body)
    text = f"Deployment {identity}: {action} accepted ({one_line(answer.get('status'))})."
    started(run, answer, identity, text, options)


def _short_ids(ids: list[str]) -> dict[str, str]:
    """Each id cut to as much as tells it from the others here."""
    length = next((size for size in range(_SHORT, 37) if len({each[:size] for each in ids}) == len(set(ids))), 36)
    return {each: each[:length].rstrip("-") if length < 36 else each for each in ids}


def _took(duration: object) -> str:
    seconds = wire_seconds(duration)
    return "-" if seconds is None else clock(seconds)


def _shown(view: DeploymentView, nodes: list[NodeView], output: Output, *, every_node: bool) -> Iterator[str]:
    now = datetime.now(UTC)
    yield verdict(output, view, view.seconds(now))
    pairs = [
        ("id", view.id),
        ("requested by", view.requested_by),
        ("with the token", view.raw.get("requestedWith")),
        ("description", view.raw.get("description")),
        ("started", when(view.raw.get("startTime"))),
        ("ended", when(view.raw["endTime"]) if view.raw.get("endTime") else None),
        ("retry of", view.retry_of),
        ("rollback of", view.rollback_of),
        ("superseded by", view.superseded_by),
        ("trace", (view.raw.get("links") or {}).get("trace") or view.raw.get("traceId")),
    ]
    yield from fields(pairs)
    for waiting in view.waiting:
        yield f"now: {waiting}"
    yield ""
    rows = [(stage.name, output.status(stage.status), _stage_took(stage), _stage_note(stage)) for stage in view.stages]
    yield from table(("STAGE", "STATUS", "TOOK", ""), rows, output.width())
    if every_node:
        yield ""
        yield from _node_table(nodes, output)
    if view.terminal and view.status != "Succeeded":
        yield from failures(view, nodes)


def _stage_took(stage: StageView) -> str:
    return "-" if stage.seconds is None or stage.status == "Skipped" else clock(stage.seconds)


def _stage_note(stage: StageView) -> str:
    counts = f"{stage.deployed} deployed, {stage.failed} failed, {stage.skipped} skipped" if stage.waves else ""
    return "; ".join(part for part in (counts, stage.message) if part) or " "


def _node_table(nodes: list[NodeView], output: Output) -> list[str]:
    rows = [
        (
            node.name,
            "back" if node.back else node.wave + 1,
            output.status(node.status),
            node.from_version,
            node.to_version,
            node.error or " ",
        )
        for node in nodes
    ]
    return table(("NODE", "WAVE", "STATUS", "FROM", "TO", "ERROR"), rows, output.width())


def _outputs(view: DeploymentView, nodes: list[NodeView]) -> Iterator[str]:
    for stage in view.stages:
        if stage.output_tail:
            yield f"{stage.name} said:"
            yield from tail(stage.output_tail, "  ", most=100)
    for node in nodes:
        if node.output_tail:
            yield f"{node.name} said:"
            yield from tail(node.output_tail, "  ", most=100)
