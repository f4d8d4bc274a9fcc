"""One bounded pass over an archive."""

from __future__ import annotations

from typing import BinaryIO

from agent.archive.entries import Inspection
from agent.archive.limits import Limits


def inspect(file: BinaryIO, limits: Limits | None = None) -> Inspection:
    """Read an archive from start to end, writing nothing, holding no more than a chunk of it in memory.

    `file` is seekable and is read from its start. Raises `ArchiveInvalid`, or `ManifestInvalid` for its manifest.
    """
    raise NotImplementedError
