"""ETags of what can be edited: the version in quotes (RFC 9110, 8.8.3), and the If-Match that names one."""

from __future__ import annotations

import re
from collections.abc import Callable

from flask import request

from app.domain.errors import Invalid

_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"')


def etag(version: int) -> dict[str, str]:
    """The header of an answer."""
    return {"ETag": f'"{version}"'}


def expected_version(current: Callable[[], int]) -> int | None:
    """The version of If-Match; for `*` what `current` says; None without the header. Raises Invalid."""
    given = request.headers.get("If-Match")
    if given is None:
        return None
    if given.strip() == "*":
        return current()
    match = _ETAG.fullmatch(given.strip())
    if match is None:
        raise Invalid({"If-Match": ['must be the ETag that GET gave, such as "3"']})
    return int(match[1])
