"""`hotswap user ...`: who there is, and what they may."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import known_names, passwords
from app.cli.errors import Gone, UsageProblem
from app.cli.invocation import Invocation, invocation
from app.cli.lazy import application
from app.cli.lookup import is_id
from app.cli.output import fields, one_line, table, when

app = application(help="Users: who there is, and what they may. For Admins, but for one's own password.")
Name = Annotated[str, typer.Argument(metavar="USER", help="The user's name or id.", autocompletion=known_names.users)]
Roles = Annotated[
    list[str] | None,
    typer.Option("--role", "-r", help="Viewer, Deployer, Approver or Admin; each includes those before it."),
]
Email = Annotated[str | None, typer.Option("--email", help="The user's address.")]
FullName = Annotated[str | None, typer.Option("--full-name", help="As people write it.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read it from stdin, one line.")]
KeepTokens = Annotated[bool, typer.Option("--keep-tokens", help="API tokens stay good.")]


@app.command("list")
def list_users(ctx: typer.Context) -> None:
    """Every user."""
    run = invocation(ctx)
    found = list(run.client.pages("/users"))
    rows = [
        (_text(user, "username"), _text(user, "fullName"), _roles(user), _state(user), when(user.get("createdAt")))
        for user in found
    ]
    head = ("USER", "NAME", "ROLES", "STATE", "SINCE")
    run.output.result(found, table(head, rows, run.output.width()))


@app.command()
def show(ctx: typer.Context, user: Name) -> None:
    """One user."""
    run = invocation(ctx)
    found = _found(run, user)
    run.output.result(found, _shown(found))


@app.command()
def add(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help="The name to log in with; it stays.")],
    email: Annotated[str, typer.Option("--email", help="The user's address.")],
    full_name: FullName = None,
    roles: Roles = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="May not log in yet.")] = False,
    password_stdin: PasswordStdin = False,
) -> None:
    """Make a user: a Viewer, unless roles are given. The password is asked for."""
    run = invocation(ctx)
    body = {
        "username": user,
        "email": email,
        "fullName": full_name or user,
        "roles": roles or ["Viewer"],
        "disabled": disabled,
        "password": passwords.new_password(user, from_stdin=password_stdin),
    }
    made = run.client.post("/users", body)
    run.output.result(made, [f"User {one_line(made.get('username'))} is made: {_roles(made)}."])


@app.command()
def change(
    ctx: typer.Context,
    user: Name,
    email: Email = None,
    full_name: FullName = None,
    roles: Roles = None,
    disable: Annotated[bool, typer.Option("--disable", help="No log-in any more; sessions end at once.")] = False,
    enable: Annotated[bool, typer.Option("--enable", help="May log in again.")] = False,
) -> None:
    """Change what is given; it counts at once. With --role the user has these roles and no others."""
    if disable and enable:
        raise UsageProblem("--disable or --enable, not both")
    given: dict[str, Any] = {"email": email, "fullName": full_name, "roles": roles or None}
    body = {key: value for key, value in given.items() if value is not None}
    if disable or enable:
        body["disabled"] = disable
    if not body:
        raise UsageProblem("nothing to change: give --email, --full-name, --role, --disable or --enable")
    run = invocation(ctx)
    changed = _patch(run, _found(run, user), body)
    run.output.result(changed, _shown(changed))


@app.command()
def unlock(ctx: typer.Context, user: Name) -> None:
    """Let a user log in again whom too many wrong passwords have locked. A new password does so, too."""
    run = invocation(ctx)
    changed = _patch(run, _found(run, user), {"locked": False})
    run.output.result(changed, [f"User {_text(changed, 'username')} is not locked (any more)."])


@app.command()
def remove(
    ctx: typer.Context, user: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False
) -> None:
    """Remove a user, with all sessions and API tokens. What the user has done stays, under the name."""
    run = invocation(ctx)
    found = _found(run, user)
    name = one_line(found.get("username"))
    if not yes:
        _confirm(f"Remove {name} ({one_line(found.get('fullName'))})?")
    run.client.request("DELETE", _path(found), repeatable=False)
    run.output.result({"id": found["id"], "username": name, "removed": True}, [f"User {name} is removed."])


@app.command()
def password(
    ctx: typer.Context,
    user: Annotated[str | None, typer.Argument(metavar="[USER]", help="Without one: yourself.")] = None,
    keep_tokens: KeepTokens = False,
    password_stdin: PasswordStdin = False,
) -> None:
    """Give a user, or yourself, another password. Sessions and API tokens end at once; your own session here goes on.

    For your own password the current one is asked for, too; from stdin it is the line before the new one, unless
    HOTSWAP_PASSWORD has it.
    """
    run = invocation(ctx)
    if user is not None:
        found = _found(run, user)
        name = str(found.get("username"))
        chosen = passwords.new_password(name, from_stdin=password_stdin)
        changed = _patch(run, found, {"password": chosen, "keepTokens": keep_tokens})
        run.output.result(changed, [f"User {one_line(name)} has another password."])
        return
    current = run.configuration.password or (
        passwords.line_of_stdin() if password_stdin else passwords.asked("Current password: ")
    )
    chosen = passwords.new_password("yourself", from_stdin=password_stdin)
    body = {"currentPassword": current, "password": chosen, "keepTokens": keep_tokens}
    run.client.post("/authentication/password", body)
    run.output.result({"changed": True}, ["You have another password."])


def _found(run: Invocation, given: str) -> dict[str, Any]:
    """By name or id. Raises Gone."""
    if is_id(given):
        found: dict[str, Any] = run.client.get(f"/users/{quote(given, safe='')}")
        return found
    for candidate in run.client.get("/users", {"username": given.lower()}):
        named: dict[str, Any] = candidate
        return named
    raise Gone(f"there is no user {given}: `hotswap user list` shows them all")


def _patch(run: Invocation, user: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = run.client.request("PATCH", _path(user), body=body).json()
    return changed


def _path(user: dict[str, Any]) -> str:
    return f"/users/{quote(str(user['id']), safe='')}"


def _text(user: dict[str, Any], field: str) -> str:
    return one_line(user.get(field))


def _roles(user: dict[str, Any]) -> str:
    return ", ".join(one_line(role) for role in user.get("roles") or ())


def _state(user: dict[str, Any]) -> str:
    if user.get("disabled"):
        return "disabled"
    until = user.get("lockedUntil")
    return f"locked until {when(until)}" if until else "enabled"


def _shown(user: dict[str, Any]) -> Iterable[str]:
    pairs = [
        ("user", _text(user, "username")),
        ("id", _text(user, "id")),
        ("name", _text(user, "fullName")),
        ("email", _text(user, "email")),
        ("roles", _roles(user)),
        ("state", _state(user)),
        ("since", when(user.get("createdAt"))),
    ]
    return fields(pairs)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageProblem("nobody here to confirm it: give --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageProblem("not removed")
