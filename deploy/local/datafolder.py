"""The folder that holds everything of one local stack, and the lock that makes its owner the only one.

lock             held (flock) by the supervisor; names it
id               marks the processes of this stack
secrets/         passwords and keys of our own services, mode 0600
credentials.json passwords of the users that were generated
keys/            development.key, .pub: the signing key that all environments trust; trusted/: what nodes trust
                 builder.key, .pub: with which we attest what we build; builders/: whose attestations nodes trust
tls/             the development CA, the orchestrator's certificate
nodes/           one folder for each node; agents/: their configuration files
postgres/ valkey/ artifacts/ beat/    data of the services
logs/            one file for each service, cut at a size
run/             the ledger of processes, metrics shared between processes; ports.json: chosen ports
"""

import fcntl
import os
import time
import uuid
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.processes import ProcessKey, key_of

_LOCK_WAIT = 5.0  # seconds for a child of a killed supervisor to be recorded, see ledger.py
_NEEDED_BYTES = 512 * 1024 * 1024


class DataFolderError(StackError):
    """The folder cannot be used."""


class DataFolder:
    """Paths in it. Making one makes the folders and takes the lock, which ends with the process.

    Raises DataFolderError when it is locked, not a folder, not writable, or its disk is full.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        try:
            # Root's servers may have to run as somebody else, who must be able to pass through to their folder.
            self.root.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            self._lock = self._take()
            for folder in ("secrets", "keys", "tls", "nodes", "agents", "artifacts", "beat", "logs", "run"):
                (self.root / folder).mkdir(mode=0o700, exist_ok=True)
            self.id = self._identify()
        except OSError as error:
            raise DataFolderError(
                f"cannot use {self.root} as data folder ({error.strerror}): choose another with --data-dir"
            ) from None
        free = os.statvfs(self.root).f_bavail * os.statvfs(self.root).f_frsize
        if free < _NEEDED_BYTES:
            raise DataFolderError(
                f"only {free // 1024**2} MB are free below {self.root}: free 512 MB, or choose another with --data-dir"
            )

    def path(self, *parts: str) -> Path:
        """A path in it."""
        return self.root.joinpath(*parts)

    def log(self, service: str) -> Path:
        """Where a service's output goes."""
        return self.path("logs", f"{service}.log")

    def _take(self) -> int:
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LOCK_WAIT
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = _parse(os.pread(descriptor, 200, 0))
                if (holder is not None and holder.is_alive()) or time.monotonic() > deadline:
                    who = f" (process {holder.pid})" if holder else ""
                    raise DataFolderError(
                        f"{self.root} is in use by another hotswap up{who}: stop that one, or choose another "
                        "folder with --data-dir"
                    ) from None
                time.sleep(0.02)
        mine = key_of(os.getpid())
        if mine is not None:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{mine.boot} {mine.pid} {mine.started}\n".encode(), 0)
        return descriptor

    def _identify(self) -> str:
        path = self.path("id")
        if not path.exists():
            new = path.with_suffix(".new")
            new.write_text(str(uuid.uuid4()))
            new.rename(path)
        return path.read_text().strip()


def _parse(line: bytes) -> ProcessKey | None:
    try:
        boot, pid, started = line.decode().split()
        return ProcessKey(boot, int(pid), int(started))
    except ValueError:
        return None
