"""A control group (cgroup v2) of its own for one run: counts and memory bounded by the kernel, ended at a stroke.

Where we may make one is found by making one. The folder of our own process serves, or the one above it when it was
delegated to us (systemd's Delegate=, which marks it), since limits can only be set where no process sits above.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

CONTROLLERS = ("pids", "memory")
_PREFIX = "hotswap-"
_EMPTY_WITHIN = 5.0


class Group:
    """One run's group. `enter` is called by the process that is to be in it."""

    def __init__(self, parent: str) -> None:
        self.folder = Path(parent) / f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
        self.folder.mkdir()

    def limit(self, controllers: Iterable[str], processes: int, memory_bytes: int) -> None:
        if "pids" in controllers:
            _write(self.folder / "pids.max", str(processes))
        if "memory" in controllers:
            _write(self.folder / "memory.max", str(memory_bytes))
            for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
                with contextlib.suppress(OSError):
                    _write(self.folder / name, value)

    def enter(self) -> None:
        _write(self.folder / "cgroup.procs", "0")

    def kill(self) -> None:
        """SIGKILL to all in it, whatever they fork meanwhile (Linux 5.14)."""
        _write(self.folder / "cgroup.kill", "1")

    def cpu_seconds(self) -> float:
        """Of all that ever ran in it, to the microsecond; kept for every group, whatever its controllers are."""
        try:
            lines = (self.folder / "cpu.stat").read_text().splitlines()
        except OSError:
            return 0.0
        return next((int(line.split()[1]) / 1e6 for line in lines if line.startswith("usage_usec ")), 0.0)

    def ran_out_of_memory(self) -> bool:
        try:
            lines = (self.folder / "memory.events").read_text().splitlines()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines)

    def close(self) -> None:
        """Ends what is left and takes the group away; a group that does not empty in time stays behind, empty-handed:
        its processes have been killed and hang in the kernel."""
        deadline = time.monotonic() + _EMPTY_WITHIN
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self.kill()
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.01)
            else:
                return


def _write(path: Path, text: str) -> None:
    """Into what is there; a group has its files from the start."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def usable() -> tuple[str, tuple[str, ...]]:
    """(folder in which groups can be made, what can be limited there); ("", ()) when there is none."""
    for folder in _candidates():
        for controller in CONTROLLERS:
            with contextlib.suppress(OSError):
                _write(folder / "cgroup.subtree_control", f"+{controller}")
        _remove_stale(folder)
        controllers = _tried(folder)
        if controllers is not None:
            return str(folder), controllers
    return "", ()


def _remove_stale(folder: Path) -> None:
    """Groups whose guardian and supervisor were killed together; one that is not empty cannot be removed."""
    with contextlib.suppress(OSError):
        for group in list(folder.glob(f"{_PREFIX}*-*")):
            guardian = group.name.removeprefix(_PREFIX).partition("-")[0]
            if guardian.isdigit() and not Path(f"/proc/{guardian}").exists():
                with contextlib.suppress(OSError):
                    group.rmdir()


def _tried(folder: Path) -> tuple[str, ...] | None:
    try:
        group = Group(str(folder))
    except OSError:
        return None
    try:
        if not _kills(group):
            return None
        return tuple(name for name in CONTROLLERS if (group.folder / f"{name}.max").exists())
    finally:
        group.close()


def _kills(group: Group) -> bool:
    child = os.fork()
    if child == 0:
        try:
            group.enter()
            signal.pause()
        finally:
            os._exit(1)
    try:
        deadline = time.monotonic() + _EMPTY_WITHIN
        while time.monotonic() < deadline:
            if str(child) in (group.folder / "cgroup.procs").read_text().split():
                group.kill()
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            if os.waitpid(child, os.WNOHANG)[0]:
                return False
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    except OSError:
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return False


def _candidates() -> list[Path]:
    mounted = _mounted_at()
    own = _own_path()
    if mounted is None or own is None:
        return []
    folder = mounted / own.lstrip("/")
    above = [folder.parent] if folder != mounted and _is_delegated(folder.parent) else []
    return [*above, folder]


def _is_delegated(folder: Path) -> bool:
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return os.geteuid() != 0 and folder.exists() and folder.stat().st_uid == os.geteuid()


def _mounted_at() -> Path | None:
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        if after.split(" ")[0] == "cgroup2":
            return Path(before.split(" ")[4])
    return None


def _own_path() -> str | None:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
