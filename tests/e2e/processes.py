"""Processes of one stack on this machine, found by what they were told when they were started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def command_of(pid: int) -> str:
    """Its command line, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def all_of(marker: str) -> Iterator[int]:
    """Every live process whose command line or environment names `marker`; ourselves excepted."""
    sought = marker.encode()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        if sought in _read(entry, "cmdline") or sought in _read(entry, "environ"):
            yield int(entry.name)


def _read(entry: os.DirEntry[str], name: str) -> bytes:
    try:
        return Path(entry.path, name).read_bytes()
    except OSError:
        return b""
