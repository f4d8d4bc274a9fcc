"""The file that keeps logins: the end of the configuration file (mode 0600).

What a person wrote above the marker line stays as it is. Several commands may run at once, and the server takes each
refresh token only once: so tokens are renewed under a lock (flock on a file beside it), by whoever comes first, and the
others find the new ones there. The file is replaced whole, never written in place.
"""

from __future__ import annotations

import fcntl
import os
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.cli.errors import UsageProblem
from app.cli.kept_logins import Account, KeptLogins, Session, read_logins, written

MARKER = "# --- kept by `hotswap login`: what is changed below this line is lost ---"
_LOCK_LIMIT = 60.0  # seconds; a renewal of tokens takes at most two calls


class SessionFile:
    """Reads are of the file as it is now; nothing is kept in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def logins(self) -> KeptLogins:
        """What is kept. Raises UsageProblem for a file that cannot be read."""
        try:
            return read_logins(tomllib.loads(self._text()))
        except tomllib.TOMLDecodeError as error:
            raise UsageProblem(f"{self.path} is not TOML: {error}") from None

    def get(self, account: Account) -> Session | None:
        """The login of an account, or None."""
        return self.logins().session(account)

    def put(self, account: Account, session: Session) -> None:
        """Keep a login and make its server the default. Raises UsageProblem when the file cannot be written."""
        self.change(lambda kept: kept.with_session(account, session).with_default(account))

    def renew_locked(self, account: Account, session: Session) -> None:
        """Keep other tokens of a login, for who holds the lock; the default stays what it is."""
        self._write(self.logins().with_session(account, session))

    def remove(self, account: Account) -> None:
        """Forget a login. A server without a name is then no default any more either."""

        def without(kept: KeptLogins) -> KeptLogins:
            left = kept.with_session(account, None)
            if account.name is None and kept.default_url == account.url:
                return KeptLogins(None, left.default_name, left.sessions, left.servers)
            return left

        self.change(without)

    def change(self, changed: Callable[[KeptLogins], KeptLogins]) -> None:
        """Replace what is kept by what is made of it, under the lock. Raises UsageProblem."""
        with self.locked():
            self._write(changed(self.logins()))

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
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise UsageProblem(f"cannot read {self.path}: {error}") from None

    def _write(self, logins: KeptLogins) -> None:
        own = self._text().partition(MARKER)[0].rstrip()
        lines = [*([own, ""] if own else []), MARKER, *written(logins)]
        target = self.path.resolve()  # a link stays a link
        new = target.with_name(f".{target.name}.new")  # the same for all: what a killed one left goes with the next
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
                file.write("\n".join(lines) + "\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(target)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise UsageProblem(f"cannot write {self.path}: {error.strerror}") from None
