"""Bounds on what a process and all it starts may use: a cgroup where one can be made, else resource limits.

RLIMIT_AS is not used: it counts address space, of which some runtimes reserve gigabytes. RLIMIT_DATA counts private
writable memory, per process. RLIMIT_NPROC counts all processes of the uid and does not bind root.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent.holder.protocol import Limits, LimitsBy

_ROOT = Path("/sys/fs/cgroup")
_FILES = {
    LimitsBy.CGROUP2: {"memory": "memory.max", "pids": "pids.max"},
    LimitsBy.CGROUP1: {"memory": "memory.limit_in_bytes", "pids": "pids.max"},
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How the limits of one process are put on: folders to enter, or resource limits set in the child."""

    by: LimitsBy
    folders: tuple[Path, ...]
    limits: Limits

    def enter(self) -> None:
        """In the child, still with the holder's rights. Raises OSError."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text("0")
        if self.limits.open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.limits.open_files, self.limits.open_files))
        if self.by is LimitsBy.RLIMIT:
            if self.limits.memory_bytes is not None:
                resource.setrlimit(resource.RLIMIT_DATA, (self.limits.memory_bytes, self.limits.memory_bytes))
            if self.limits.processes is not None:
                resource.setrlimit(resource.RLIMIT_NPROC, (self.limits.processes, self.limits.processes))

    def remove(self) -> None:
        """After the end of all of it; a folder with processes left in it stays."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


def bounds(name: str, limits: Limits) -> Bounds:
    """Makes the cgroup `name` below our own where that is possible."""
    wanted = {"memory": limits.memory_bytes, "pids": limits.processes}
    values = {controller: str(value) for controller, value in wanted.items() if value is not None}
    if not values:
        return Bounds(LimitsBy.NOTHING, (), limits)
    for by, parents in ((LimitsBy.CGROUP2, _version_2(values.keys())), (LimitsBy.CGROUP1, _version_1(values.keys()))):
        folders = _make(name, by, parents, values)
        if folders:
            return Bounds(by, folders, limits)
    return Bounds(LimitsBy.RLIMIT, (), limits)


def of_folders(by: LimitsBy, folders: tuple[Path, ...]) -> Bounds:
    """The bounds of a process that an earlier holder started, to be removed after its end."""
    return Bounds(by, folders, Limits())


def _own_paths() -> dict[str, str]:
    """Controller -> our path, from /proc/self/cgroup; version 2 has the empty name."""
    paths = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _version_2(controllers: Iterable[str]) -> dict[str, Path]:
    """The folder that new groups can be made in: ours, when its children get the controllers."""
    path = _own_paths().get("")
    if path is None:
        return {}
    folder = _ROOT / path.lstrip("/")
    names = sorted(controllers)
    try:
        given = set((folder / "cgroup.subtree_control").read_text().split())
        if not set(names) <= given:
            (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in names))
    except OSError:  # no such file system, not ours, or processes of ours in an inner group (EBUSY)
        return {}
    return dict.fromkeys(names, folder)


def _version_1(controllers: Iterable[str]) -> dict[str, Path]:
    paths = _own_paths()
    folders = {}
    for name in controllers:
        folder = _ROOT / name / paths.get(name, "").lstrip("/")
        if name not in paths or not os.access(folder, os.W_OK):
            return {}
        folders[name] = folder
    return folders


def _make(name: str, by: LimitsBy, parents: dict[str, Path], values: dict[str, str]) -> tuple[Path, ...]:
    made: list[Path] = []
    try:
        for controller, parent in parents.items():
            folder = parent / name
            if folder not in made:
                folder.mkdir()
                made.append(folder)
            (folder / _FILES[by][controller]).write_text(values[controller])
    except OSError:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        return ()
    return tuple(made)
