"""As whom a server runs that refuses to run as root.

PostgreSQL does not start with effective uid 0. Inside a user namespace in which our uid is called `nobody` it does, and
keeps root's right to reach a data folder below a folder that only root may enter. Where the kernel or a container's
rules forbid user namespaces, the server runs as the real `nobody`, to whom its folder is given.
"""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from deploy.local.errors import StackError

NOBODY = 65534


class IdentityError(StackError):
    """Neither a user namespace nor a change of user works here. The text says what to do."""


@dataclass(frozen=True)
class Identity:
    """How to start an unprivileged server: `prefix` goes before its command, `owner` (uid) must own its files."""

    prefix: tuple[str, ...] = ()
    owner: int | None = None

    def give(self, folder: Path) -> None:
        """Hand a folder and what is in it to the server, where it runs as another user than we do."""
        if self.owner is None:
            return
        for parent, _, files in os.walk(folder):
            os.chown(parent, self.owner, self.owner)
            for name in files:
                os.chown(Path(parent) / name, self.owner, self.owner, follow_symlinks=False)


def _answers(command: list[str], cwd: Path) -> bool:
    try:
        done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@lru_cache(maxsize=8)
def unprivileged(program: Path, folder: Path) -> Identity:
    """The identity under which `program` (asked for its --version) runs and reaches `folder`, which must exist.

    Raises IdentityError when we are root and no way was found.
    """
    if os.geteuid() != 0:
        return Identity()
    reach = ["/bin/sh", "-c", 'cd "$1" && exec "$2" --version', "sh", str(folder), str(program)]
    namespace = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
    if shutil.which(namespace[0]) and _answers([*namespace, *reach], Path("/")):
        return Identity(prefix=namespace)
    for user in _others(folder):
        change = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
        if shutil.which(change[0]) and _answers([*change, *reach], Path("/")):
            return Identity(prefix=change, owner=user)
    raise IdentityError(
        "PostgreSQL does not run as root, and here neither user namespaces nor a change to another user let it reach "
        f"{folder}: start as an ordinary user, or choose a data folder that others may enter with --data-dir"
    )


def _others(folder: Path) -> list[int]:
    """Users who may be able to reach `folder`: whoever owns a folder above it, then nobody."""
    owners = [parent.stat().st_uid for parent in folder.parents]
    known = [uid for uid in dict.fromkeys(owners) if uid not in (0, NOBODY) and _is_user(uid)]
    return [*known, NOBODY]


def _is_user(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
