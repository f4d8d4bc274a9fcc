"""Who we say we are: an API token, a name and password from the environment, or the login that is kept in a file.

Each source gives a bearer token, and another one once the server does not take it any more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from app.cli.configuration import Configuration
from app.cli.errors import CliError, NotLoggedIn, Refused, UsageProblem
from app.cli.kept_logins import Account, Session
from app.cli.sessions import SessionFile

# POST without a token: path below the API and JSON body -> JSON answer. Raises CliError.
Post = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
_EARLY = timedelta(seconds=30)


class Credentials(Protocol):
    def token(self, post: Post) -> str:
        """A token that is probably valid. Raises NotLoggedIn, or what `post` raises."""
        ...

    def renewed(self, post: Post, refused: str, why: NotLoggedIn | None = None) -> str:
        """Another token after the server refused one. Raises NotLoggedIn when there is none to be had.

        `why` is the server's answer to the refused one, None where it was not asked.
        """
        ...


def credentials(configuration: Configuration, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Credentials:
    """The first of: `HOTSWAP_TOKEN`, `HOTSWAP_USERNAME` with `HOTSWAP_PASSWORD`, the kept login.

    Raises UsageProblem for a token that cannot be one.
    """
    if configuration.token:
        return ApiToken(_usable(configuration.token))
    if configuration.username and configuration.password:
        return PasswordLogin(configuration.username, configuration.password)
    return KeptLogin(configuration.sessions, configuration.account, now)


def _usable(token: str) -> str:
    """Without what a file leaves around it. Raises UsageProblem, which repeats nothing of it, for what is no token.

    A header with such a character is refused by the HTTP library with the header's value in its message.
    """
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageProblem("HOTSWAP_TOKEN has a character that no token has")
    return token


def log_in(post: Post, username: str, password: str) -> Session:
    """A new session. Raises NotLoggedIn when the server does not take the name and password, or locked the name."""
    try:
        answer = post("/authentication/login", {"username": username, "password": password})
    except (NotLoggedIn, Refused) as error:
        if error.status in (401, 423, 429):
            raise NotLoggedIn(f"cannot log in as {username}: {error}", problem=error.problem) from None
        raise
    return session_of(answer, username)


def session_of(answer: Mapping[str, Any], username: str) -> Session:
    """The session in an answer to a log-in or a renewal. Raises NotLoggedIn for an answer without a token."""
    token = answer.get("token")
    if not isinstance(token, str) or not token:
        raise NotLoggedIn("the server's answer to the log-in holds no token: is the URL that of a HotSwap server?")
    user = answer.get("user")
    name = user.get("username") if isinstance(user, Mapping) else None
    refresh, expires = answer.get("refreshToken"), answer.get("expiresAt")
    return Session(
        username=name if isinstance(name, str) else username,
        token=token,
        refresh_token=refresh if isinstance(refresh, str) else None,
        expires_at=expires if isinstance(expires, str) else None,
    )


class ApiToken:
    """A token from the environment; there is no other one."""

    def __init__(self, token: str) -> None:
        self._token = token

    def token(self, post: Post) -> str:
        return self._token

    def renewed(self, post: Post, refused: str, why: NotLoggedIn | None = None) -> str:
        given = why is not None and why.problem is not None
        reason = str(why) if given else "it is wrong, revoked or expired, or its user is disabled"
        raise NotLoggedIn(
            f"the server does not accept the token in HOTSWAP_TOKEN: {reason}",
            problem=why.problem if why is not None else None,
            status=why.status if why is not None else None,
        )


class PasswordLogin:
    """Logs in when a token is first needed, and again when it has expired; nothing is kept on disk."""

    def __init__(self, username: str, password: str) -> None:
        self._username, self._password = username, password
        self._token: str | None = None

    def token(self, post: Post) -> str:
        if self._token is None:
            self._token = log_in(post, self._username, self._password).token
        return self._token

    def renewed(self, post: Post, refused: str, why: NotLoggedIn | None = None) -> str:
        if self._token == refused:
            self._token = None
        return self.token(post)


class KeptLogin:
    """The login of `hotswap login`, renewed shortly before its token expires and when the server refuses it."""

    def __init__(self, sessions: SessionFile, account: Account, now: Callable[[], datetime]) -> None:
        self._sessions, self._account, self._now = sessions, account, now

    def token(self, post: Post) -> str:
        session = self._sessions.get(self._account)
        if session is None:
            raise NotLoggedIn(
                f"not logged in to {self._told()}: run `{self._command()}`, or set HOTSWAP_TOKEN"
            )
        if session.refresh_token and self._expires_soon(session):
            return self.renewed(post, session.token)
        return session.token

    def renewed(self, post: Post, refused: str, why: NotLoggedIn | None = None) -> str:
        with self._sessions.locked():
            session = self._sessions.get(self._account)
            if session is not None and session.token != refused:
                return session.token  # another command was faster
            if session is None or not session.refresh_token:
                raise NotLoggedIn(self._ended(), problem=why.problem if why is not None else None)
            try:
                answer = post("/authentication/refresh", {"refreshToken": session.refresh_token})
            except CliError as error:
                if error.status in (400, 401, 403, 422):
                    raise NotLoggedIn(self._ended(), problem=error.problem, status=error.status) from None
                raise
            renewed = session_of(answer, session.username)
            if renewed.refresh_token is None:
                kept = session.refresh_token
                renewed = Session(renewed.username, renewed.token, kept, renewed.expires_at)
            self._sessions.renew_locked(self._account, renewed)
            return renewed.token

    def _ended(self) -> str:
        return f"the login to {self._told()} has ended: run `{self._command()}` again"

    def _told(self) -> str:
        name = self._account.name
        return self._account.url if name is None else f"{name} ({self._account.url})"

    def _command(self) -> str:
        return "hotswap login" if self._account.name is None else f"hotswap login --server {self._account.name}"

    def _expires_soon(self, session: Session) -> bool:
        try:
            expires = datetime.fromisoformat(session.expires_at or "")
        except ValueError:
            return False
        if expires.tzinfo is None:
            return False
        return expires - self._now() < _EARLY
