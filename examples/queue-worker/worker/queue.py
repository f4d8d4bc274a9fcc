"""A queue in a folder: `new` -> `claimed` -> `done` or `failed`, each step one rename."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """A job that this process has claimed; `path` is where it is now."""

    name: str
    path: Path

    def read(self) -> bytes:
        """Its content."""
        return self.path.read_bytes()


class Queue:
    """Jobs are files; their names are the caller's and must be new."""

    def __init__(self, root: Path) -> None:
        self._folders = {name: root / name for name in ("new", "claimed", "done", "failed")}
        for folder in self._folders.values():
            folder.mkdir(parents=True, exist_ok=True)

    def claim(self) -> Job | None:
        """The oldest new job by name, now ours; None when there is none."""
        for path in sorted(self._folders["new"].iterdir()):
            claimed = self._folders["claimed"] / f"{os.getpid()}.{path.name}"
            try:
                path.rename(claimed)
            except FileNotFoundError:  # another worker was faster
                continue
            return Job(path.name, claimed)
        return None

    def finish(self, job: Job, result: bytes, well: bool) -> None:
        """Write the result and drop the claim; the result is whole or not there."""
        target = self._folders["done" if well else "failed"] / job.name
        fresh = job.path.with_name(job.path.name + ".result")
        fresh.write_bytes(result)
        fresh.replace(target)
        job.path.unlink()

    def take_back(self) -> int:
        """Put jobs of workers that are dead back into the queue; returns how many."""
        count = 0
        for path in self._folders["claimed"].iterdir():
            pid, _, name = path.name.partition(".")
            if not pid.isdigit() or _is_alive(int(pid)):
                continue
            if name.endswith(".result"):
                path.unlink(missing_ok=True)
                continue
            path.rename(self._folders["new"] / name)
            count += 1
        return count


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
