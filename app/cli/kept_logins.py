"""What `hotswap login` keeps, as values: logins, named servers, and the default. Pure: from TOML and back.

    [login]
    server = "prod"                              # the default: a name, or
    url = "https://hotswap.example.com"          # the server of the last login, where that has no name
    [login.sessions."https://lab.example.com"]   # a login to a server without a name
    [login.servers."prod"]                       # a named server, with its login while there is one

Files of versions without named servers have `url` and `sessions` only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

_SERVER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def is_server_name(text: str) -> bool:
    """Whether a server may be called so: nothing that could be taken for a URL or an option."""
    return _SERVER_NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Session:
    """A login to one server. `expires_at` is RFC 3339, when `token` ends."""

    username: str
    token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Whose login it is: that of a URL, or that of a named server (several may have one URL)."""

    url: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class KeptServer:
    """A named server; `session` None: not logged in."""

    url: str
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class KeptLogins:
    """All of it. `default_name` comes before `default_url`."""

    default_url: str | None = None
    default_name: str | None = None
    sessions: Mapping[str, Session] = field(default_factory=dict)
    servers: Mapping[str, KeptServer] = field(default_factory=dict)

    def session(self, account: Account) -> Session | None:
        """The login of an account."""
        if account.name is None:
            return self.sessions.get(account.url)
        server = self.servers.get(account.name)
        return server.session if server is not None and server.url == account.url else None

    def with_session(self, account: Account, session: Session | None) -> KeptLogins:
        """With another login of that account, or with none; a named server stays known without one."""
        if account.name is not None:
            return replace(self, servers={**self.servers, account.name: KeptServer(account.url, session)})
        kept = {url: each for url, each in self.sessions.items() if url != account.url}
        return replace(self, sessions=kept if session is None else {**kept, account.url: session})

    def with_default(self, account: Account) -> KeptLogins:
        """With that account as what commands without a server mean."""
        url = account.url if account.name is None else None
        return replace(self, default_url=url, default_name=account.name)

    def without_server(self, name: str) -> KeptLogins:
        """Without a named server."""
        kept = {each: server for each, server in self.servers.items() if each != name}
        return replace(self, servers=kept, default_name=None if self.default_name == name else self.default_name)


def read_logins(file: Mapping[str, Any]) -> KeptLogins:
    """Of the whole file's content; what is not as we write it is left out."""
    login = _table(file.get("login"))
    servers = _table(login.get("servers"))
    return KeptLogins(
        default_url=_text(login.get("url")),
        default_name=_text(login.get("server")),
        sessions={url: each for url, value in _table(login.get("sessions")).items() if (each := _session(value))},
        servers={
            name: KeptServer(url, _session(value))
            for name, value in servers.items()
            if is_server_name(name) and (url := _text(_table(value).get("url")))
        },
    )


def written(logins: KeptLogins) -> Iterator[str]:
    """The lines of it, in TOML."""
    yield "[login]"
    if logins.default_name is not None:
        yield f"server = {_quoted(logins.default_name)}"
    elif logins.default_url is not None:
        yield f"url = {_quoted(logins.default_url)}"
    for url, session in logins.sessions.items():
        yield from ("", f"[login.sessions.{_quoted(url)}]", *_written(session))
    for name, server in logins.servers.items():
        yield from ("", f"[login.servers.{_quoted(name)}]", f"url = {_quoted(server.url)}")
        if server.session is not None:
            yield from _written(server.session)


def _written(session: Session) -> Iterator[str]:
    yield f"username = {_quoted(session.username)}"
    yield f"token = {_quoted(session.token)}"
    if session.refresh_token:
        yield f"refresh_token = {_quoted(session.refresh_token)}"
    if session.expires_at:
        yield f"expires_at = {_quoted(session.expires_at)}"


def _session(value: object) -> Session | None:
    texts = {key: text for key, text in _table(value).items() if isinstance(text, str)}
    if "token" not in texts:
        return None
    return Session(texts.get("username", ""), texts["token"], texts.get("refresh_token"), texts.get("expires_at"))


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's too, but for the surrogate pairs that ASCII output would need."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
