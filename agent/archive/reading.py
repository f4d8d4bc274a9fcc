"""One bounded pass over an archive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from agent.archive.container import Decompressed
from agent.archive.entries import Entry, EntryKind, Inspection
from agent.archive.errors import ArchiveInvalid
from agent.archive.headers import Header, padding, read_headers
from agent.archive.layout import Layout
from agent.archive.limits import Limits
from agent.archive.names import decoded, link_text, relative_path
from agent.manifest import MANIFEST_NAME, MAXIMUM_MANIFEST_BYTES, parse_manifest

_CHUNK = 64 * 1024
_SET_ID = 0o6000
_OWNER_MAY_EXECUTE = 0o100
_KINDS = {ord("1"): EntryKind.HARDLINK, ord("2"): EntryKind.SYMLINK, ord("5"): EntryKind.DIRECTORY}


def inspect(file: BinaryIO, limits: Limits | None = None) -> Inspection:
    """Read an archive from start to end, writing nothing, holding no more than a chunk of it in memory.

    `file` is seekable and is read from its start. Raises `ArchiveInvalid`, or `ManifestInvalid` for its manifest.
    """
    reading = Pass(file, limits or Limits())
    for _ in reading.entries():
        pass
    return reading.inspection()


class Pass:
    """A pass that somebody consumes: `entries()` to its end, with `content()` where wanted, then `inspection()`."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._limits = limits
        self._source = Decompressed(file, limits)
        self._layout = Layout()
        self._entries: list[Entry] = []
        self._unpacked = 0
        self._left = 0
        self._manifest: bytearray | None = None
        self._within_manifest = False

    def entries(self) -> Iterator[Entry]:
        """Every entry, each checked alone and against those before it; what is not read of its content is skipped."""
        for header in read_headers(self._source, self._limits):
            entry = self._entry(header)
            self._left = entry.size
            if entry.path:
                self._take(entry)
                yield entry
            for _ in self.content():
                pass
            self._skip_padding(entry)
        self._layout.check_links()
        if not self._entries:
            raise ArchiveInvalid("holds nothing")

    def content(self) -> Iterator[bytes]:
        """The content of the entry that `entries` gave last, in chunks."""
        while self._left:
            chunk = self._source.read(min(self._left, _CHUNK))
            if not chunk:
                raise ArchiveInvalid("is truncated: the tar ends in the middle of an entry", self._entries[-1].path)
            self._left -= len(chunk)
            if self._within_manifest and self._manifest is not None:
                self._manifest += chunk[: MAXIMUM_MANIFEST_BYTES + 1 - len(self._manifest)]
            yield chunk

    def inspection(self) -> Inspection:
        """What was found, after the last entry. The manifest is read now: the archive's own faults come first."""
        if self._manifest is None:
            raise ArchiveInvalid(self._no_manifest())
        return Inspection(
            manifest=parse_manifest(bytes(self._manifest)),
            entries=tuple(self._entries),
            unpacked_bytes=self._unpacked,
            archive_bytes=self._source.archive_bytes,
            digest=self._source.digest(),
        )

    def _entry(self, header: Header) -> Entry:
        path = relative_path(header.name, self._limits)
        kind = _KINDS.get(header.type, EntryKind.FILE)
        if kind is EntryKind.FILE and header.name.endswith(b"/"):  # folders, before ustar had a type for them
            kind = EntryKind.DIRECTORY
        if not path and kind is not EntryKind.DIRECTORY:
            raise ArchiveInvalid("stands for the module's folder itself and is none", decoded(header.name, "a name"))
        if kind is EntryKind.DIRECTORY and header.size:
            raise ArchiveInvalid("is a folder, and yet has content", path)
        if kind is EntryKind.FILE and header.mode & _SET_ID:
            raise ArchiveInvalid("is setuid or setgid; a module's files may not be", path)
        target: str | None = None
        if kind is EntryKind.SYMLINK:
            target = link_text(header.link, path)
        elif kind is EntryKind.HARDLINK:
            target = relative_path(header.link, self._limits)
        return Entry(path, kind, header.size, bool(header.mode & _OWNER_MAY_EXECUTE), target)

    def _take(self, entry: Entry) -> None:
        if len(self._entries) >= self._limits.entries:
            raise ArchiveInvalid(f"has more than {self._limits.entries} entries")
        self._unpacked += entry.size
        if self._unpacked > self._limits.unpacked_bytes:
            raise ArchiveInvalid(f"unpacks to more than {self._limits.unpacked_bytes} bytes", entry.path)
        self._layout.add(entry)
        self._entries.append(entry)
        self._within_manifest = entry.path == MANIFEST_NAME
        if self._within_manifest:
            if entry.kind is not EntryKind.FILE:
                raise ArchiveInvalid("must be a plain file", entry.path)
            self._manifest = bytearray()

    def _skip_padding(self, entry: Entry) -> None:
        missing = padding(entry.size)
        if missing and len(self._source.exactly(missing)) != missing:
            raise ArchiveInvalid("is truncated: the tar ends in the middle of an entry", entry.path)

    def _no_manifest(self) -> str:
        deeper = [entry.path for entry in self._entries if entry.path.endswith("/" + MANIFEST_NAME)]
        if deeper:
            folder = min(deeper, key=len).removesuffix("/" + MANIFEST_NAME)
            return (f"has no {MANIFEST_NAME} at its root, but one in '{folder}'; pack what is in that folder, "
                    f"for example with tar -C {folder} -czf module.tar.gz .")
        return f"has no {MANIFEST_NAME} at its root"
