"""Tar headers: ustar (POSIX.1-1988), GNU's long names, and pax (POSIX.1-2001), and no more of them than is needed.

A parser of our own, because it is the boundary: it holds at most 64 KiB of any header, follows no size into memory,
and has no features (sparse files, volumes, character sets) that could make an entry something else than it looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.archive.container import Decompressed
from agent.archive.errors import ArchiveInvalid
from agent.archive.limits import Limits

BLOCK = 512
_ZEROS = bytes(BLOCK)
_MAXIMUM_EXTENSION = 64 * 1024
_SKIP = 64 * 1024
_REGULAR = frozenset(b"0\0")
_TAKEN = {ord("1"), ord("2"), ord("5")} | _REGULAR
_REFUSED = {
    ord("3"): "is a character device",
    ord("4"): "is a block device",
    ord("6"): "is a fifo",
    ord("7"): "is a contiguous file, which is not accepted",
    ord("S"): "is a sparse file, which is not accepted; pack without --sparse",
    ord("D"): "is a GNU dump directory, which is not accepted; pack without --listed-incremental",
    ord("M"): "is the rest of a multi-volume archive",
    ord("V"): "is a volume label, which is not accepted",
}
_NO_OVERRIDE = "which is not accepted in a global header"


@dataclass(frozen=True, slots=True)
class Header:
    """One entry as the tar has it: names as bytes, unchecked."""

    name: bytes
    type: int
    mode: int
    size: int
    link: bytes


@dataclass(slots=True)
class _Extension:
    """What extended headers say about the entry that follows them; None is not said."""

    name: bytes | None = None
    link: bytes | None = None
    size: int | None = None


def read_headers(source: Decompressed, limits: Limits) -> Iterator[Header]:
    """The headers of a tar, up to its end mark, after which only zeros may come.

    The consumer reads exactly the body and its padding (see `padding`) before it asks for the next one.
    """
    extension = _Extension()
    for _ in range(4 * limits.entries + 16):
        block = source.exactly(BLOCK)
        if not block:
            raise ArchiveInvalid("is truncated: the tar has no end mark")
        if block == _ZEROS:
            if extension != _Extension():
                raise ArchiveInvalid("ends with an extended header that belongs to no entry")
            _expect_end(source)
            return
        plain = _parse(block)
        if plain.type in b"LKxg":
            _extend(extension, plain, source)
            continue
        yield _merged(plain, extension)
        extension = _Extension()
    raise ArchiveInvalid(f"has too many headers; at most {limits.entries} entries are allowed")


def padding(size: int) -> int:
    """Bytes between the end of a body and the next block."""
    return -size % BLOCK


def _expect_end(source: Decompressed) -> None:
    """A second block of zeros, and nothing but zeros to the end of the stream."""
    if source.exactly(BLOCK) != _ZEROS:
        raise ArchiveInvalid("is damaged: a single block of zeros inside the tar")
    while chunk := source.read(_SKIP):
        if chunk.count(0) != len(chunk):
            raise ArchiveInvalid("has something after the end mark of its tar")


def _parse(block: bytes) -> Header:
    if _octal(block[148:156]) != 256 + sum(block[:148]) + sum(block[156:]):
        raise ArchiveInvalid("is damaged or no tar: the checksum of a header is wrong")
    name = _until_nul(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        name = _until_nul(block[345:500]) + b"/" + name
    return Header(
        name=name,
        type=block[156],
        mode=_octal(block[100:108]),
        size=_number(block[124:136]),
        link=_until_nul(block[157:257]),
    )


def _merged(plain: Header, extension: _Extension) -> Header:
    header = Header(
        name=plain.name if extension.name is None else extension.name,
        type=plain.type,
        mode=plain.mode,
        size=plain.size if extension.size is None else extension.size,
        link=plain.link if extension.link is None else extension.link,
    )
    shown = header.name.decode("utf-8", "backslashreplace")
    if header.type not in _TAKEN:
        raise ArchiveInvalid(_REFUSED.get(header.type, f"is of the unknown type {chr(header.type)!r}"), shown)
    if header.type not in _REGULAR and header.size:
        raise ArchiveInvalid("is no file, and yet has content", shown)
    return header


def _extend(extension: _Extension, header: Header, source: Decompressed) -> None:
    if header.size > _MAXIMUM_EXTENSION:
        raise ArchiveInvalid(f"has an extended header of {header.size} bytes; at most {_MAXIMUM_EXTENSION} are allowed")
    body = source.exactly(header.size + padding(header.size))[: header.size] if header.size else b""
    if len(body) != header.size:
        raise ArchiveInvalid("is truncated: the tar ends in an extended header")
    match chr(header.type):
        case "L":
            _set_once(extension, "name", _until_nul(body))
        case "K":
            _set_once(extension, "link", _until_nul(body))
        case "x":
            for key, value in _records(body):
                _apply(extension, key, value)
        case _:
            for key, _ in _records(body):
                # One header that renames every entry is only ever a trick; `git archive` puts a comment here.
                if key in {b"path", b"linkpath", b"size"} or key.startswith(b"GNU.sparse"):
                    raise ArchiveInvalid(f"sets {key.decode('ascii')} for all entries, {_NO_OVERRIDE}")


def _apply(extension: _Extension, key: bytes, value: bytes) -> None:
    if key == b"path":
        _set_once(extension, "name", value)
    elif key == b"linkpath":
        _set_once(extension, "link", value)
    elif key == b"size":
        if not value.isdigit() or len(value) > 18:
            raise ArchiveInvalid("is damaged: an extended header has a size that is no number")
        _set_once(extension, "size", int(value))
    elif key.startswith(b"GNU.sparse"):
        raise ArchiveInvalid("holds a sparse file, which is not accepted; pack without --sparse")


def _set_once(extension: _Extension, field: str, value: bytes | int) -> None:
    if getattr(extension, field) is not None:
        raise ArchiveInvalid(f"gives one entry two extended headers for its {field}")
    setattr(extension, field, value)


def _records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records of a pax header: decimal length (of all of it), space, key, '=', value, newline."""
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 8)
        digits = body[position:space]
        if space < 0 or not digits.isdigit():
            raise ArchiveInvalid("is damaged: an extended header does not parse")
        end = position + int(digits)
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if end > len(body) or end <= space + 2 or body[end - 1 : end] != b"\n" or not equals or not key:
            raise ArchiveInvalid("is damaged: an extended header does not parse")
        yield key, value
        position = end


def _until_nul(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _octal(field: bytes) -> int:
    text = field.strip(b" \0")
    if not text:
        return 0
    if text.strip(b"01234567"):
        raise ArchiveInvalid("is damaged or no tar: a header has a number that is none")
    return int(text, 8)


def _number(field: bytes) -> int:
    """Octal, or GNU's base 256 for what is larger than 8 GiB; negative numbers are refused."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    return _octal(field)
