"""Which bytes of a content a request asks for: the `Range` header as RFC 9110 (14.1, 14.2) reads it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_RANGES = 16
_INT_RANGE = re.compile(r"([0-9]+)-([0-9]*)")
_SUFFIX_RANGE = re.compile(r"-([0-9]+)")
# Longer positions are beyond every content; they need no exact value.
_MOST_DIGITS = 18


class Unsatisfiable(Exception):
    """Every range lies beyond the end of the content."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `first` to `last`, both of them in it."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    def content_range(self, size: int) -> str:
        return f"bytes {self.first}-{self.last}/{size}"


def selected(header: str | None, size: int) -> tuple[ByteRange, ...] | None:
    """The ranges in the order of the request; None: the whole content is to be sent.

    That is so without a header, for another unit or malformed ranges, and where the ranges are more than `MOST_RANGES`
    or together more than the content: RFC 9110 lets a server ignore what costs it more than to send everything once.
    Ranges beyond the end are left out. Raises Unsatisfiable if that leaves none.
    """
    asked = _asked(header, size)
    if asked is None:
        return None
    found = tuple(each for each in asked if each is not None)
    if not found:
        raise Unsatisfiable
    if len(asked) > MOST_RANGES or (len(found) > 1 and sum(each.length for each in found) > size):
        return None
    return found


def _asked(header: str | None, size: int) -> list[ByteRange | None] | None:
    """Each range, None in its place where it lies beyond the end. None for what is no set of byte ranges."""
    unit, equals, specs = (header or "").partition("=")
    # A list may have empty elements (RFC 9110, 5.6.1), which say nothing.
    texts = [text for text in (each.strip(" \t") for each in specs.split(",")) if text]
    if unit.strip(" \t").lower() != "bytes" or not equals or not texts:
        return None
    found: list[ByteRange | None] = []
    for text in texts:
        whole, suffix = _INT_RANGE.fullmatch(text), _SUFFIX_RANGE.fullmatch(text)
        if whole is not None:
            first, last = _position(whole[1]), _position(whole[2]) if whole[2] else size - 1
            if whole[2] and last < first:
                return None
            found.append(ByteRange(first, min(last, size - 1)) if first < size else None)
        elif suffix is not None:
            length = min(_position(suffix[1]), size)
            found.append(ByteRange(size - length, size - 1) if length else None)
        else:
            return None
    return found


def _position(digits: str) -> int:
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
