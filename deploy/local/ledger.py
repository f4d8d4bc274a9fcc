"""What this stack has started, on disk, so that whoever comes after a kill -9 finds it.

Each child writes its own record after the fork and before it becomes the service. Until then it still holds the data
folder's lock, which it inherited and which its exec closes: so nobody can take the lock while a child is unrecorded.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from deploy.local.processes import ProcessKey, key_of

MARKER = "HOTSWAP_STACK"  # environment variable of every child: the id of its data folder


@dataclass(frozen=True)
class Record:
    """A process that was started as the service `name`."""

    name: str
    key: ProcessKey


class Ledger:
    """A folder with one small file for each service."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def enter(self, name: str) -> None:
        """Record the calling process; to be called by the child itself. Whole or not at all, by a rename."""
        key = key_of(os.getpid())
        if key is None:
            raise OSError("/proc is not readable")
        new = self._folder / f".{name}.{key.pid}"
        new.write_text(json.dumps({"boot": key.boot, "pid": key.pid, "started": key.started}))
        new.rename(self._path(name))

    def strike(self, name: str) -> None:
        """Forget a service that has ended."""
        self._path(name).unlink(missing_ok=True)

    def records(self) -> list[Record]:
        """All that were entered and not struck. An unreadable file is none: it was never renamed into place."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                fields = json.loads(path.read_text())
                key = ProcessKey(str(fields["boot"]), int(fields["pid"]), int(fields["started"]))
            except (ValueError, KeyError, TypeError, OSError):
                continue
            found.append(Record(path.stem, key))
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"
