"""`hotswap environment show|edit|apply`: policies, as YAML like in the documentation."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
import yaml

from app.cli import known_names
from app.cli.errors import CliError, Gone, UsageProblem
from app.cli.invocation import Invocation, invocation
from app.cli.lazy import application
from app.cli.output import one_line, table

app = application(help="Environments and their policies.")
_ORDER = (
    "name",
    "order",
    "strategy",
    "maxConcurrentNodes",
    "unavailableAfter",
    "nodeLostAfter",
    "unavailableNodes",
    "maxUnavailableAtStart",
    "maxFailedNodes",
    "onNodeLost",
    "rolling",
    "canary",
    "blueGreen",
    "judge",
    "approvals",
    "scan",
    "build",
    "supersede",
    "overtaken",
    "pausedTimeout",
    "onPausedTimeout",
    "allowDowngrade",
    "predecessors",
    "freeze",
    "locked",
)
_LARGEST_FILE = 256 * 1024
Reason = Annotated[str | None, typer.Option("--reason", "-m", help="Why; kept with the change.")]


@app.command()
def show(
    ctx: typer.Context,
    environment: Annotated[
        str | None,
        typer.Argument(help="Without one: all, in a line each.", autocompletion=known_names.environments),
    ] = None,
) -> None:
    """The policy of an environment, as YAML that `apply` takes."""
    run = invocation(ctx)
    if environment is None:
        environments = sorted(run.client.get("/environments"), key=lambda each: each.get("order") or 0)
        rows = [
            (each.get("name"), each.get("order"), each.get("strategy"), each.get("maxConcurrentNodes"))
            for each in environments
        ]
        head = ("ENVIRONMENT", "ORDER", "STRATEGY", "NODES AT A TIME")
        run.output.result(environments, table(head, rows, run.output.width()))
        return
    policy = run.client.get(_path(environment))
    run.output.result(policy, _yaml(policy).splitlines())


@app.command()
def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A policy in YAML, with its `name`; - for stdin.")],
    reason: Reason = None,
) -> None:
    """Give an environment this policy; make the environment where there is none of that name."""
    run = invocation(ctx)
    policy = _parsed(_read(file), str(file))
    name = policy.get("name")
    if not isinstance(name, str) or not name:
        raise UsageProblem(f"{file} has no name: which environment's policy is it?")
    try:
        response = run.client.request("GET", _path(name))
    except Gone:
        _put(run, name, policy, reason, {})
        return
    _put(run, name, policy, reason, {"If-Match": response.headers.get("ETag", "*")})


@app.command()
def edit(
    ctx: typer.Context,
    environment: Annotated[str, typer.Argument(autocompletion=known_names.environments)],
    reason: Reason = None,
) -> None:
    """Change the policy in your editor (VISUAL or EDITOR); a change made by others meanwhile is not overwritten."""
    run = invocation(ctx)
    response = run.client.request("GET", _path(environment))
    before = _yaml(response.json())
    kept = _temporary(environment)
    kept.write_text(before, encoding="utf-8")
    _run_editor(run, kept)
    after = _read(kept)
    if after == before:
        kept.unlink()
        run.output.result({"name": environment, "changed": False}, [])
        run.output.say("Nothing was changed.")
        return
    try:
        policy = _parsed(after, str(kept))
        _put(run, environment, policy, reason, {"If-Match": response.headers.get("ETag", "*")})
    except CliError:
        run.output.say(f"Your text is kept: hotswap environment apply {kept}")
        raise
    kept.unlink()


def _path(environment: str) -> str:
    return f"/environments/{quote(environment, safe='')}"


def _put(run: Invocation, name: str, policy: dict[str, Any], reason: str | None, headers: dict[str, str]) -> None:
    body = policy if reason is None else {**policy, "reason": reason}
    response = run.client.request("PUT", _path(name), body=body, headers=headers)
    done = "made" if response.status_code == 201 else "changed"
    run.output.result(response.json() if response.content else body, [f"Environment {one_line(name)} is {done}."])


def _yaml(policy: dict[str, Any]) -> str:
    """In the order of the documentation; the server's is none, and what we do not know comes last."""
    known = {name: policy[name] for name in _ORDER if name in policy}
    return yaml.safe_dump({**known, **policy}, sort_keys=False, allow_unicode=True, width=100)


def _read(file: Path) -> str:
    try:
        if str(file) == "-":
            return sys.stdin.read(_LARGEST_FILE + 1)
        with file.open(encoding="utf-8") as opened:
            return opened.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise UsageProblem(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"{file} is not text in UTF-8") from None


def _parsed(text: str, where: str) -> dict[str, Any]:
    """A mapping of plain values. Raises UsageProblem with the line that is wrong."""
    if len(text) > _LARGEST_FILE:
        raise UsageProblem(f"{where} is too long for a policy")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise UsageProblem(f"{where}: aliases (*name) are not taken here; write it out")
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageProblem(f"{where}{line}: {error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UsageProblem(f"{where} is not YAML: {error}") from None
    if not isinstance(value, dict):
        raise UsageProblem(f"{where} is no policy: it is a mapping that starts like 'name: QA'")
    return value


def _temporary(environment: str) -> Path:
    word = "".join(letter for letter in environment if letter.isalnum()) or "policy"
    descriptor, name = tempfile.mkstemp(prefix=f"hotswap-{word}-", suffix=".yaml")
    os.close(descriptor)
    return Path(name)


def _run_editor(run: Invocation, file: Path) -> None:
    editor = run.environment.get("VISUAL") or run.environment.get("EDITOR") or "vi"
    try:
        done = subprocess.run([*shlex.split(editor), str(file)])
    except (OSError, ValueError) as error:
        file.unlink(missing_ok=True)
        raise UsageProblem(f"cannot start the editor {editor!r} (VISUAL or EDITOR names another): {error}") from None
    if done.returncode != 0:
        raise UsageProblem(f"the editor ended with {done.returncode}: nothing was sent; your text is in {file}")
