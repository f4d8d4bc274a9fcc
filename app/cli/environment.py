"""`hotswap environment show|edit|apply`: policies, as YAML like in the documentation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import known_names, policy_file
from app.cli.errors import CliError, Gone, UsageProblem
from app.cli.invocation import Invocation, invocation
from app.cli.lazy import application
from app.cli.output import one_line, table

app = application(help="Environments and their policies; with --module what a module overrides of one.")
Reason = Annotated[str | None, typer.Option("--reason", "-m", help="Why; kept with the change.")]
ModuleOption = Annotated[
    str | None,
    typer.Option(
        "--module",
        metavar="MODULE",
        help="What this module overrides, instead of the policy.",
        autocompletion=known_names.modules,
    ),
]


@app.command()
def show(
    ctx: typer.Context,
    environment: Annotated[
        str | None,
        typer.Argument(help="Without one: all, in a line each.", autocompletion=known_names.environments),
    ] = None,
    module: ModuleOption = None,
) -> None:
    """The policy of an environment, as YAML that `apply` takes.

    With --module what the module overrides of it, and what holds for the module.
    """
    run = invocation(ctx)
    if environment is None:
        if module is not None:
            raise UsageProblem("--module needs an environment: whose policy does it override?")
        _list(run)
        return
    found = run.client.get(_path(environment, module))
    lines = policy_file.text_of(found) if module is None else _overrides(found)
    run.output.result(found, lines.splitlines())


def _list(run: Invocation) -> None:
    environments = sorted(run.client.get("/environments"), key=lambda each: each.get("order") or 0)
    rows = [
        (each.get("name"), each.get("order"), each.get("strategy"), each.get("maxConcurrentNodes"))
        for each in environments
    ]
    head = ("ENVIRONMENT", "ORDER", "STRATEGY", "NODES AT A TIME")
    run.output.result(environments, table(head, rows, run.output.width()))


@app.command()
def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A policy in YAML, with its `name`; - for stdin.")],
    module: ModuleOption = None,
    reason: Reason = None,
) -> None:
    """Give an environment this policy; make the environment where there is none of that name.

    With --module, or a `module` in the file, the file has what the module overrides in the environment of that `name`.
    """
    run = invocation(ctx)
    policy = policy_file.parsed(policy_file.read(file), str(file))
    name = policy.get("name")
    if not isinstance(name, str) or not name:
        raise UsageProblem(f"{file} has no name: which environment's policy is it?")
    named = policy.get("module")
    if named is not None and (not isinstance(named, str) or module not in (None, named)):
        raise UsageProblem(f"{file} is about the module {one_line(named)}, and --module is {module}")
    module = module or named
    try:
        response = run.client.request("GET", _path(name, module))
    except Gone:
        if module is not None:
            raise
        _put(run, name, module, policy, reason, {})
        return
    _put(run, name, module, policy, reason, {"If-Match": response.headers.get("ETag", "*")})


@app.command()
def edit(
    ctx: typer.Context,
    environment: Annotated[str, typer.Argument(autocompletion=known_names.environments)],
    module: ModuleOption = None,
    reason: Reason = None,
) -> None:
    """Change the policy in your editor (VISUAL or EDITOR); a change made by others meanwhile is not overwritten."""
    run = invocation(ctx)
    response = run.client.request("GET", _path(environment, module))
    before = policy_file.text_of(response.json()) if module is None else _overrides(response.json())
    kept = policy_file.temporary(environment)
    kept.write_text(before, encoding="utf-8")
    policy_file.run_editor(run, kept)
    after = policy_file.read(kept)
    if after == before:
        kept.unlink()
        run.output.result({"name": environment, "changed": False}, [])
        run.output.say("Nothing was changed.")
        return
    try:
        policy = policy_file.parsed(after, str(kept))
        _put(run, environment, module, policy, reason, {"If-Match": response.headers.get("ETag", "*")})
    except BaseException as error:
        # Whatever it is, a fault of our own and Ctrl-C as well: somebody wrote that text.
        if isinstance(error, CliError):
            error.kept = kept
        run.output.say(f"Your text is kept: hotswap environment apply {kept}")
        raise
    kept.unlink()


def _path(environment: str, module: str | None) -> str:
    name = quote(environment, safe="")
    return f"/environments/{name}" if module is None else f"/modules/{quote(module, safe='')}/policy/{name}"


def _put(
    run: Invocation,
    name: str,
    module: str | None,
    policy: dict[str, Any],
    reason: str | None,
    headers: dict[str, str],
) -> None:
    body = policy if reason is None else {**policy, "reason": reason}
    if module is not None:
        # These say whose overrides they are, which the path does already.
        body = {field: value for field, value in body.items() if field not in ("name", "module")}
    response = run.client.request("PUT", _path(name, module), body=body, headers=headers)
    done = "made" if response.status_code == 201 else "changed"
    told = f"Environment {one_line(name)} is {done}."
    if module is not None:
        told = f"What {one_line(module)} overrides in {one_line(name)} is {done}."
    run.output.result(response.json() if response.content else body, [told])


def _overrides(found: dict[str, Any]) -> str:
    """What a module overrides, as a file for `apply`; as comments what counts for nothing, and what holds."""
    module, environment = found.get("moduleName"), found.get("environment")
    text = policy_file.text_of({"name": environment, "module": module, **(found.get("overrides") or {})})
    for names, why in (("ignored", "counts for nothing"), ("locked", "cannot be overridden")):
        if found.get(names):
            text += f"# Locked by {one_line(environment)}, {why}: {', '.join(map(one_line, found[names]))}\n"
    holds = policy_file.text_of(found.get("effective") or {})
    return text + f"# What holds for {one_line(module)}:\n" + "".join(f"#   {line}\n" for line in holds.splitlines())
