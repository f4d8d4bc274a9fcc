"""API tokens as texts: made of 256 random bits, recognised by their beginning, kept as a hash.

A slow hash with a salt is for what people choose. Nobody guesses 256 random bits, and no table of hashes can be made
beforehand, so one round of SHA-256 is enough, and every request can afford it (OWASP, "Password Storage", says the
same of keys with enough entropy). The hash is also how a token is found: the comparisons of the database's index are of
hashes, and who does not know a token cannot choose its hash, so that how long they take tells nothing of any token.
"""

from __future__ import annotations

import hashlib
import re
import secrets

BEGINNING = "hs_"
_RANDOM_BYTES = 32
_TOKEN = re.compile(BEGINNING + r"[A-Za-z0-9_-]{43}", re.ASCII)
# 8 of 43 characters are shown: the other 35, 210 bits, stay unknown.
_SHOWN = len(BEGINNING) + 8


def new_token() -> str:
    return BEGINNING + secrets.token_urlsafe(_RANDOM_BYTES)


def is_meant_as_token(text: str) -> bool:
    """Whether it wants to be an API token; if it is one, `hash_of` knows."""
    return text.startswith(BEGINNING)


def contains_token(text: str) -> bool:
    """Whether somebody has pasted a token into a text that everybody can read."""
    return _TOKEN.search(text) is not None


def hash_of(token: str) -> bytes | None:
    """The 32 bytes by which it is kept; None for what cannot be a token."""
    return hashlib.sha256(token.encode("ascii")).digest() if _TOKEN.fullmatch(token) else None


def prefix_of(token: str) -> str:
    """Enough of it to recognise one's own."""
    return token[:_SHOWN]
