"""The servers that have a name, and which one a command talks to.

Names come from two places: `[servers.NAME]` that a person wrote into the configuration file, and what `hotswap login
--name` keeps at its end. Where both know a name, the person's URL and key count, and the login is used if it is for
that URL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.cli.errors import UsageProblem
from app.cli.kept_logins import Account, KeptLogins, Session, is_server_name
from app.cli.server_url import checked_url

_KNOWN_KEYS = frozenset({"url", "signing_key"})


@dataclass(frozen=True, slots=True)
class NamedServer:
    """`written`: by a person, so that only a person may take it away."""

    name: str
    url: str
    session: Session | None
    signing_key: str | None = None
    written: bool = False


def named_servers(file: Mapping[str, Any], kept: KeptLogins, path: Path) -> dict[str, NamedServer]:
    """Every one by its name, in order. Raises UsageProblem for a table that is not as it should be."""
    tables = file.get("servers", {})
    if not isinstance(tables, Mapping):
        raise UsageProblem(f"{path}: servers must be tables like [servers.prod]")
    found = {name: NamedServer(name, server.url, server.session) for name, server in kept.servers.items()}
    for name, table in tables.items():
        url, key = _written(name, table, path)
        found[name] = NamedServer(name, url, kept.session(Account(url, name)), key, written=True)
    return dict(sorted(found.items()))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one place (flags, environment, file) says, if anything: a URL or a name."""

    where: str
    url: str | None = None
    name: str | None = None

    def __bool__(self) -> bool:
        return bool(self.url or self.name)


def wanted(where: str, url: str | None, name: str | None) -> Wanted:
    """Of one place. Raises UsageProblem when it says both."""
    if url and name:
        raise UsageProblem(f"{where} are both given: one is enough")
    return Wanted(where, url or None, name or None)


def choose(
    places: Iterable[Wanted], servers: Mapping[str, NamedServer], default: str
) -> tuple[str, NamedServer | None]:
    """The URL, and the named server if it is one, of the first place that says anything. Raises UsageProblem."""
    first = next(filter(None, places), Wanted("", default))
    if first.name is None:
        return checked_url(first.url or default), None
    server = servers.get(first.name)
    if server is None:
        known = f"there are {', '.join(servers)}" if servers else "none has a name yet"
        example = first.name if is_server_name(first.name) else "NAME"
        raise UsageProblem(f"there is no server {first.name!r} ({known}): hotswap login --name {example} --url URL")
    return server.url, server


def _written(name: str, table: object, path: Path) -> tuple[str, str | None]:
    if not is_server_name(name):
        raise UsageProblem(f"{path}: {name!r} cannot be a server's name: letters, digits, - and _")
    if not isinstance(table, Mapping) or not isinstance(table.get("url"), str):
        raise UsageProblem(f'{path}: [servers.{name}] needs a url = "https://..."')
    unknown = sorted(set(table) - _KNOWN_KEYS)
    if unknown:
        raise UsageProblem(f"{path}: [servers.{name}] has a setting that does not exist: {', '.join(unknown)}")
    key = table.get("signing_key")
    if key is not None and not isinstance(key, str):
        raise UsageProblem(f"{path}: signing_key of [servers.{name}] must be a text in quotes")
    try:
        return checked_url(table["url"]), key
    except UsageProblem as error:
        raise UsageProblem(f"{path}: [servers.{name}]: {error}") from None
