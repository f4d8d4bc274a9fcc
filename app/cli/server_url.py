"""The URL of a server, as people write it and as we keep it."""

from __future__ import annotations

from urllib.parse import urlsplit

from app.cli.errors import UsageProblem

API = "/api/v1"


def checked_url(url: str) -> str:
    """The server's URL without `/` at its end. Raises UsageProblem when it is none."""
    given = url.strip()
    try:
        parts = urlsplit(given)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise UsageProblem(f"{given!r} is not the URL of a server: it looks like https://hotswap.example.com:8000")
    if parts.username is not None:
        raise UsageProblem("no passwords in the URL: use `hotswap login`, or HOTSWAP_USERNAME and HOTSWAP_PASSWORD")
    return given.rstrip("/").removesuffix(API)
