"""`hotswap login`, `logout`, `whoami`."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated, Any

import typer

from app.cli.authentication import log_in
from app.cli.errors import CliError, UsageProblem
from app.cli.invocation import Invocation, invocation
from app.cli.kept_logins import Account, Session, is_server_name
from app.cli.output import fields, one_line, when


def login(
    ctx: typer.Context,
    username: Annotated[str | None, typer.Option("--username", "-u", help="Asked for when not given.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Call the server so from now on, for --server NAME.")
    ] = None,
) -> None:
    """Log in, and stay logged in: the session is kept in ~/.config/hotswap/config.toml (mode 0600) and renewed.

    The server becomes the default one; with --name it gets a name, and `hotswap server use` changes between names.
    Without a terminal the name and password come from HOTSWAP_USERNAME and HOTSWAP_PASSWORD. Build servers need no
    login: HOTSWAP_TOKEN, or those two, are enough for every command.
    """
    run = invocation(ctx)
    if name is not None:
        _call_it(run, name)
    configuration = run.configuration
    account = configuration.account if name is None else Account(configuration.url, name)
    if configuration.url.startswith("http://") and not configuration.local:
        run.output.warn(f"the password travels unencrypted to {configuration.url}")
    user = username or configuration.username or _asked_name(configuration.url)
    password = _password(run, user, password_stdin)
    session = log_in(run.client.post_openly, user, password)
    configuration.sessions.put(account, session)
    value = {"server": account.name, "url": account.url, "username": session.username, "expiresAt": session.expires_at}
    run.output.result(value, [f"Logged in to {told(account)} as {one_line(session.username)}."])


def logout(ctx: typer.Context) -> None:
    """Forget the login, here and on the server.

    Refused while HOTSWAP_TOKEN is set: whoever that is, is not who is logged in.
    """
    run = invocation(ctx)
    configuration = run.configuration
    account = configuration.account
    session = configuration.sessions.get(account)
    if configuration.token:
        kept = f"; the login of {session.username} to {told(account)} is left alone" if session is not None else ""
        raise UsageProblem(
            f"HOTSWAP_TOKEN is set, so commands use that token and no login{kept}: unset it to log out, "
            "or end the token with `hotswap token revoke`"
        )
    value = {"server": account.name, "url": account.url}
    if session is None:
        run.output.result(value, [f"Not logged in to {told(account)}."])
        return
    revoke(run, session)
    configuration.sessions.remove(account)
    value["username"] = session.username
    run.output.result(value, [f"{one_line(session.username)} is logged out of {told(account)}."])


def whoami(ctx: typer.Context) -> None:
    """As whom the server knows you, and what you may do."""
    run = invocation(ctx)
    user = run.client.get("/authentication/me")
    pairs = [
        ("user", user.get("username")),
        ("name", user.get("fullName")),
        ("email", user.get("email")),
        ("roles", ", ".join(user.get("roles") or [])),
        ("token", _token(user.get("token"))),
        ("server", run.configuration.url),
    ]
    run.output.result(user, fields(pairs))


def told(account: Account) -> str:
    """`prod (https://hotswap.example.com)`, or the URL."""
    return account.url if account.name is None else f"{account.name} ({account.url})"


def _call_it(run: Invocation, name: str) -> None:
    """A name that is known already keeps its URL, unless another one is given. Raises UsageProblem."""
    if not is_server_name(name):
        raise UsageProblem(f"{name!r} cannot be a server's name: letters, digits, - and _")
    if run.flags.server is not None:
        raise UsageProblem("--server is a server that has a name already: leave --name out")
    server = run.configuration.servers.get(name)
    if server is None:
        return
    if server.written and run.flags.url is not None and run.configuration.url != server.url:
        file = run.configuration.sessions.path
        raise UsageProblem(f"[servers.{name}] in {file} has another url: change it there, or leave --url out")
    if run.flags.url is None:
        run.choose(name)


def _token(token: dict[str, Any] | None) -> str | None:
    """The API token that the server was asked with; None for a log-in."""
    if not token:
        return None
    until = f", good until {when(token['expiresAt'])}" if token.get("expiresAt") else ""
    return f"{one_line(token.get('name'))}{until}"


def revoke(run: Invocation, session: Session) -> None:
    """On the server; what is not there any more needs no revoking."""
    try:
        if session.refresh_token:
            run.client.post_openly("/authentication/logout", {"refreshToken": session.refresh_token})
        else:
            run.client.post("/authentication/logout")
    except CliError as error:
        run.output.warn(f"the server was not told: {error}")


def _asked_name(url: str) -> str:
    if not sys.stdin.isatty():
        raise UsageProblem("no name to log in with: give --username, or HOTSWAP_USERNAME and HOTSWAP_PASSWORD")
    print(f"User name for {url}: ", end="", file=sys.stderr, flush=True)
    name = sys.stdin.readline().strip()
    if not name:
        raise UsageProblem("no name was given")
    return name


def _password(run: Invocation, name: str, from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif run.configuration.password:
        password = run.configuration.password
    elif sys.stdin.isatty():
        try:
            password = getpass.getpass(f"Password of {name}: ")
        except EOFError:
            password = ""
    else:
        raise UsageProblem("no terminal to ask for the password: use --password-stdin or HOTSWAP_PASSWORD")
    if not password:
        raise UsageProblem("no password was given")
    return password
