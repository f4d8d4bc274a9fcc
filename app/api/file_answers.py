"""A file as an answer: whole, or in parts as `Range` asks (RFC 9110, 13 and 14), and never more than a piece in memory.

The file's content never changes, so its ETag is strong, and there is no date to compare with.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO

from flask import Response, request
from werkzeug.exceptions import PreconditionFailed, RequestedRangeNotSatisfiable
from werkzeug.wsgi import wrap_file

from app.api import byte_ranges
from app.api.byte_ranges import ByteRange, Unsatisfiable

PIECE = 256 * 1024


def answer(path: Path, media_type: str, digest: str, name: str) -> Response:
    """The file under the name `name`, for GET and HEAD.

    Raises FileNotFoundError, PreconditionFailed (412), RequestedRangeNotSatisfiable (416).
    """
    size = path.stat().st_size
    unchanged = _precondition(digest)
    if unchanged:
        response = Response(status=304)
    elif request.method == "HEAD":
        # A Range counts for GET only.
        response = Response(content_type=media_type)
        response.content_length = size
    else:
        response = _content(path, media_type, size, _ranges(digest, size))
    response.set_etag(digest)
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _precondition(digest: str) -> bool:
    """Whether the client has this content already. Raises PreconditionFailed: it wants another one only."""
    if request.headers.get("If-Match") is not None and not request.if_match.contains(digest):
        raise PreconditionFailed("The artifact is not the one that If-Match names.")
    return request.headers.get("If-None-Match") is not None and request.if_none_match.contains_weak(digest)


def _ranges(digest: str, size: int) -> tuple[ByteRange, ...] | None:
    condition = request.headers.get("If-Range")
    if condition is not None and condition.strip() != f'"{digest}"':
        return None
    try:
        return byte_ranges.selected(request.headers.get("Range"), size)
    except Unsatisfiable:
        raise RequestedRangeNotSatisfiable(length=size) from None


def _content(path: Path, media_type: str, size: int, ranges: tuple[ByteRange, ...] | None) -> Response:
    if ranges is None:
        # The server's own wrapper, so that it can hand the file to the kernel; over TLS it goes in these large pieces.
        response = Response(wrap_file(request.environ, path.open("rb"), PIECE), content_type=media_type)
        response.direct_passthrough = True
        response.content_length = size
        return response
    if len(ranges) == 1:
        parts, ending = [(b"", ranges[0])], b""
        headers = {"Content-Type": media_type, "Content-Range": ranges[0].content_range(size)}
    else:
        boundary = secrets.token_hex(16)
        parts = [(_head(boundary, media_type, each, size), each) for each in ranges]
        ending = f"\r\n--{boundary}--\r\n".encode("ascii")
        headers = {"Content-Type": f"multipart/byteranges; boundary={boundary}"}
    response = Response(_Parts(path.open("rb"), parts, ending), 206, headers)
    response.content_length = sum(len(head) + each.length for head, each in parts) + len(ending)
    return response


def _head(boundary: str, media_type: str, part: ByteRange, size: int) -> bytes:
    """What stands before a part (RFC 9110, 14.6)."""
    lines = (f"\r\n--{boundary}", f"Content-Type: {media_type}", f"Content-Range: {part.content_range(size)}", "", "")
    return "\r\n".join(lines).encode("ascii")


class _Parts:
    """Parts of a file, each after its head, in pieces. Closes the file with itself, begun or not."""

    def __init__(self, file: BinaryIO, parts: list[tuple[bytes, ByteRange]], ending: bytes) -> None:
        self._file = file
        self._pieces = self._read(parts, ending)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._pieces.close()
        self._file.close()

    def _read(self, parts: list[tuple[bytes, ByteRange]], ending: bytes) -> Generator[bytes, None, None]:
        for head, part in parts:
            yield head
            self._file.seek(part.first)
            left = part.length
            while left:
                piece = self._file.read(min(left, PIECE))
                if not piece:
                    raise OSError("the file has become shorter")
                left -= len(piece)
                yield piece
        yield ending
