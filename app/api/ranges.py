"""Which `Range` headers count: one range of bytes, well-formed. Any other is no reason to refuse what is asked for.

RFC 9110 14.2: a range of an unknown unit must be ignored, and so may an invalid one or several at once. What remains
for 416 is a range that begins behind the end.
"""

from __future__ import annotations

import re

from flask import Request

_ONE_RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,1000})-([0-9]{0,1000})|-([0-9]{1,1000}))[ \t]*", re.IGNORECASE)


def ignore_useless_range(request: Request, size: int) -> None:
    """Let a range be forgotten that is no single range of bytes, or that is all of a representation of `size` bytes."""
    given = request.environ.get("HTTP_RANGE")
    if given is not None and not _counts(given, size):
        del request.environ["HTTP_RANGE"]


def _counts(given: str, size: int) -> bool:
    match = _ONE_RANGE.fullmatch(given)
    if match is None:
        return False
    first, last, suffix = match.groups()
    if suffix is not None:
        # The last so many bytes, and it is shorter: that is all of it (14.1.2).
        return int(suffix) < size
    return not last or int(first) <= int(last)
