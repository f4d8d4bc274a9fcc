"""The gzip around the tar: decompressed a chunk at a time, hashed on the way, and never further than allowed.

A gzip file may hold several members, one after the other; readers differ in what they make of the second, and a tar in
one member is what every tool writes. So exactly one member is accepted, and nothing after it.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from typing import BinaryIO

from agent.archive.errors import ArchiveInvalid
from agent.archive.limits import Limits
from agent.signatures import Digest

_CHUNK = 64 * 1024
_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS  # header, CRC-32 and length are checked by zlib
_FREE_OF_RATIO = 1024 * 1024
_OVERHEAD_PER_ENTRY = 4096  # header, padding, and an extended header


class Decompressed:
    """What a .tar.gz holds, read in order.

    The compressed size is known beforehand, so a bomb is refused at the first byte too many, not when it has spread.
    """

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        self.archive_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        _refuse_size(self.archive_bytes, limits)
        self._by_ratio = max(_FREE_OF_RATIO, int(limits.ratio * self.archive_bytes))
        self._by_total = limits.unpacked_bytes + limits.entries * _OVERHEAD_PER_ENTRY + _FREE_OF_RATIO
        self._limits = limits
        self._zlib = zlib.decompressobj(_GZIP)
        self._hash = hashlib.sha256()
        self._produced = 0
        self._ready = b""
        self._offset = 0
        head = self._raw()
        if not head.startswith(_MAGIC):
            raise ArchiveInvalid("is not gzip: a module archive is a .tar.gz")
        self._pending = head

    def read(self, size: int) -> bytes:
        """The next bytes, at least one and at most `size`; empty at the end."""
        if self._offset >= len(self._ready) and not self._fill():
            return b""
        chunk = self._ready[self._offset : self._offset + size]
        self._offset += len(chunk)
        return chunk

    def exactly(self, size: int) -> bytes:
        """The next `size` bytes; an empty result at the very end, `ArchiveInvalid` if it ends in the middle."""
        chunk = self.read(size)
        if len(chunk) == size or not chunk:
            return chunk
        parts = [chunk]
        missing = size - len(chunk)
        while missing:
            chunk = self.read(missing)
            if not chunk:
                raise ArchiveInvalid("is truncated: the tar ends in the middle of an entry")
            parts.append(chunk)
            missing -= len(chunk)
        return b"".join(parts)

    def digest(self) -> Digest:
        """The digest of the whole file; only after `read` has given its end."""
        return Digest(self._hash.digest())

    def _fill(self) -> bool:
        """Decompress the next chunk; False at the end of the one member, after which nothing may follow."""
        while not self._zlib.eof:
            source = self._pending or self._raw()
            try:
                self._ready = self._zlib.decompress(source, _CHUNK)
            except zlib.error as error:
                raise ArchiveInvalid(f"is damaged: {error}") from error
            self._pending = self._zlib.unconsumed_tail
            self._offset = 0
            if self._ready:
                self._count(len(self._ready))
                return True
            if not source and not self._zlib.eof:
                raise ArchiveInvalid("is truncated: the gzip data ends too early")
        self._ready, self._offset = b"", 0
        self._refuse_rest(self._zlib.unused_data or self._raw())
        return False

    def _raw(self) -> bytes:
        chunk = self._file.read(_CHUNK)
        self._hash.update(chunk)
        return chunk

    def _count(self, size: int) -> None:
        self._produced += size
        if self._produced > self._by_ratio:
            raise ArchiveInvalid(
                f"unpacks to more than {self._limits.ratio:g} times its {self.archive_bytes} bytes, as bombs do"
            )
        if self._produced > self._by_total:
            raise ArchiveInvalid(f"unpacks to more than {self._limits.unpacked_bytes} bytes")

    @staticmethod
    def _refuse_rest(rest: bytes) -> None:
        if rest.startswith(_MAGIC):
            raise ArchiveInvalid("holds several gzip members; write it in one")
        if rest:
            raise ArchiveInvalid("has something after the end of its gzip data")


def _refuse_size(size: int, limits: Limits) -> None:
    if size == 0:
        raise ArchiveInvalid("is empty")
    if size > limits.archive_bytes:
        raise ArchiveInvalid(f"has {size} bytes; an archive has at most {limits.archive_bytes}")
