"""How much an archive may be and become."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that are checked while reading, before anything larger is held or written."""

    archive_bytes: int = 256 * 1024**2
    """Size of the .tar.gz."""
    unpacked_bytes: int = 512 * 1024**2
    """Sum of the sizes of all files."""
    entries: int = 20_000
    """Files, folders and links, named in the archive."""
    ratio: float = 200.0
    """Bytes of the tar per byte of the .tar.gz; not applied to the first MiB, since an empty tar is all zeros."""
    path_bytes: int = 1024
    """Length of an entry's whole name in UTF-8."""
    depth: int = 40
    """Folders in an entry's name."""
