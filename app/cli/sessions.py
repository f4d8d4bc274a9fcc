"""The logins that `hotswap login` keeps, at the end of the configuration file (mode 0600).

What a person wrote above the marker line stays as it is. Several commands may run at once, and the server takes each
refresh token only once: so tokens are renewed under a lock (flock on a file beside it), by whoever comes first, and the
others find the new ones there. The file is replaced whole, never written in place.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.cli.errors import UsageProblem

MARKER = "# --- kept by `hotswap login`: what is changed below this line is lost ---"
_LOCK_LIMIT = 60.0  # seconds; a renewal of tokens takes at most two calls


@dataclass(frozen=True, slots=True)
class Session:
    """A login to one server. `expires_at` is RFC 3339, when `token` ends."""

    username: str
    token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: str | None = None


class SessionFile:
    """Reads are of the file as it is now; nothing is kept in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def latest_url(self) -> str | None:
        """The server of the last login."""
        url = self._login().get("url")
        return url if isinstance(url, str) else None

    def get(self, url: str) -> Session | None:
        """The login to a server, or None."""
        return _session(self._sessions().get(url))

    def put(self, url: str, session: Session) -> None:
        """Keep a login and make its server the latest. Raises UsageProblem when the file cannot be written."""
        with self.locked():
            self.put_locked(url, session)

    def put_locked(self, url: str, session: Session, *, latest: bool = True) -> None:
        """As `put`, for who holds the lock. A renewal leaves which server is the latest as it is."""
        self._write(url if latest else self.latest_url(), {**self._parsed(), url: session})

    def remove(self, url: str) -> None:
        """Forget a login."""
        with self.locked():
            kept = self._parsed()
            kept.pop(url, None)
            latest = self.latest_url()
            self._write(None if latest == url else latest, kept)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock. Raises UsageProblem when the folder cannot be used."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageProblem(f"cannot keep a login in {self.path.parent}: {error.strerror}") from None
        try:
            self._wait_for(lock)
            yield
        finally:
            os.close(lock)

    def _wait_for(self, lock: int) -> None:
        deadline = time.monotonic() + _LOCK_LIMIT
        while True:
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    held = "another hotswap command holds it for too long"
                    raise UsageProblem(f"cannot lock {self.path.with_suffix('.lock')}: {held}") from None
                time.sleep(0.05)

    def _text(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise UsageProblem(f"cannot read {self.path}: {error}") from None

    def _login(self) -> Mapping[str, Any]:
        try:
            login = tomllib.loads(self._text()).get("login", {})
        except tomllib.TOMLDecodeError as error:
            raise UsageProblem(f"{self.path} is not TOML: {error}") from None
        return login if isinstance(login, Mapping) else {}

    def _sessions(self) -> Mapping[str, Any]:
        sessions = self._login().get("sessions", {})
        return sessions if isinstance(sessions, Mapping) else {}

    def _parsed(self) -> dict[str, Session]:
        parsed = {url: _session(value) for url, value in self._sessions().items()}
        return {url: session for url, session in parsed.items() if session is not None}

    def _write(self, latest: str | None, sessions: Mapping[str, Session]) -> None:
        own = self._text().partition(MARKER)[0].rstrip()
        lines = [own, ""] if own else []
        lines += [MARKER, "[login]"]
        if latest is not None:
            lines.append(f"url = {_quoted(latest)}")
        for url, session in sessions.items():
            lines += ["", f"[login.sessions.{_quoted(url)}]", f"username = {_quoted(session.username)}"]
            lines.append(f"token = {_quoted(session.token)}")
            if session.refresh_token:
                lines.append(f"refresh_token = {_quoted(session.refresh_token)}")
            if session.expires_at:
                lines.append(f"expires_at = {_quoted(session.expires_at)}")
        target = self.path.resolve()  # a link stays a link
        new = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
                file.write("\n".join(lines) + "\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(target)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise UsageProblem(f"cannot write {self.path}: {error.strerror}") from None


def _session(value: object) -> Session | None:
    if not isinstance(value, Mapping):
        return None
    texts = {key: text for key, text in value.items() if isinstance(text, str)}
    if "token" not in texts:
        return None
    return Session(texts.get("username", ""), texts["token"], texts.get("refresh_token"), texts.get("expires_at"))


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's too, but for the surrogate pairs that ASCII output would need."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
