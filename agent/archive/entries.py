"""What an archive holds, entry by entry."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent.manifest import Manifest
from agent.signatures import Digest


class EntryKind(StrEnum):
    """What is accepted; everything else in a tar is refused."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `path` is normalised: relative, without `.`, `..`, doubled or trailing slashes."""

    path: str
    kind: EntryKind
    size: int = 0
    executable: bool = False
    target: str | None = None
    """Symlink: the text of the link. Hard link: the normalised path of the file it shares."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What one pass over an archive found: all of it valid."""

    manifest: Manifest
    entries: tuple[Entry, ...]
    unpacked_bytes: int
    """Sum of the sizes of its files."""
    archive_bytes: int
    digest: Digest
    """Of the archive's bytes, taken in the same pass."""
