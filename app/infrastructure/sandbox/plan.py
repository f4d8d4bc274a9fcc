"""A plan: every decision about one run, made before anything is started, and handed to the supervisor as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any


class Identity(StrEnum):
    """As whom the command runs."""

    DEDICATED = "dedicated user"
    NAMESPACE = "user namespace"
    SAME = "same user"


class Sockets(StrEnum):
    """What the system call filter lets socket(2) make."""

    ANY = "any"
    LOCAL_AND_INTERNET = "local and internet"
    ONLY_UNIX = "only unix"
    NO_UNIX = "no unix"
    PAIRS = "only pairs"


class Proc(StrEnum):
    """What /proc shows."""

    OWN = "own"
    EMPTY = "empty"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Plan:
    """Flat and made of plain values, since it crosses a pipe. Paths are strings, as the file system names them."""

    command: tuple[str, ...]
    workspace: str
    folder: str
    readable: tuple[str, ...]
    environment: dict[str, str]
    scratch: str
    identity: Identity
    mount_namespace: bool
    pid_namespace: bool
    network_namespace: bool
    proc: Proc
    seccomp: bool
    sockets: Sockets
    landlock: int
    cgroup: str
    cgroup_controllers: tuple[str, ...]
    wall_seconds: float
    grace_seconds: float
    cpu_seconds: float
    memory_bytes: int
    processes: int
    file_bytes: int
    open_files: int
    disk_bytes: int
    files: int
    scratch_bytes: int

    @property
    def reaches_network(self) -> bool:
        return not self.network_namespace and self.sockets not in (Sockets.ONLY_UNIX, Sockets.PAIRS)

    @property
    def shares_user(self) -> bool:
        """Whether the command could reach processes of ours as their own user."""
        return self.identity is not Identity.DEDICATED and not self.pid_namespace

    def dumps(self) -> bytes:
        """One line of JSON; names that are not UTF-8 survive as surrogate escapes."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"

    @classmethod
    def loads(cls, line: bytes) -> Plan:
        data: dict[str, Any] = json.loads(line)
        values = {field.name: data[field.name] for field in fields(cls)}
        for name in ("command", "readable", "cgroup_controllers"):
            values[name] = tuple(values[name])
        values.update(
            identity=Identity(values["identity"]), sockets=Sockets(values["sockets"]), proc=Proc(values["proc"])
        )
        return cls(**values)
