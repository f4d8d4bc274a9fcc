"""`--watch`, `--wait`, `--timeout`, `--cancel-on-timeout`: what the commands that start something have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from app.cli.deployment_view import DeploymentView, NodeView
from app.cli.durations import seconds_of
from app.cli.errors import CliError, Conflict, NotLoggedIn, Unreachable, UsageProblem
from app.cli.exit_codes import ExitCode
from app.cli.invocation import Invocation
from app.cli.output import Output
from app.cli.reporting import JsonLines, PlainLines, failures, verdict
from app.cli.summary_file import writable, write_summary
from app.cli.watching import Reporter, Watched, WatchLimits, look, nodes_of, watch

WatchFlag = Annotated[bool, typer.Option("--watch", "-w", help="Show what happens until it ends.")]
WaitFlag = Annotated[bool, typer.Option("--wait", help="Return when it has ended, or waits for a person (7).")]
TimeoutOption = Annotated[
    str | None, typer.Option("--timeout", metavar="DURATION", help="Give up watching then (exit 6), e.g. 45m.")
]
CancelFlag = Annotated[bool, typer.Option("--cancel-on-timeout", help="Cancel it at --timeout (exit 6); it goes back.")]


@dataclass(frozen=True, slots=True)
class Follow:
    """What was asked for. `timeout` in seconds."""

    watch: bool = False
    wait: bool = False
    timeout: float | None = None
    cancel_on_timeout: bool = False
    after: int = 0
    summary: Path | None = None

    @property
    def asked(self) -> bool:
        return self.watch or self.wait


def follow_options(
    *, watch: bool, wait: bool, timeout: str | None, cancel_on_timeout: bool, summary: Path | None = None
) -> Follow:
    """Check what the flags mean together, and that the summary can be written. Raises UsageProblem."""
    if watch and wait:
        raise UsageProblem("--watch shows what happens, --wait only waits: choose one")
    if timeout is not None and not (watch or wait):
        raise UsageProblem("--timeout needs --wait or --watch")
    if cancel_on_timeout and timeout is None:
        raise UsageProblem("--cancel-on-timeout needs --timeout")
    if summary is not None and not (watch or wait):
        raise UsageProblem("--summary needs --wait or --watch; of what has begun, `hotswap deployment show` makes one")
    seconds = seconds_of(timeout) if timeout is not None else None
    return Follow(watch, wait, seconds, cancel_on_timeout, summary=writable(summary))


def follow(run: Invocation, deployment_id: str, options: Follow) -> None:
    """Watch a deployment as asked and leave the command with the exit code that tells how it went.

    Raises typer.Exit, CliError.
    """
    output = run.output
    resume = f"hotswap deployment watch {deployment_id}"
    limits = WatchLimits(options.timeout, options.wait and options.timeout is None, options.after)
    try:
        watched = _watched(run, deployment_id, options, limits)
    except KeyboardInterrupt:
        output.say(f"\nDetached; the deployment goes on. Watch it again with: {resume}")
        raise typer.Exit(ExitCode.DETACHED) from None
    except NotLoggedIn:
        raise
    except Unreachable as error:
        raise Unreachable(f"{error}. The deployment goes on without us; watch it again with: {resume}") from None
    code = watched.exit_code
    if code in (ExitCode.STILL_RUNNING, ExitCode.WAITING_FOR_A_PERSON) and options.cancel_on_timeout:
        watched = _cancelled(run, watched)
        code = watched.exit_code
    _tell_end(run, watched, resume)
    if options.summary is not None:
        write_summary(run, options.summary, watched.view, _nodes(run, watched.view))
    raise typer.Exit(code)


def _watched(run: Invocation, deployment_id: str, options: Follow, limits: WatchLimits) -> Watched:
    output = run.output
    if output.live and options.watch:
        from app.cli.live import LiveDisplay

        with LiveDisplay(output, "Ctrl-C detaches; the deployment goes on.") as display:
            return watch(run.client, deployment_id, display, limits)
    return watch(run.client, deployment_id, _reporter(output, options), limits)


def _reporter(output: Output, options: Follow) -> Reporter:
    if output.json:
        return JsonLines(output, events=options.watch)
    return PlainLines(output, every=options.watch)


def _cancelled(run: Invocation, watched: Watched) -> Watched:
    """Cancel what has not ended at the time limit, also what waits for a person. Raises CliError.

    Unless it ended by itself meanwhile, the code is that of the time limit: how far going back is by now is chance.
    """
    identity = watched.view.id
    try:
        run.client.post(f"/deployments/{quote(identity, safe='')}/cancel", {"rollback": True})
    except Conflict:
        view = look(run.client, identity)
        return Watched(view, view.exit_code if view.terminal else watched.exit_code)
    run.output.say("Time is up: cancelled; what was changed goes back.")
    return Watched(look(run.client, identity), ExitCode.STILL_RUNNING)


def _tell_end(run: Invocation, watched: Watched, resume: str) -> None:
    output, view = run.output, watched.view
    if output.json:
        output.json_line(dict(view.raw))
        return
    output.line_coloured(verdict(output, view, view.seconds(datetime.now(UTC))))
    if view.terminal and view.status != "Succeeded":
        for line in failures(view, _nodes(run, view)):
            output.line(line)
    if not view.terminal:
        for waiting in view.waiting:
            output.line(f"  {waiting}")
        output.say(f"Watch it again with: {resume}")


def _nodes(run: Invocation, view: DeploymentView) -> list[NodeView]:
    try:
        return nodes_of(run.client, view.id)
    except CliError as error:
        run.output.warn(f"what happened on the nodes cannot be shown: {error}")
        return []
