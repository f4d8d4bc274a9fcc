"""What this machine can do for a sandbox. Pure: `probe` fills it in by trying."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Everything was tried as the user we are: as root directly, else inside a new user namespace.

    `root` means: may become any other user. `proc_mount`: a /proc of a new pid namespace can be mounted. `landlock` is
    the version of its interface, 0 without. `cgroup` is a cgroup (v2) folder in which groups can be made, "" without,
    and `cgroup_controllers` what can be limited there, out of pids and memory.
    """

    root: bool = False
    user_namespace: bool = False
    mount_namespace: bool = False
    pid_namespace: bool = False
    network_namespace: bool = False
    proc_mount: bool = False
    seccomp: bool = False
    landlock: int = 0
    cgroup: str = ""
    cgroup_controllers: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Capabilities:
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        values["cgroup_controllers"] = tuple(values.get("cgroup_controllers", ()))
        return cls(**values)
