"""Names for completion, from the server: modules, versions, environments, nodes, deployments, keys, users, tokens.

A Tab must not make anybody wait: the server has TIME_LIMIT, and whatever goes wrong (no server, no login, a login that
has expired) is silence. Nothing is changed either: a token is used as it is kept and not renewed, since a renewal that
is given up half way would cost the login; and no password is sent.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from app.cli.errors import CliError, NotLoggedIn
from app.cli.invocation import Invocation, invocation

if TYPE_CHECKING:
    from app.cli.client import Client

TIME_LIMIT = 1.0  # seconds
_MOST = 1000
_MOST_DEPLOYMENTS = 50
# What needs no quoting in any shell: other names are left out, and other signs of an explanation.
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+@/-]*")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.+@/, -]")
Names = list[tuple[str, str]]
Post = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]


class AsItIs:
    """The token that there is, or none; see authentication.Credentials."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def token(self, post: Post) -> str:
        if not self._token:
            raise NotLoggedIn("not logged in")
        return self._token

    def renewed(self, post: Post, refused: str, why: NotLoggedIn | None = None) -> str:
        raise NotLoggedIn("the login has expired")


def modules(ctx: typer.Context, incomplete: str) -> Names:
    return _asked(ctx, incomplete, "/modules", "name", lambda each: f"latest {each.get('latestVersion')}")


def versions(ctx: typer.Context, incomplete: str) -> Names:
    """Of the module that was named before."""
    # Before an option that still lacks its value the parser has not got as far as to name the arguments.
    module = ctx.params.get("module") or next(iter(ctx.args), None)
    if not module:
        return []
    path = f"/modules/{quote(str(module), safe='')}/releases"
    return _asked(ctx, incomplete, path, "version", lambda each: f"published {_day(each.get('createdAt'))}")


def environments(ctx: typer.Context, incomplete: str) -> Names:
    return _asked(ctx, incomplete, "/environments", "name", lambda each: f"{each.get('strategy')}")


def nodes(ctx: typer.Context, incomplete: str) -> Names:
    told = lambda each: f"{each.get('environment')}, {each.get('status')}"  # noqa: E731 - as its neighbours have it
    return _asked(ctx, incomplete, "/nodes", "hostname", told)


def deployments(ctx: typer.Context, incomplete: str) -> Names:
    """The newest ones."""
    return _asked(ctx, incomplete, "/deployments", "executionId", _deployment, _MOST_DEPLOYMENTS)


def approvals(ctx: typer.Context, incomplete: str) -> Names:
    """Deployments that wait for an approval."""
    told = lambda each: _deployment({**each, "status": "waits for approval"})  # noqa: E731 - as its neighbours have it
    return _asked(ctx, incomplete, "/approvals/pending", "deploymentExecutionId", told, _MOST_DEPLOYMENTS)


def servers(ctx: typer.Context, incomplete: str) -> Names:
    """From the configuration file; nobody is asked."""
    try:
        named = invocation(ctx).configuration.servers
    except CliError:
        return []
    return [(name, _UNSAFE.sub("", server.url)) for name, server in named.items() if name.startswith(incomplete)]


def users(ctx: typer.Context, incomplete: str) -> Names:
    """Who is no Admin sees none."""
    return _asked(ctx, incomplete, "/users", "username", lambda each: ", ".join(map(str, each.get("roles") or ())))


def tokens(ctx: typer.Context, incomplete: str) -> Names:
    """One's own, by name."""
    path = "/authentication/tokens"
    return _asked(ctx, incomplete, path, "name", lambda each: f"until {_day(each.get('expiresAt')) or 'no end'}")


def keys(ctx: typer.Context, incomplete: str) -> Names:
    return _asked(ctx, incomplete, "/keys", "keyId", lambda each: f"{each.get('name')}")


def _deployment(each: Mapping[str, Any]) -> str:
    return " ".join(str(each.get(word)) for word in ("moduleName", "version", "targetEnvironment", "status"))


def _asked(
    ctx: typer.Context,
    incomplete: str,
    path: str,
    name: str,
    told: Callable[[Mapping[str, Any]], str],
    most: int = _MOST,
) -> Names:
    """`name` and explanation of every item below `path` that begins so."""
    from app.cli.client import Client  # its import is this machine's time, not the server's

    run = invocation(ctx)
    found = _in_time(lambda: _items(run, path, most, Client))
    names = ((str(each.get(name)), told(each)) for each in found)
    return [
        (word, _UNSAFE.sub("", text)) for word, text in names if word.startswith(incomplete) and _SAFE.fullmatch(word)
    ]


def _items(run: Invocation, path: str, most: int, connect: type[Client]) -> list[Mapping[str, Any]]:
    configuration = run.configuration
    if run.connect is not None:
        return list(run.connect(configuration).pages(path, most=most))
    session = None if configuration.token else configuration.sessions.get(configuration.account)
    client = connect(configuration, AsItIs(configuration.token or (session.token if session else None)))
    return list(client.pages(path, most=most))


def _in_time(ask: Callable[[], list[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """What `ask` gives within TIME_LIMIT, else nothing; the thread that still waits then ends with the process."""
    found: list[Mapping[str, Any]] = []

    def keep() -> None:
        try:
            found.extend(ask())
        except (CliError, ValueError, AttributeError):
            return  # also an answer of what is no HotSwap server

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    thread.join(TIME_LIMIT)
    return [] if thread.is_alive() else found


def _day(time: object) -> str:
    return str(time or "")[:10]
