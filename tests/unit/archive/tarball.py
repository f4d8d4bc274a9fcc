"""Archives made by hand, byte for byte, as a stranger or an enemy would send them."""

from __future__ import annotations

import gzip
import io
import tarfile

MANIFEST = b"name: test-module\nversion: 1.0.0\nkind: files\n"
END = bytes(1024)


def header(name: str, type_: bytes = tarfile.REGTYPE, size: int = 0, link: str = "", mode: int = 0o644) -> bytes:
    """One GNU header, with long names as GNU tar writes them."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode = type_, size, link, mode
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def raw_header(
    name: bytes, type_: bytes = b"0", size: int = 0, link: bytes = b"", magic: bytes = b"ustar\x0000"
) -> bytes:
    """One header whose name is any bytes."""
    fields = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"
    block = (fields + b" " * 8 + type_ + link.ljust(100, b"\0") + magic).ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(content: bytes) -> bytes:
    """Content filled up to whole blocks."""
    return content + bytes(-len(content) % 512)


def file(name: str, content: bytes = b"x", mode: int = 0o644) -> bytes:
    """A file with its header."""
    return header(name, size=len(content), mode=mode) + padded(content)


def folder(name: str) -> bytes:
    """A folder."""
    return header(name, tarfile.DIRTYPE, mode=0o755)


def symlink(name: str, target: str) -> bytes:
    """A symbolic link."""
    return header(name, tarfile.SYMTYPE, link=target)


def hardlink(name: str, target: str) -> bytes:
    """A hard link."""
    return header(name, tarfile.LNKTYPE, link=target)


def pax(records: dict[str, str], type_: bytes = tarfile.XHDTYPE) -> bytes:
    """A pax header that is about the entry after it."""
    body = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode("utf-8", "surrogateescape")
        length = len(rest)
        while length != len(rest) + len(str(length)):
            length = len(rest) + len(str(length))
        body += str(length).encode() + rest
    return raw_header(b"pax", type_, len(body)) + padded(body)


def archive(*parts: bytes, manifest: bytes | None = MANIFEST) -> io.BytesIO:
    """A .tar.gz of the parts, with a good manifest first unless told otherwise."""
    head = b"" if manifest is None else file("hotswap.yaml", manifest)
    return compressed(head + b"".join(parts) + END)


def compressed(tar: bytes) -> io.BytesIO:
    """Any bytes as gzip."""
    return io.BytesIO(gzip.compress(tar, 1, mtime=0))
