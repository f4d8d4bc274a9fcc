"""Whether this node can carry a release: the `resources` of its manifest against what the node has.

Memory is the machine's, or less where a control group of ours (or one above it) allows less; processors are those that
we may run on; disk is what is free where the module keeps its data. It is looked at once, when a release comes to the
node: what is on disk already passed, so that a node can always go back to it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil

from agent.failures import FailureCode, OperationFailed
from agent.manifest import Resources

MIB = 1024**2
CONTROL_GROUPS = Path("/sys/fs/cgroup")


def check_resources(wanted: Resources, data: Path) -> None:
    """Raises `OperationFailed` (insufficient_resources), naming all of `wanted` that this node does not have.

    `data` is a folder where the module's data will be.
    """
    lacking = []
    if wanted.memory_mb is not None and wanted.memory_mb > (memory := memory_mb()):
        lacking.append(f"memoryMB {wanted.memory_mb} of {memory}")
    if wanted.cpu_cores is not None and wanted.cpu_cores > (cores := len(os.sched_getaffinity(0))):
        lacking.append(f"cpuCores {wanted.cpu_cores:g} of {cores}")
    if wanted.disk_mb is not None and wanted.disk_mb > (free := shutil.disk_usage(data).free // MIB):
        lacking.append(f"diskMB {wanted.disk_mb} of {free} free")
    if lacking:
        raise OperationFailed(
            FailureCode.INSUFFICIENT_RESOURCES, f"the release needs more than this node has: {', '.join(lacking)}"
        )


def memory_mb() -> int:
    """MiB that processes of this node may use together."""
    groups = Path("/proc/self/cgroup").read_text()
    return min([int(psutil.virtual_memory().total), *memory_limits(groups, CONTROL_GROUPS)]) // MIB


def memory_limits(groups: str, root: Path) -> list[int]:
    """Bytes allowed by each control group that we are in, of either version.

    `groups` is the text of /proc/self/cgroup. A group that is not mounted, as in many containers, is passed over: what
    is mounted at `root` then is the container's own.
    """
    found: list[int] = []
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, name = root, "memory.max"
        elif "memory" in controllers.split(","):
            top, name = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            try:
                limit = (folder / name).read_text().strip()
            except OSError:
                limit = "max"
            if limit != "max":
                found.append(int(limit))
            if folder == top:
                break
    return found
