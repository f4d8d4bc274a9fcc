"""A folder into an archive, the same bytes every time."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from agent.archive.limits import Limits

IGNORE_FILE = ".hotswapignore"


def pack(folder: Path, output: BinaryIO, limits: Limits | None = None) -> None:
    """Write `folder`, with `hotswap.yaml` at its root, as a .tar.gz to `output` (written in order, never read).

    Entries are sorted, times and owners 0, modes 0644 or 0755. Left out: `.git`, `__pycache__`, `.venv` and their
    like, and what `.hotswapignore` names. Raises `ArchiveInvalid` where the folder cannot become a valid archive;
    the manifest is not read.
    """
    raise NotImplementedError


def pack_bytes(folder: Path, limits: Limits | None = None) -> bytes:
    """The bytes that `pack` writes."""
    raise NotImplementedError
