"""`hotswap server list|use|remove`: the servers that have a name. They get one by `hotswap login --name`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from app.cli import known_names
from app.cli.configuration import Configuration
from app.cli.errors import UsageProblem
from app.cli.invocation import invocation
from app.cli.kept_logins import Account, Session
from app.cli.lazy import application
from app.cli.login import revoke
from app.cli.output import table, when

app = application(help="Servers that have a name.")
Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=known_names.servers)]


@app.callback()
def _group() -> None:
    """Servers that have a name. `hotswap login --name NAME --url URL` gives one."""


@app.command("list")
def list_servers(ctx: typer.Context) -> None:
    """Every server that has a name or a login; * is the one that commands talk to now. No server is asked."""
    run = invocation(ctx)
    configuration = run.configuration
    found = [
        _shown(configuration, Account(each.url, each.name), each.session) for each in configuration.servers.values()
    ]
    found += [
        _shown(configuration, Account(url), session)
        for url, session in configuration.sessions.logins().sessions.items()
    ]
    rows = [
        (
            "*" if each["current"] else " ",
            each["name"],
            each["url"],
            each["username"],
            when(each["expiresAt"]) if each["username"] else "not logged in",
        )
        for each in found
    ]
    head = (" ", "NAME", "URL", "USER", "TOKEN UNTIL")
    none = ["No server has a name: hotswap login --name NAME --url URL"]
    run.output.result(found, table(head, rows, run.output.width()) if rows else none)


@app.command()
def use(ctx: typer.Context, name: Name) -> None:
    """Let commands talk to this server from now on, unless they are told otherwise."""
    run = invocation(ctx)
    run.choose(name)
    configuration = run.configuration
    configuration.sessions.change(lambda kept: kept.with_default(configuration.account))
    if configuration.before_default:
        run.output.warn(f"for commands without --server, {configuration.before_default} comes first")
    value = {"server": name, "url": configuration.url}
    run.output.result(value, [f"Commands talk to {name} ({configuration.url}) from now on."])


@app.command()
def remove(ctx: typer.Context, name: Name) -> None:
    """Forget a server's name and the login to it, here and on the server."""
    run = invocation(ctx)
    run.choose(name)
    configuration = run.configuration
    if configuration.servers[name].written:
        raise UsageProblem(f"[servers.{name}] was written into {configuration.sessions.path}: take it out there")
    session = configuration.sessions.get(configuration.account)
    if session is not None:
        revoke(run, session)
    configuration.sessions.change(lambda kept: kept.without_server(name))
    run.output.result({"server": name, "url": configuration.url, "removed": True}, [f"Server {name} is forgotten."])


def _shown(configuration: Configuration, account: Account, session: Session | None) -> dict[str, Any]:
    """Without tokens. `expiresAt` is the access token's; it is renewed as long as the login lasts."""
    return {
        "name": account.name,
        "url": account.url,
        "username": session.username if session else None,
        "expiresAt": session.expires_at if session else None,
        "current": configuration.account == account,
    }
