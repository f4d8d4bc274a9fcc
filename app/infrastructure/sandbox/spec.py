"""What is asked of the sandbox, and what it answers. Pure: no I/O."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

MIB = 1024 * 1024


class SandboxRefused(Exception):
    """This machine cannot give what is asked; nothing was started. The text is one sentence for a person."""


class SandboxBroken(Exception):
    """The sandbox itself failed (not the command in it): its text says where. Nothing of the command is left."""


class Network(StrEnum):
    """`build.network` of the policy."""

    NONE = "none"
    ALLOWED = "allowed"


class Claim(StrEnum):
    """What an isolation can hold. A caller requires those that it cannot do without."""

    NETWORK = "no network"
    FILES = "our files out of reach"
    SOCKETS = "our sockets out of reach"
    PROCESSES = "memory and environment of our processes out of reach"
    SIGNALS = "our processes safe from its signals"
    ENDING = "nothing outlives the run, even when its supervisor is killed"


class Limit(StrEnum):
    """What ended a run that did not end by itself."""

    WALL = "wall time"
    CPU = "CPU time"
    MEMORY = "memory"
    PROCESSES = "processes"
    FILE_SIZE = "size of one file"
    DISK = "disk"
    FILES = "number of files"
    DEPTH = "depth of folders"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds. All bounds hold for the whole run, unless one process or file is named.

    `processes` counts threads too where the kernel does the counting. `disk_bytes` and `files` bound what is added to
    the folders that may be written; `scratch_bytes` what /tmp, HOME and /dev/shm hold together, where they are a file
    system of their own in memory. `grace_seconds` lie between SIGTERM and SIGKILL once the wall time is used up.
    """

    wall_seconds: float = 600.0
    cpu_seconds: float = 1200.0
    memory_bytes: int = 2048 * MIB
    processes: int = 512
    file_bytes: int = 1024 * MIB
    open_files: int = 1024
    disk_bytes: int = 2048 * MIB
    files: int = 100_000
    scratch_bytes: int = 256 * MIB
    log_head_bytes: int = MIB
    log_tail_bytes: int = MIB
    grace_seconds: float = 2.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            least = 0 if name in ("grace_seconds", "log_head_bytes", "log_tail_bytes") else 1e-3
            if not least <= value < 2**62:
                raise ValueError(f"{name} must be positive and finite, not {value!r}")


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """One foreign command.

    `workspace` is the folder it works in and may write; it is kept. Where a mount namespace is to be had, the command
    sees it as /workspace, so that builds do not depend on its path. `folder` is where in it the command starts.
    `readable` are further paths it may read (tool chains outside /usr), under the same name inside and outside.
    `environment` is all that it gets, besides PATH, HOME, TMPDIR, USER, LOGNAME and LANG.
    """

    command: tuple[str, ...]
    workspace: Path
    folder: str = "."
    readable: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    network: Network = Network.NONE
    require: frozenset[Claim] = frozenset()

    def __post_init__(self) -> None:
        if not self.command or not self.command[0]:
            raise ValueError("a command needs at least a program")
        if not all(map(_can_be_passed, (*self.command, *self.environment, *self.environment.values(), self.folder))):
            raise ValueError("no part of a command or its environment may hold a NUL or half of a surrogate pair")
        if any(not name or "=" in name for name in self.environment):
            raise ValueError("names in the environment may be neither empty nor contain '='")
        if not self.workspace.is_absolute() or not all(path.is_absolute() for path in self.readable):
            raise ValueError("workspace and readable paths must be absolute")
        if self.folder.startswith("/") or ".." in self.folder.split("/"):
            raise ValueError("the folder to start in must lie within the workspace")


def _can_be_passed(text: str) -> bool:
    """Whether it has a form in bytes, without a NUL; bytes that are not UTF-8 are among those (surrogate escapes)."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


@dataclass(frozen=True, slots=True)
class Isolation:
    """By what each claim is held, in words; it goes into the stage and the attestation. `lacks` is what is not held."""

    user: str
    files: str
    processes: str
    network: str
    ending: str
    process_limit: str
    memory_limit: str
    disk_limit: str
    system_calls: str
    lacks: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """camelCase, for stage and attestation."""
        words = {"process_limit": "processLimit", "memory_limit": "memoryLimit", "disk_limit": "diskLimit"}
        words["system_calls"] = "systemCalls"
        named = {words.get(name, name): getattr(self, name) for name in self.__slots__ if name != "lacks"}
        return {**named, "lacks": list(self.lacks)}


@dataclass(frozen=True, slots=True)
class SandboxOutcome:
    """How a run ended: by itself (`limit` None) with an exit code or a signal, or ended by us at a limit.

    Times in seconds, `peak_memory_bytes` the highest sum of resident memory that was seen (by looking ten times a
    second; None for runs that ended before the first look). `left_out_bytes` of output are not in the log.
    """

    exit_code: int | None
    signal: int | None
    limit: Limit | None
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int | None
    output_bytes: int
    left_out_bytes: int
    isolation: Isolation

    @property
    def succeeded(self) -> bool:
        return self.exit_code == 0 and self.limit is None

    def sentence(self) -> str:
        """How it ended, for a person."""
        if self.limit is Limit.CANCELLED:
            return f"cancelled after {self.seconds:.1f} s"
        if self.limit is not None:
            return f"ended after {self.seconds:.1f} s: its limit of {self.limit.value} was reached"
        if self.signal is not None:
            return f"ended by {signal_name(self.signal)} after {self.seconds:.1f} s"
        return f"ended with exit code {self.exit_code} after {self.seconds:.1f} s"


def signal_name(number: int) -> str:
    """SIGSEGV for 11; real-time signals by their number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
