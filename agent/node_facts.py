"""What a node tells about the machine it is: size, load, boot."""

from __future__ import annotations

from pathlib import Path

import psutil

MIB = 1024**2


def boot_id() -> str:
    """The kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def resources(data_dir: Path) -> dict[str, float]:
    """Size of the machine, as a heartbeat's `resources`."""
    return {
        "cpuCores": float(psutil.cpu_count() or 1),
        "memoryMB": psutil.virtual_memory().total // MIB,
        "diskMB": psutil.disk_usage(str(data_dir)).total // MIB,
    }


def usage(data_dir: Path) -> dict[str, float]:
    """Shares from 0 to 1; the processor's since the last call."""
    disk = psutil.disk_usage(str(data_dir))
    return {
        "cpuUsage": round(psutil.cpu_percent(interval=None) / 100, 4),
        "memoryUsage": round(psutil.virtual_memory().percent / 100, 4),
        "diskUsage": round(disk.percent / 100, 4),
    }
