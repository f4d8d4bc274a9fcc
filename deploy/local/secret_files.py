"""Secrets that are made once and kept in files that only we may read."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from app.domain.accounts import password_faults
from deploy.local.errors import StackError

USERS = ("admin", "deployer", "approver", "viewer")


class PasswordError(StackError):
    """A given password is too weak."""


def write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600, whole or not at all, and on disk before it has its name."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def kept_secret(path: Path) -> str:
    """64 random hex digits, made at the first call and kept in `path`."""
    if not path.exists():
        write_private(path, secrets.token_hex(32).encode())
    return path.read_text().strip()


def passwords(environment: Mapping[str, str], kept: Path) -> dict[str, str]:
    """The users' passwords: given ones from HOTSWAP_<USER>_PASSWORD, the others generated once and kept in `kept`.

    Raises PasswordError for a given one that is too weak.
    """
    try:
        known = json.loads(kept.read_text())
    except (FileNotFoundError, ValueError):
        known = {}
    generated = {user: str(known[user]) for user in USERS if isinstance(known.get(user), str)}
    given = {user: value for user in USERS if (value := environment.get(f"HOTSWAP_{user.upper()}_PASSWORD"))}
    for user, value in given.items():
        _check(user, value)
    missing = [user for user in USERS if user not in given and user not in generated]
    if missing:
        generated.update({user: secrets.token_urlsafe(15) for user in missing})
    if missing or not kept.exists():
        write_private(kept, (json.dumps(generated, indent=2) + "\n").encode())
    return {**generated, **given}


def _check(user: str, password: str) -> None:
    for fault in password_faults(password, user):
        raise PasswordError(f"HOTSWAP_{user.upper()}_PASSWORD {fault}")
