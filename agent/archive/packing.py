"""A folder into an archive, the same bytes every time (with the same zlib)."""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from agent.archive.entries import Entry, EntryKind
from agent.archive.errors import ArchiveInvalid
from agent.archive.headers import BLOCK, padding
from agent.archive.ignoring import IGNORE_FILE, Ignored
from agent.archive.layout import Layout
from agent.archive.limits import Limits
from agent.archive.names import link_text, relative_path
from agent.manifest import MANIFEST_NAME

__all__ = ["IGNORE_FILE", "pack", "pack_bytes"]

# Magic, deflate, no flags (no name), time 0, no extra flags, system unknown (RFC 1952).
_GZIP_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_LEVEL = 6
_CHUNK = 256 * 1024
_TYPES = {EntryKind.FILE: b"0", EntryKind.SYMLINK: b"2", EntryKind.DIRECTORY: b"5"}
_NO_FOLLOW = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def pack(folder: Path, output: BinaryIO, limits: Limits | None = None, *, whole: bool = False) -> None:
    """Write `folder`, with `hotswap.yaml` at its root, as a .tar.gz to `output` (written in order, never read).

    Entries are sorted, times and owners 0, modes 0644 or 0755. Left out, unless it is to be packed `whole`: `.git`,
    `__pycache__`, `.venv` and their like, and what `.hotswapignore` names. Raises `ArchiveInvalid` where the folder
    cannot become a valid archive; the manifest is not read.
    """
    limits = limits or Limits()
    entries = _entries(folder, limits, None if whole else _rules(folder))
    compressed = _Gzip(output)
    for entry in entries:
        for block in _headers(entry):
            compressed.write(block)
        if entry.kind is EntryKind.FILE:
            _write_content(folder, entry, compressed)
    compressed.write(bytes(2 * BLOCK))
    compressed.close()


def pack_bytes(folder: Path, limits: Limits | None = None) -> bytes:
    """The bytes that `pack` writes."""
    output = io.BytesIO()
    pack(folder, output, limits)
    return output.getvalue()


class _Gzip:
    """One gzip member whose header holds nothing of this machine or moment."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._zlib = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._crc = 0
        self._size = 0
        output.write(_GZIP_HEADER)

    def write(self, content: bytes) -> None:
        self._crc = zlib.crc32(content, self._crc)
        self._size += len(content)
        self._output.write(self._zlib.compress(content))

    def close(self) -> None:
        self._output.write(self._zlib.flush())
        self._output.write(struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))


def _entries(folder: Path, limits: Limits, ignored: Ignored | None) -> list[Entry]:
    """All entries in order, checked as a reader will check them."""
    if not folder.is_dir():
        raise ArchiveInvalid(f"{folder} is no folder")
    entries: list[Entry] = []
    layout = Layout()
    unpacked = 0
    for entry in _walk(os.fspath(folder), "", ignored, limits):
        entries.append(entry)
        layout.add(entry)
        unpacked += entry.size
        if len(entries) > limits.entries:
            raise ArchiveInvalid(f"{_too_much(folder, ignored)} {limits.entries} entries")
        if unpacked > limits.unpacked_bytes:
            raise ArchiveInvalid(f"{_too_much(folder, ignored)} {limits.unpacked_bytes} bytes")
    layout.check_links()
    if not any(entry.path == MANIFEST_NAME and entry.kind is EntryKind.FILE for entry in entries):
        raise ArchiveInvalid(f"{folder} has no {MANIFEST_NAME}")
    return entries


def _too_much(folder: Path, ignored: Ignored | None) -> str:
    """Where a folder is packed whole, it is one of ours, which its maker knows by no path, and has no rules."""
    if ignored is None:
        return "it has more than"
    return f"{folder}, without what {IGNORE_FILE} names, has more than"


def _rules(folder: Path) -> Ignored:
    rules = folder / IGNORE_FILE
    return Ignored.of_file(rules.read_bytes()) if rules.is_file() else Ignored()


def _walk(root: str, below: str, ignored: Ignored | None, limits: Limits) -> Iterator[Entry]:
    with os.scandir(os.path.join(root, below)) as found:  # noqa: PTH118 - names may be no text that a Path could show
        names = sorted(item.name for item in found)
    for name in names:
        path = f"{below}/{name}" if below else name
        status = os.lstat(os.path.join(root, path))  # noqa: PTH118
        if ignored and ignored.matches(path, stat.S_ISDIR(status.st_mode)):
            continue
        relative_path(os.fsencode(path), limits)
        yield _entry(root, path, status)
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(root, path, ignored, limits)


def _entry(root: str, path: str, status: os.stat_result) -> Entry:
    if stat.S_ISDIR(status.st_mode):
        return Entry(path, EntryKind.DIRECTORY, executable=True)
    if stat.S_ISREG(status.st_mode):
        return Entry(path, EntryKind.FILE, status.st_size, bool(status.st_mode & stat.S_IXUSR))
    if stat.S_ISLNK(status.st_mode):
        text = link_text(os.fsencode(os.readlink(os.path.join(root, path))), path)  # noqa: PTH115, PTH118
        return Entry(path, EntryKind.SYMLINK, executable=True, target=text)
    raise ArchiveInvalid("is neither file, folder nor link", path)


def _write_content(folder: Path, entry: Entry, compressed: _Gzip) -> None:
    descriptor = os.open(folder / entry.path, _NO_FOLLOW)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        left = entry.size
        while left:
            chunk = file.read(min(left, _CHUNK))
            if not chunk:
                raise ArchiveInvalid("became shorter while it was packed", entry.path)
            left -= len(chunk)
            compressed.write(chunk)
    compressed.write(bytes(padding(entry.size)))


def _headers(entry: Entry) -> Iterator[bytes]:
    """A ustar header, with a pax header before it where a name, link or size does not fit."""
    name = entry.path.encode("utf-8") + (b"/" if entry.kind is EntryKind.DIRECTORY else b"")
    link = (entry.target or "").encode("utf-8")
    records = b""
    if len(name) > 100 or not name.isascii():
        records += _record(b"path", name)
    if len(link) > 100 or not link.isascii():
        records += _record(b"linkpath", link)
    if records:
        yield _ustar(b"pax", b"x", len(records), 0o644, b"") + records + bytes(padding(len(records)))
    mode = 0o755 if entry.executable else 0o644
    yield _ustar(name[:100], _TYPES[entry.kind], entry.size, mode, link[:100])


def _record(key: bytes, value: bytes) -> bytes:
    """A pax record, whose length counts its own digits."""
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode("ascii") + body


def _ustar(name: bytes, type_: bytes, size: int, mode: int, link: bytes) -> bytes:
    fields = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, 0, 0, size, 0)
    rest = type_ + link.ljust(100, b"\0") + b"ustar\x0000"
    header = (fields + b" " * 8 + rest).ljust(BLOCK, b"\0")
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]
