"""An archive onto the disk, never outside its folder."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from agent.archive.entries import Inspection
from agent.archive.limits import Limits
from agent.signatures import Digest


def unpack(
    file: BinaryIO, destination: Path, limits: Limits | None = None, expected: Digest | None = None
) -> Inspection:
    """Unpack an archive into `destination`, which must not exist and whose parent must; all of it is on disk after.

    With `expected`, the bytes read must have that digest, so that what was verified is what is unpacked. Files get
    mode 0755 if their owner could execute them, else 0644, folders 0755. On any error nothing is left of
    `destination`. Raises `ArchiveInvalid`, `ManifestInvalid`, `FileExistsError`, and `OSError` of the disk.
    """
    raise NotImplementedError
