"""The tree that an archive's entries make, checked entry by entry without touching a disk."""

from __future__ import annotations

from agent.archive.entries import Entry, EntryKind
from agent.archive.errors import ArchiveInvalid

_MAXIMUM_LINKS_FOLLOWED = 40  # as the kernel does before ELOOP
_MAXIMUM_DEPTH_OF_TARGET = 128  # deeper than any entry can be
_MAXIMUM_STEPS = 500_000  # over all links together: thousands of long links through each other cost no minutes


class Layout:
    """What stands where so far.

    No entry may stand twice, nor below anything but a folder: so nothing that is written later can go through a link
    that was made earlier. Where links lead is checked when all of them are known, since a target may come later.
    """

    def __init__(self) -> None:
        self._kinds: dict[str, EntryKind] = {}
        self._implied: set[str] = {""}
        self._links: dict[str, str] = {}
        self._steps = 0

    def add(self, entry: Entry) -> None:
        """Take an entry; raises `ArchiveInvalid` where it collides with an earlier one."""
        self._add_parents(entry.path)
        if entry.path in self._kinds:
            raise ArchiveInvalid("stands in the archive twice", entry.path)
        if entry.path in self._implied and entry.kind is not EntryKind.DIRECTORY:
            raise ArchiveInvalid("has entries below it, and is no folder itself", entry.path)
        if entry.kind is EntryKind.HARDLINK and self._kinds.get(entry.target or "") is not EntryKind.FILE:
            raise ArchiveInvalid(
                f"is a hard link to {entry.target!r}, which is no file that comes before it in the archive", entry.path
            )
        if entry.kind is EntryKind.SYMLINK:
            self._links[entry.path] = entry.target or ""
        self._kinds[entry.path] = entry.kind

    def check_links(self) -> None:
        """Follow every symbolic link, through others where it leads there; raises if one leaves the tree or loops."""
        for path, target in self._links.items():
            self._follow(path, target)

    def _add_parents(self, path: str) -> None:
        parent = path.rpartition("/")[0]
        fresh = []
        while parent not in self._implied:
            kind = self._kinds.get(parent)
            if kind not in {None, EntryKind.DIRECTORY}:
                raise ArchiveInvalid(f"lies below '{parent}', which is a {kind} in this archive", path)
            fresh.append(parent)
            parent = parent.rpartition("/")[0]
        self._implied.update(fresh)

    def _follow(self, path: str, target: str) -> None:
        """Walk as the kernel does: `..` is taken from where a link really led, not from how it is spelled."""
        at = path.split("/")[:-1]
        ahead = target.split("/")[::-1]
        followed = 0
        while ahead:
            part = ahead.pop()
            self._steps += 1
            if self._steps > _MAXIMUM_STEPS or len(at) > _MAXIMUM_DEPTH_OF_TARGET:
                raise ArchiveInvalid("is a link through too many folders and other links", path)
            if part in {"", "."}:
                continue
            if part == "..":
                if not at:
                    raise ArchiveInvalid(f"is a link to {target[:80]!r}, outside the module's folder", path)
                at.pop()
                continue
            at.append(part)
            onward = self._links.get("/".join(at))
            if onward is not None:
                followed += 1
                if followed > _MAXIMUM_LINKS_FOLLOWED:
                    raise ArchiveInvalid(f"is a link to {target[:80]!r}, which leads in a circle", path)
                at.pop()
                ahead.extend(onward.split("/")[::-1])
