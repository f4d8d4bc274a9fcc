"""`hotswap token ...`: API tokens for build servers."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import known_names
from app.cli.errors import Gone, UsageProblem
from app.cli.invocation import Invocation, invocation
from app.cli.lazy import application
from app.cli.output import one_line, table, when

app = application(help="API tokens for build servers: list, create, revoke.")
_TOKENS = "/authentication/tokens"
_BEGINNING = "hs_"
_SHOWN = 11  # characters of a token that a list shows
User = Annotated[str | None, typer.Option("--user", "-u", help="As an Admin: another user's.")]


@app.command("list")
def list_tokens(ctx: typer.Context, user: User = None) -> None:
    """Your API tokens, what they may, and when each was last used. The tokens themselves are shown to nobody."""
    run = invocation(ctx)
    found = list(run.client.pages(_TOKENS, {"user": user}))
    rows = [
        (
            one_line(token.get("name")),
            f"{one_line(token.get('prefix'))}…",
            one_line(", ".join(token.get("roles") or ())),
            _until(token),
            when(token.get("lastUsedAt")),
        )
        for token in found
    ]
    head = ("NAME", "TOKEN", "ROLES", "GOOD UNTIL", "LAST USED")
    run.output.result(found, table(head, rows, run.output.width()) if rows else ["No API tokens."])


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="What uses it, such as a build server's name.")],
    roles: Annotated[
        list[str] | None, typer.Option("--role", "-r", help="At most your own. Default: Deployer, or your less.")
    ] = None,
    expires_in: Annotated[str | None, typer.Option("--expires-in", metavar="90d", help="How long it is good.")] = None,
    expires_at: Annotated[
        str | None, typer.Option("--expires-at", metavar="TIME", help="Until when: 2027-01-31T12:00:00Z.")
    ] = None,
) -> None:
    """Make an API token of your own. It alone is printed to stdout, this once: TOKEN=$(hotswap token create ci)."""
    if expires_in is not None and expires_at is not None:
        raise UsageProblem("--expires-in or --expires-at, not both")
    run = invocation(ctx)
    given: dict[str, Any] = {"name": name, "roles": roles or None, "expiresIn": expires_in, "expiresAt": expires_at}
    made = run.client.post(_TOKENS, {key: value for key, value in given.items() if value is not None})
    run.output.result(made, [one_line(made.get("token"))])
    what = f"{one_line(made.get('name'))} ({', '.join(made.get('roles') or ())}, good until {_until(made)})"
    run.output.say(f"Token {what}. It cannot be shown again; a build server takes it as HOTSWAP_TOKEN.")


@app.command()
def revoke(
    ctx: typer.Context,
    token: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Its name, its id, or how the token begins.", autocompletion=known_names.tokens
        ),
    ],
    user: User = None,
) -> None:
    """Make an API token good for nothing, at once."""
    run = invocation(ctx)
    found = _found(run, token, user)
    path = f"{_TOKENS}/{quote(str(found['id']), safe='')}"
    run.client.request("DELETE", path, query={"user": user}, repeatable=False)
    name = one_line(found.get("name"))
    run.output.result({"id": found["id"], "name": name, "revoked": True}, [f"Token {name} is revoked."])


def _found(run: Invocation, given: str, user: str | None) -> dict[str, Any]:
    """By name, id or beginning. Raises Gone, UsageProblem (more than one begins so)."""
    listed = list(run.client.pages(_TOKENS, {"user": user}))
    for token in listed:
        if given in (token.get("name"), token.get("id")):
            return token
    begun = [token for token in listed if _begins(given, str(token.get("prefix")))]
    if len(begun) == 1:
        return begun[0]
    # Whoever gives the whole token does not want it repeated on a screen.
    shown = given[:_SHOWN] + "…" if given.startswith(_BEGINNING) and len(given) > _SHOWN else given
    if begun:
        raise UsageProblem(f"{len(begun)} tokens begin with {shown}: give a name or an id")
    raise Gone(f"there is no token {shown}: `hotswap token list` shows them")


def _begins(given: str, prefix: str) -> bool:
    """Whether `given` is a part of what a list shows, or a token that begins with it."""
    if len(given) <= len(_BEGINNING) or len(prefix) < _SHOWN:
        return False
    return prefix.startswith(given) or given.startswith(prefix)


def _until(token: dict[str, Any]) -> str:
    if token.get("expiresAt") is None:
        return "revoked"
    return when(token.get("expiresAt")) + (" (expired)" if token.get("expired") else "")
